"""Figures of the wells study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench import plot

__all__ = ["figures"]


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {
        "convergence": convergence(tree),
        "fits": fits(tree),
        "parameters": parameters(tree),
        "race": race(tree),
        "counts": counts(tree),
    }


def convergence(tree: xr.DataTree) -> Figure:
    """Return Fig 2: loss and number of active gates over steps or epochs, with thick medians."""
    cases, optimisers = _titles(tree)
    figure, axes = plot.figure(2, len(cases), size=(7.2, 4.2), sharey="row")
    for row, (optimiser, title) in zip(axes, optimisers.items(), strict=True):
        for k, (panel, name) in enumerate(zip(row, cases, strict=True)):
            history = tree[f"fits/{name}_{optimiser}/history"].to_dataset()
            _bundle(panel, history["step"], history["loss"], color="black")
            panel.set(yscale="log", title=f"{cases[name]}, {title}", xlabel="epoch" if optimiser == "adam" else "step")
            panel.set_ylabel("mean squared error" if k == 0 else "")
            right = panel.twinx()
            _bundle(right, history["step"], history["active"], color=plot.ACCENT, linestyle="dashed")
            right.set_ylim(0, 1.12 * history.sizes["mode"])
            right.tick_params(colors=plot.ACCENT, labelright=k == len(cases) - 1)
            right.set_ylabel("active gates" if k == len(cases) - 1 else "", color=plot.ACCENT)
    handles = [
        Line2D([], [], color="black", linewidth=1.8, label="mean squared error, median"),
        Line2D([], [], color="black", linewidth=0.5, label="individual fits"),
        Line2D([], [], color=plot.ACCENT, linewidth=1.8, linestyle="dashed", label="gates > 10⁻⁶, median"),
    ]
    plot.legend(figure, handles=handles, columns=3)
    plot.letters(axes)
    return figure


def fits(tree: xr.DataTree) -> Figure:
    """Return Fig 3: truth, data and one fit by each optimiser, above the errors of all fits."""
    cases, optimisers = _titles(tree)
    figure, axes = plot.figure(2, len(cases), size=(7.2, 4.4), sharex=True, height_ratios=(1.3, 1))
    grid = tree["landscape"].to_dataset()
    wells = tree["analysis/wells"].to_dataset()
    styles: dict[str, Any] = {
        "lm": {"color": "black", "linewidth": 1.0},
        "adam": {"color": plot.ACCENT, "linewidth": 1.0, "linestyle": "dashdot"},
    }
    for (above, below), name in zip(axes.T, cases, strict=True):
        here = grid.sel(case=name)
        above.plot(here["x"], here["potential_true"], color="0.75", linewidth=4, label="truth")
        data = tree[f"data/{name}"].to_dataset()
        train = data.isel(sample=(data["split"] == "train").values)
        above.plot(train["x"].squeeze(), train["potential"], ".", color="0.35", markersize=2, label="data")
        for optimiser, style in styles.items():
            best = int(tree[f"fits/{name}_{optimiser}"].attrs["best_member"])
            mine = here.sel(optimiser=optimiser)
            above.plot(here["x"], mine["potential"].sel(member=best), label=optimisers[optimiser], **style)
            error = np.abs((mine["potential"] - here["potential_true"]).transpose("member", "x").values)
            below.fill_between(here["x"], error.min(0), error.max(0), color=style["color"], alpha=0.15, linewidth=0)
            below.plot(here["x"], np.median(error, 0), **style)
            if optimiser == "lm":
                at = ((wells["case"] == name) & (wells["source"] == "lm") & (wells["member"] == best)).values
                above.plot(
                    wells["x"].values[at, 0],
                    wells["potential"].values[at],
                    "o",
                    ms=5,
                    mfc="white",
                    mec="black",
                    label="well",
                )
        above.set(title=cases[name], ylabel="potential" if name == next(iter(cases)) else "")
        below.set(yscale="log", xlabel="x", ylabel="|error|" if name == next(iter(cases)) else "", ylim=(1e-9, None))
    plot.legend(figure, [axes[0, 0]], columns=5)
    plot.letters(axes)
    return figure


def parameters(tree: xr.DataTree) -> Figure:
    """Return Fig 4: sharpness and gates over steps or epochs."""
    cases, optimisers = _titles(tree)
    figure, axes = plot.figure(2, len(cases), size=(7.2, 4.2))
    for row, (optimiser, title) in zip(axes, optimisers.items(), strict=True):
        for k, (panel, name) in enumerate(zip(row, cases, strict=True)):
            history = tree[f"fits/{name}_{optimiser}/history"].to_dataset()
            scale = float(tree[f"fits/{name}_{optimiser}"]["potential_scale"])
            _bundle(panel, history["step"], history["rho"] / scale, color="black")
            panel.set(yscale="log", title=f"{cases[name]}, {title}", xlabel="epoch" if optimiser == "adam" else "step")
            panel.set_ylabel("sharpness ρ [1/Ψ]" if k == 0 else "")
            right = panel.twinx()
            gates = history["gate"].stack(each=("member", "mode")).transpose("each", "step")
            _bundle(right, history["step"], gates, color=plot.ACCENT, linestyle="dashed")
            right.set_ylim(0, 1.05)
            right.tick_params(colors=plot.ACCENT, labelright=k == len(cases) - 1)
            right.set_ylabel("gates ς(α)" if k == len(cases) - 1 else "", color=plot.ACCENT)
    handles = [
        Line2D([], [], color="black", linewidth=1.8, label="ρ, median (thin: individual fits)"),
        Line2D(
            [], [], color=plot.ACCENT, linewidth=1.8, linestyle="dashed", label="gates, median (thin: individual modes)"
        ),
    ]
    plot.legend(figure, handles=handles, columns=2)
    plot.letters(axes)
    return figure


def race(tree: xr.DataTree) -> Figure:
    """Return loss against wall time: separate fits by Levenberg–Marquardt, simultaneous ones by Adam."""
    cases, optimisers = _titles(tree)
    figure, axes = plot.figure(1, len(cases), size=(7.2, 2.6), sharey=True)
    for panel, name in zip(axes[0], cases, strict=True):
        for optimiser, color, style in (("lm", "black", "solid"), ("adam", plot.ACCENT, "dashed")):
            history = tree[f"fits/{name}_{optimiser}/history"].to_dataset().isel(step=slice(1, None))
            members = history.sizes["member"] if optimiser == "adam" else 1
            for member in history["member"]:
                one = history.sel(member=member)
                panel.loglog(one["elapsed"] / members, one["loss"], color=color, linestyle=style, linewidth=0.6)
        panel.set(title=cases[name], xlabel="wall time per fit [s]")
        panel.xaxis.get_major_locator().set_params(numticks=5)
        panel.xaxis.set_minor_formatter("")
    axes[0, 0].set_ylabel("mean squared error")
    members = tree[f"fits/{name}_adam/history"].sizes["member"]
    handles = [
        Line2D([], [], color="black", label=optimisers["lm"]),
        Line2D(
            [],
            [],
            color=plot.ACCENT,
            linestyle="dashed",
            label=f"Adam, {members} simultaneous fits, time divided by {members}",
        ),
    ]
    plot.legend(figure, handles=handles, columns=2)
    plot.letters(axes)
    return figure


def counts(tree: xr.DataTree) -> Figure:
    """Return the three counts of every fit, with the true number of wells."""
    cases, optimisers = _titles(tree)
    found = tree["analysis/counts"].to_dataset()
    wells = tree["analysis/wells"].to_dataset()
    figure, axes = plot.figure(1, len(cases), size=(7.2, 2.4), sharey=True)
    kinds = {"gates": "gates\n> 10⁻⁶", "dominant": "dominant\nmodes", "wells": "wells"}
    for panel, name in zip(axes[0], cases, strict=True):
        truth = int(((wells["case"] == name) & (wells["source"] == "truth")).sum())
        panel.axhline(truth, color="0.6", linewidth=3, alpha=0.6)
        for shift, optimiser, marker, face in ((-0.15, "lm", "o", "black"), (0.15, "adam", "s", "white")):
            for k, kind in enumerate(kinds):
                values, number = np.unique(found[kind].sel(case=name, optimiser=optimiser), return_counts=True)
                at, style = np.full(len(values), k + shift), {"marker": marker, "facecolor": face, "edgecolor": "black"}
                panel.scatter(at, values, s=8 + 8 * number, zorder=3, **style)
        panel.set(title=f"{cases[name]}, {truth} wells", xlim=(-0.5, 2.5), ylim=(-0.6, None))
        panel.set_xticks(range(len(kinds)), list(kinds.values()))
    axes[0, 0].set_ylabel("count (area ∝ number of fits)")
    handles = [
        Line2D([], [], color="0.6", linewidth=3, alpha=0.6, label="true number of wells"),
        Line2D([], [], color="black", marker="o", linestyle="none", markersize=5, label=optimisers["lm"]),
        Line2D([], [], color="black", marker="s", linestyle="none", ms=5, mfc="white", label=optimisers["adam"]),
    ]
    plot.legend(figure, handles=handles, columns=3)
    plot.letters(axes)
    return figure


def _titles(tree: xr.DataTree) -> tuple[dict[str, str], dict[str, str]]:
    """Return the titles of the functions and of the optimisers by name."""
    grid = tree["landscape"].to_dataset()
    cases, optimisers = (
        {str(name): str(title) for name, title in zip(grid[axis].values, grid[f"{axis}_title"].values, strict=True)}
        for axis in ("case", "optimiser")
    )
    return cases, optimisers


def _bundle(axes: Any, x: xr.DataArray, y: xr.DataArray, *, color: str, linestyle: str = "solid") -> None:
    """Draw the rows of y as thin lines, and their median as a thick one; rows that have ended keep their last value."""
    rows = y.values
    axes.plot(x, rows.T, color=color, linewidth=0.4, alpha=0.5)
    last = np.maximum.accumulate(np.where(np.isfinite(rows), np.arange(rows.shape[1]), 0), axis=1)
    median = np.median(np.take_along_axis(rows, last, axis=1), axis=0)
    axes.plot(x, median, color=color, linewidth=1.8, linestyle=linestyle)
