"""Figures of the mechanochemical study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.points import select
from workbench import plot

__all__ = ["figures"]

AXES = {"e1_c": ("e₁", "c"), "e2_c": ("e₂", "c"), "e6_c": ("e₆", "c"), "e2_e3": ("e₂", "e₃ at c = 0")}
COMPONENTS = ["∂Ψ/∂E₁₁", "∂Ψ/∂E₂₂", "∂Ψ/∂E₃₃", "∂Ψ/∂E₁₂", "∂Ψ/∂E₁₃", "∂Ψ/∂E₂₃", "μ = ∂Ψ/∂c"]
FAMILIES = {
    "cubic well": "cubic well",
    "tetragonal well": "tetragonal wells",
    "saddle between variants": "saddles between variants",
    "saddle to cubic": "saddles to cubic",
}
STYLES: dict[str, dict[str, Any]] = {
    "plain": {"color": "black", "marker": "o", "linestyle": "solid"},
    "symmetrised": {"color": plot.ACCENT, "marker": "s", "linestyle": "dashed"},
    "augmented": {"color": "tab:orange", "marker": "D", "linestyle": "dashdot"},
}
NAMES = {"plain": "plain fit", "symmetrised": "symmetrised", "augmented": "augmented, symmetrised"}


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {
        "planes": planes(tree),
        "parity": parity(tree),
        "path": path(tree),
        "wells": wells(tree),
        "symmetry": symmetry(tree),
    }


def planes(tree: xr.DataTree) -> Figure:
    """Return Fig 5: the energy over planes of invariants, true above learned, with the tetragonal wells in the last."""
    grid = tree["landscape"].to_dataset()
    figure, axes = plot.figure(2, len(AXES), size=(7.2, 3.6), sharex="col", sharey="col")
    for column, (plane, names) in zip(axes.T, AXES.items(), strict=True):
        here = grid.sel(plane=plane)
        top = float(here["potential_true"].quantile(0.9))
        levels = np.linspace(float(here["potential_true"].min()), top, 17)
        for panel, name, title in zip(column, ("potential_true", "potential"), ("true", "learned"), strict=True):
            filled = _contours(panel, here, here[name], levels)
            panel.set_title(title)
        column[1].set_xlabel(names[0])
        for panel in column:
            panel.set_ylabel(names[1])
        ticks = [tick for tick in MaxNLocator(3).tick_values(levels[0], top) if levels[0] <= tick <= top]
        figure.colorbar(filled, ax=column, location="bottom", ticks=ticks, format="%.3g", label="Ψ")
    _wells_in_plane(axes[:, -1], tree["analysis/stationary_points"].to_dataset())
    plot.letters(axes)
    plot.legend(figure, [axes[1, -1]], columns=3)
    return figure


def parity(tree: xr.DataTree) -> Figure:
    """Return Fig 6: gradient and potential at test states, learned against true, above the errors with ± 2 s.d."""
    data, predicted = tree["data/points"].to_dataset(), tree["fits/fit/predictions"].to_dataset()
    test = (data["split"] == "test").values
    figure, axes = plot.figure(4, 4, size=(7.2, 5.6), height_ratios=(2, 1, 2, 1), sharex=False)
    quantities = [
        (name, data["gradient"][test, k], predicted["gradient"].isel(sample=test, state=k))
        for k, name in enumerate(COMPONENTS)
    ]
    potential, true = predicted["potential"].isel(sample=test), data["potential"][test]
    quantities.append(("Ψ, offset removed", true, potential - (potential - true).mean("sample")))
    pairs = zip(axes[[0, 2]].flat, axes[[1, 3]].flat, strict=True)
    for (above, below), (name, true, learned) in zip(pairs, quantities, strict=True):
        mean, spread, scale = learned.mean("member"), _spread(learned), float(true.std())
        above.plot(true, mean, "o", ms=2, mfc="none", mec="0.3", mew=0.4)
        ends = [float(true.min()), float(true.max())]
        above.plot(ends, ends, color="black", linewidth=0.6)
        unexplained = float(((learned - true) ** 2).mean("sample").max()) / scale**2
        above.text(0.04, 0.96, f"1 − R² = {unexplained:.1e}", transform=above.transAxes, va="top", fontsize=7)
        above.set(title=name, xticklabels=[])
        error = 100 * (mean - true) / scale
        bars: dict[str, Any] = {"ecolor": plot.ACCENT, "elinewidth": 0.5}
        below.errorbar(true, error, 200 * spread / scale, fmt="o", ms=1.5, mfc="black", mec="none", **bars)
        below.axhline(0, color="black", linewidth=0.6)
        for panel in (above, below):
            panel.xaxis.set_major_locator(MaxNLocator(4))
            panel.yaxis.set_major_locator(MaxNLocator(3))
    for row, text in enumerate(("learned", "error\n(% of s.d.)", "learned", "error\n(% of s.d.)")):
        axes[row, 0].set_ylabel(text)
    for panel in axes[3]:
        panel.set_xlabel("true")
    plot.letters(axes[[0, 2]])
    return figure


def path(tree: xr.DataTree) -> Figure:
    """Return Fig 7: stress, chemical potential and energy along the path of Eq 16, and their errors."""
    run = tree["analysis/extrapolation"].to_dataset()
    time, end = run["time"], float(run["time"].values[run["inside_data"].values].max())
    figure, axes = plot.figure(2, 3, size=(7.2, 4.2), sharex=True, height_ratios=(1.4, 1))
    columns = {
        "S₁₁": (run["gradient"], {"state": "E11"}),
        "μ": (run["gradient"], {"state": "c"}),
        "Ψ": (run["potential"], {}),
    }
    for (above, below), (title, (members, at)) in zip(axes.T, columns.items(), strict=True):
        name = str(members.name)
        learned, true = members.sel(at), run[f"{name}_true"].sel(at)
        symmetrised = run[f"{name}_symmetrised"].sel(at).mean("member")
        mean, spread = learned.mean("member"), _spread(learned)
        above.plot(time, true, color="0.75", linewidth=4, label="truth")
        above.fill_between(
            time, mean - 2 * spread, mean + 2 * spread, color=plot.ACCENT, alpha=0.3, linewidth=0, label="± 2 s.d."
        )
        above.plot(time, mean, color="black", label="ensemble mean")
        above.plot(time, symmetrised, color=plot.ACCENT, linestyle="dashed", label="symmetrised")
        below.semilogy(time, abs(mean - true), color="black", label="error of the mean")
        below.semilogy(time, abs(symmetrised - true), color=plot.ACCENT, linestyle="dashed", label="symmetrised")
        below.fill_between(time, 1e-9, 2 * spread, color=plot.ACCENT, alpha=0.3, linewidth=0)
        below.set(xlabel="t", ylim=(1e-5, None))
        for panel in (above, below):
            panel.axvline(end, color="black", linestyle="dotted", linewidth=0.9)
        above.set_title(title)
    axes[0, 0].set_ylabel("value")
    axes[1, 0].set_ylabel("|error| and 2 s.d.")
    axes[0, 0].text(end, 0.02, " end of data", transform=axes[0, 0].get_xaxis_transform(), fontsize=7)
    plot.legend(figure, [axes[0, 0]], columns=4)
    plot.letters(axes)
    return figure


def wells(tree: xr.DataTree) -> Figure:
    """Return the levels of wells and saddles by family, and the errors of level and position, of every member."""
    points = tree["analysis/stationary_points"].to_dataset()
    figure, axes = plot.figure(1, 3, size=(7.2, 2.6), sharey=True)
    levels, level_errors, positions = axes[0]
    true = select(points, source="truth")
    marks = {"fit": {**STYLES["plain"], "ms": 4, "mfc": "none"}, "symmetrised": {**STYLES["symmetrised"], "ms": 4}}
    for row, family in enumerate(FAMILIES):
        exact = float(true["level"].values[(true["family"] == family).values][0])
        levels.plot(exact, row, "|", color="0.6", ms=14, mew=4, label="truth" if row == 0 else None)
        for k, (source, style) in enumerate(marks.items()):
            at = ((points["source"] == source) & (points["family"] == family)).values
            style = {**style, "linestyle": "none"}
            name = ("plain fit", "symmetrised")[k] if row == 0 else None
            height = np.full(at.sum(), row + 0.2 * (k - 0.5))
            level = points["level"].values[at]
            levels.plot(level, height, label=name, **style)
            if family != "cubic well":  # levels are measured from it
                level_errors.semilogx(np.abs(level - exact), height, **style)
            positions.semilogx(points["strain_error"].values[at], height, **style)
    levels.set_xscale("symlog", linthresh=0.2)
    levels.set(xlabel="Ψ − Ψ(cubic well)", yticks=range(len(FAMILIES)), ylim=(len(FAMILIES) - 0.5, -0.5))
    levels.set_xticks([-0.1, 0, 0.1, 2], ["−0.1", "0", "0.1", "2"])
    levels.set_yticklabels(list(FAMILIES.values()))
    level_errors.set_xlabel("|error| of Ψ − Ψ(cubic well)")
    positions.set_xlabel("largest error of a strain")
    for panel in axes[0]:
        panel.grid(axis="y", linewidth=0.3)
    plot.legend(figure, [levels], columns=3)
    plot.letters(axes)
    return figure


def symmetry(tree: xr.DataTree) -> Figure:
    """Return learning curves: test errors and number of saddles found, for each use of the symmetry."""
    curve = tree["analysis/learning_curve"].to_dataset()
    figure, axes = plot.figure(1, 3, size=(7.2, 2.5))
    columns = {
        "error": "error of ∂Ψ, RMSE/s.d.",
        "potential_error": "error of Ψ, RMSE/s.d.",
        "saddles": "saddles found (of 6)",
    }
    for panel, (name, label) in zip(axes[0], columns.items(), strict=True):
        for way, style in STYLES.items():
            here = curve[name].sel(way=way).dropna("size")
            panel.plot(here["size"], here, label=NAMES[way], ms=4, mfc="none", **style)
        panel.set(xscale="log", xlabel="number of samples", ylabel=label)
        panel.set_xticks(curve["size"].values, [str(n) for n in curve["size"].values])
        panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        if name != "saddles":
            panel.set_yscale("log")
    axes[0, 2].set_ylim(-0.3, 6.5)
    plot.legend(figure, [axes[0, 0]], columns=3)
    plot.letters(axes)
    return figure


def _contours(panel: Any, here: xr.Dataset, values: xr.DataArray, levels: np.ndarray) -> Any:
    """Draw filled contours with lines over a plane, and return the mappable."""
    across, up = here["horizontal"].values, here["vertical"].values
    filled = panel.contourf(across, up, values.values.T, levels=levels, cmap="viridis", extend="max")
    panel.contour(across, up, values.values.T, levels=levels[::2], colors="white", linewidths=0.4)
    return filled


def _wells_in_plane(panels: Any, points: xr.Dataset) -> None:
    """Mark the tetragonal wells in the plane of e₂ and e₃, those of the truth in both panels."""
    ring, dot = {"marker": "o", "s": 70, "facecolor": "none"}, {"marker": "o", "s": 14, "facecolor": "white"}
    for panel, source, style in ((panels[0], "truth", ring), (panels[1], "truth", ring), (panels[1], "fit", dot)):
        at = ((points["source"] == source) & (points["family"] == "tetragonal well")).values
        e = points["x"].values[at]
        e2, e3 = (e[:, 0] - e[:, 1]) / 2**0.5, (e[:, 0] + e[:, 1] - 2 * e[:, 2]) / 6**0.5
        label = "tetragonal well, " + ("true" if source == "truth" else "learned, all members")
        panel.scatter(e2, e3, label=label, edgecolor="black", linewidth=1.0, **style)


def _spread(members: xr.DataArray) -> xr.DataArray:
    """Return the standard deviation over members, 0 for a single member."""
    return members.std("member", ddof=1) if members.sizes["member"] > 1 else 0 * members.isel(member=0)
