"""Figures of the gene-circuit study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from studies.points import select
from workbench import plot

__all__ = ["figures"]

SNAPSHOTS = (0.0, 5.0, 7.0, 15.0)
TITLES = {"psi_1": "b = 0.1", "psi_2": "b = 1"}
SOURCES = {"truth": "truth", "fit": "learned", "symmetrised": "symmetrised", "long": "long trajectories"}


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {
        "landscapes": landscapes(tree),
        "time_varying": time_varying(tree),
        "fates": fates(tree),
        "paths": paths(tree),
        "branches": branches(tree),
        "fits": fits(tree),
    }


PSI = r"$\Psi_b$"


def landscapes(tree: xr.DataTree) -> Figure:
    """Return Fig 12: trajectories with nullclines, learned landscapes, and true landscapes."""
    figure, axes = plot.figure(2, 3, size=(7.2, 4.9))
    grid, long = tree["landscape"].to_dataset(), tree["data/long"].to_dataset()
    points = tree["analysis/stationary_points"].to_dataset()
    for row, case in zip(axes, TITLES, strict=True):
        here = grid.sel(case=case)
        paths = long["x"].sel(case=case)
        paths = paths.isel(trajectory=np.flatnonzero((paths["split"].isel(time=0) != "test").values))
        plot.trajectories(row[0], paths, label="trajectory", marker=".", markersize=2)
        plot.nullclines(row[0], here["gradient_true"])
        row[0].set(
            xlabel=plot.label(here["x1"]), ylabel=plot.label(here["x2"]), aspect="equal", xlim=(0, 2), ylim=(0, 2)
        )
        row[0].set_title(f"trajectories, {TITLES[case]}")
        truth = here["potential_true"] - here["potential_true"].min()
        learned = here["potential"] - here["potential_true"].min()  # of the same zero
        levels = np.linspace(0, float(truth.quantile(0.9)), 21)
        for panel, values, name in ((row[1], learned, "learned"), (row[2], truth, "true")):
            filled = plot.landscape(panel, values, levels=levels)
            panel.set_title(f"{name} landscape, {TITLES[case]}")
        figure.colorbar(
            filled,
            ax=row[2],
            label=r"$\Psi - \min\,\Psi$",
            shrink=0.9,
            ticks=np.arange(0, levels[-1], 0.25),
            format="%.2f",
        )
        for source, hollow, panels in (("fit", False, row[1:2]), ("truth", True, row)):
            for panel in panels:
                plot.stationary_points(panel, select(points, source=source, case=case), hollow=hollow)
    plot.letters(axes)
    order = ["trajectory", "minimum, fit", "dx1/dt = 0", "saddle, fit", "dx2/dt = 0", "minimum, truth", "saddle, truth"]
    plot.legend(figure, axes[1, :2], columns=4, order=order)
    return figure


def time_varying(tree: xr.DataTree) -> Figure:
    """Return Fig 13: snapshots of Ψ_b with held-out states on it, and trajectories on the learned and true Ψ_b."""
    run, grid = tree["simulation"].to_dataset(), tree["landscape"].to_dataset()
    figure, flat = plot.figure(2, len(SNAPSHOTS), size=(7.2, 4.3))
    chosen = run.isel(trajectory=slice(0, 24))
    for k, snapshot in enumerate(SNAPSHOTS):
        now = float(run["time"].sel(time=snapshot, method="nearest"))
        surface, true = (
            _blended(grid[name], float(run["b"].sel(time=now))) for name in ("potential", "potential_true")
        )
        _surface(
            figure, flat[0, k], surface, chosen.sel(time=now), f"t = {now:.3g}, b = {float(run['b'].sel(time=now)):.2f}"
        )
        _plane(flat[1, k], surface, true, chosen, now)
        if k:
            flat[1, k].set_ylabel("")
    plot.letters(np.array([*figure.axes[len(SNAPSHOTS) :], *flat[1]]))
    plot.legend(figure, [flat[1, 0]], columns=4, shade="0.8")
    return figure


def fates(tree: xr.DataTree) -> Figure:
    """Return x1 − x2 of held-out trajectories over time, learned against true final states, and splitting times."""
    run, split = tree["simulation"].to_dataset(), tree["analysis/split"].to_dataset()
    figure, axes = plot.figure(1, 3, size=(7.2, 2.5), width_ratios=(1.3, 1, 1))
    left, middle, right = axes[0]
    for name, text, style in (
        ("x_true", "truth", {"color": "tab:orange", "linewidth": 2.2, "alpha": 0.6}),
        ("x", "learned", {"color": "black", "linewidth": 0.6}),
    ):
        gap = -run[name].isel(trajectory=slice(0, 24)).diff("state").squeeze("state")
        left.plot(run["time"], gap.transpose("time", "trajectory"), **style)
        left.plot([], [], label=text, **style)
    left.axvline(
        float(split["time"].sel(source="truth")),
        color="black",
        linewidth=0.8,
        linestyle="dotted",
        label="true splitting time",
    )
    left.set(xlabel="time", ylabel="x1 − x2", title=f"held-out trajectories on {PSI}")
    left.set_ylim(top=2.9)
    left.legend(loc="upper right", ncols=2, frameon=False)
    true = run["x_true"].isel(time=-1)
    for state, marker in zip(run["state"].values, "os", strict=True):
        middle.plot(
            true.sel(state=state),
            run["x"].isel(time=-1).sel(state=state),
            marker,
            ms=4,
            mfc="none",
            mec="0.2",
            label=state,
        )
    middle.plot([0, 2], [0, 2], color="black", linewidth=0.6)
    middle.set(
        xlabel=f"final state, true {PSI}",
        ylabel=f"final state, learned {PSI}",
        title=f"{run.sizes['trajectory']} final states",
        aspect="equal",
    )
    middle.legend()
    _split_times(right, run, split)
    plot.letters(axes)
    return figure


def fits(tree: xr.DataTree) -> Figure:
    """Return the training and validation error of every fit over its steps."""
    names = list(tree["fits"].children)
    figure, axes = plot.figure(1, len(names), size=(7.2, 2.2), sharey=True)
    for panel, name in zip(axes[0], names, strict=True):
        plot.history(panel, tree[f"fits/{name}/history"].to_dataset())
        panel.set_title(rf"$\Psi_{name[4]}$" + (", long trajectories" if name.endswith("_long") else ", covering data"))
        panel.set_ylabel("relative error" if panel is axes[0, 0] else "")
    axes[0, 0].legend()
    plot.letters(axes)
    return figure


def _blended(potential: xr.DataArray, b: float) -> xr.DataArray:
    """Return Ψ_b on the grid, from its minimum."""
    psi = (1 - b) * potential.sel(case="psi_1", drop=True) + b * potential.sel(case="psi_2", drop=True)
    return psi - psi.min()


def _surface(figure: Figure, below: Any, psi: xr.DataArray, now: xr.Dataset, title: str) -> None:
    """Replace the axes by a surface of Ψ_b, with the states at this time as points on it."""
    spec = below.get_subplotspec()
    below.remove()
    axes: Any = figure.add_subplot(spec, projection="3d", computed_zorder=False)
    top = 1.2
    coarse = psi.isel(x1=slice(None, None, 2), x2=slice(None, None, 2))
    first, second = np.meshgrid(coarse["x1"], coarse["x2"], indexing="ij")
    height = np.minimum(coarse.values, top)
    axes.plot_surface(
        first,
        second,
        height,
        cmap="viridis",
        vmin=0,
        vmax=top,
        linewidth=0.1,
        edgecolor="0.4",
        alpha=0.9,
        rcount=60,
        ccount=60,
    )
    x = now["x"].values
    level = psi.interp(x1=xr.DataArray(x[:, 0], dims="p"), x2=xr.DataArray(x[:, 1], dims="p")).values
    axes.scatter(
        x[:, 0],
        x[:, 1],
        np.minimum(level, top) + 0.03,
        color="white",
        edgecolor="black",
        s=10,
        linewidth=0.5,
        zorder=10,
    )
    axes.set(zlim=(0, top), xticks=(0, 1, 2), yticks=(0, 1, 2), zticks=(0, 1), title=title)
    axes.set_xlabel("x1", labelpad=-10)
    axes.set_ylabel("x2", labelpad=-10)
    axes.set_zlabel(rf"{PSI} − min", labelpad=-12)
    axes.tick_params(pad=-4, labelsize=6)
    axes.view_init(elev=38, azim=-128)


def _plane(axes: Any, psi: xr.DataArray, true: xr.DataArray, run: xr.Dataset, now: float) -> None:
    """Draw Ψ_b, contours of the true Ψ_b, and trajectories on both up to this time."""
    levels = np.linspace(0, 1.2, 19)
    plot.landscape(axes, psi, levels=levels)
    options = {"levels": levels[2::4], "colors": "black", "linestyles": "dotted", "linewidths": 0.9}
    axes.contour(true["x1"], true["x2"], true.values.T, **options)
    axes.plot([], [], color="black", linestyle="dotted", label=f"contours of the true {PSI}")
    so_far = run.sel(time=slice(0, now))
    plot.trajectories(axes, so_far["x"], color="white", linewidth=0.9, label=f"trajectory on the learned {PSI}")
    plot.trajectories(
        axes, so_far["x_true"], color="black", linewidth=0.6, linestyle="dashed", label=f"trajectory on the true {PSI}"
    )
    x = so_far["x"].isel(time=-1)
    axes.scatter(
        x[:, 0], x[:, 1], s=9, color="white", edgecolor="black", linewidth=0.5, zorder=6, label="state at this time"
    )
    axes.set(xlim=(0, 2), ylim=(0, 2), xticks=(0, 1, 2), yticks=(0, 1, 2), xlabel="x1", ylabel="x2")


def _split_times(axes: Any, run: xr.Dataset, split: xr.Dataset) -> None:
    """Draw the schedule b(t) and the splitting time of each landscape."""
    axes.plot(run["time"], run["b"], color="black")
    markers = {"truth": "o", "fit": "s", "symmetrised": "D", "long": "^"}
    for source, marker in markers.items():
        here = split.sel(source=source)
        text = f"{SOURCES[source]}, t = {float(here['time']):.3f}"
        face = "none" if source == "truth" else "0.6"
        axes.plot(
            here["time"],
            here["b"],
            marker,
            ms=9 if source == "truth" else 5,
            mfc=face,
            mec="black",
            ls="none",
            label=text,
        )
    axes.set(xlabel="time", ylabel="b", title="schedule b(t) and splitting", ylim=(0, 1.75), yticks=(0, 0.5, 1))
    axes.legend(loc="upper left", frameon=False)


TRUE: dict[str, Any] = {"color": "black", "linestyle": "dashed", "linewidth": 1.2}


def paths(tree: xr.DataTree) -> Figure:
    """Return true and learned basins of Ψ₂ with minimum-energy paths, and Ψ₂ along these."""
    figure, axes = plot.figure(1, 3, size=(7.2, 2.9))
    true, found = (tree[f"analysis/paths/{name}"].to_dataset() for name in ("truth", "fit"))
    for panel, source, title in zip(axes[0], ("truth", "fit"), ("true basins", "learned basins"), strict=False):
        plot.basins(panel, tree[f"analysis/basins/{source}"].to_dataset())
        if source == "fit" and "x" in found:
            plot.path(panel, found, color="0.3", linewidth=2.4, label="minimum-energy paths, members")
        plot.path(panel, true, **TRUE, label="minimum-energy path, truth")
        panel.plot(*true["saddle"].values, "X", color="white", markeredgecolor="black", markersize=6, label="saddle")
        panel.set(title=rf"{title} of $\Psi_2$", xlabel="x1", ylabel="x2")
    profile = axes[0, 2]
    if "x" in found:
        plot.profile(profile, found, color="0.7", linewidth=2.4, label="members")
        heights = found["barrier"].sel(way="forward")
        top = true["distance"].values[int(true["potential"].values.argmax())]
        if heights.size > 1:
            bar = 2 * float(heights.std(ddof=1))
            style = {"fmt": "o", "color": "black", "markersize": 3, "capsize": 3}
            profile.errorbar(top, float(heights.mean()), bar, **style, label="barrier, mean ± 2 s.d.")
        text = f"{float(heights.mean()):.5f} learned\n{float(true['barrier'][0]):.5f} true"
        profile.annotate(text, (top, 0.03), ha="center")
    plot.profile(profile, true, **TRUE, label="truth")
    profile.set(title="energy along the path", ylim=(-0.005, 0.22))
    profile.legend(frameon=False, loc="upper center")
    plot.letters(axes)
    plot.legend(figure, axes[0, :2], columns=5)
    return figure


def branches(tree: xr.DataTree) -> Figure:
    """Return the branches of stationary points of Ψ_b, true, learned and symmetrised, with their bifurcations."""
    figure, axes = plot.figure(1, 3, size=(7.2, 2.9), sharey=True)
    true = tree["analysis/branches/truth"].to_dataset()
    state = str(true["state"].values[0])
    titles = {"truth": "truth", "fit": "learned", "symmetrised": "symmetrised"}
    for panel, (source, title) in zip(axes[0], titles.items(), strict=True):
        found = tree[f"analysis/branches/{source}"].to_dataset()
        plot.branches(panel, found, state=state)
        if source != "truth":
            mine = select(true, index=0)
            panel.plot(mine["b"], mine["x"].sel(state=state), ".", color="0.6", markersize=3, label="minimum, truth")
        first = found["bifurcation_b"].values
        where = f", b = {first.min():.4f}" if len(first) == 1 else ""
        panel.set(title=title + where, xlabel="b", ylabel=state, xlim=(0, 1))
    axes[0, 1].set_ylabel("")
    axes[0, 2].set_ylabel("")
    plot.letters(axes)
    plot.legend(figure, axes[0], columns=4)
    return figure
