"""Dataset in, axes out: the drawings that studies and users share.

Everything reads in grey: landscapes are a sequential map with contour lines, truth is dashed or hollow, kinds of
stationary points differ by marker. Labels come from the attributes of the data.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "basins",
    "branches",
    "figure",
    "history",
    "label",
    "landscape",
    "legend",
    "letters",
    "nullclines",
    "overview",
    "path",
    "profile",
    "stationary_points",
    "style",
    "trajectories",
]

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "savefig.bbox": "tight",
    "pdf.fonttype": 42,
}
SECOND = "tab:blue"  # beside black, where there are two
MARKERS = {"minimum": "o", "saddle": "X", "maximum": "^", "degenerate": "D"}


def style() -> AbstractContextManager:
    """Return a context in which figures are drawn and saved in the project's type sizes and line widths."""
    return rc_context(STYLE)


def figure(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure with an array of axes, shape (rows, columns); no window, no global state.

    >>> figure(1, 2, size=(4, 2))[1].shape
    (1, 2)
    """
    page = Figure(figsize=size, layout="constrained")
    return page, page.subplots(rows, columns, squeeze=False, **options)


def letters(axes: np.ndarray) -> None:
    """Put (a), (b), … before the titles of the axes."""
    for letter, panel in zip("abcdefghijkl", axes.ravel(), strict=False):
        title = panel.get_title()
        panel.set_title("")
        panel.set_title(f"({letter}) {title}", loc="left")


def legend(
    page: Figure,
    panels: Iterable[Axes] = (),
    *,
    columns: int,
    handles: Iterable[Artist] = (),
    order: Sequence[str] | None = None,
    shade: str | None = None,
    **options: Any,
) -> None:
    """Put one legend below all axes, every name once: what the panels hold, after `handles` made for it.

    `order` names the entries that are wanted, in their order; `shade` is the ground for light colours, else none.
    """
    named = {str(handle.get_label()): handle for handle in handles}
    for panel in panels:
        artists, names = panel.get_legend_handles_labels()
        named |= dict(zip(names, artists, strict=True))
    if order is not None:
        named = {name: named[name] for name in order if name in named}
    ground = {"frameon": False} if shade is None else {"facecolor": shade, "edgecolor": "none"}
    page.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, **ground, **options)


def label(variable: xr.DataArray) -> str:
    """Return "long name [unit]" of a variable, without the unit where it is 1."""
    name, unit = variable.attrs.get("long_name", variable.name), variable.attrs.get("units", "1")
    return str(name) if unit in ("1", "mixed") else f"{name} [{unit}]"


def landscape(axes: Axes, potential: xr.DataArray, *, levels: Any = 24) -> Any:
    """Draw Ψ over two coordinates as filled contours with lines; returns the mappable for a colour bar."""
    first, second = (potential[str(dim)] for dim in potential.dims)
    values = potential.values.T
    filled = axes.contourf(first, second, values, levels=levels, cmap="viridis", extend="max")
    axes.contour(first, second, values, levels=np.asarray(filled.levels)[::2], colors="white", linewidths=0.4)
    axes.set(xlabel=label(first), ylabel=label(second), aspect="equal")
    return filled


def overview(tree: xr.DataTree) -> Figure:
    """Draw the landscape of a fit's file, in one or two dimensions, with the data and the stationary points."""
    potential = tree["landscape"].to_dataset()["potential"]
    page, panels = figure(1, 1, size=(4, 3.2))
    axes = panels[0, 0]
    group = next(node for node in tree["data"].subtree if "x" in node.data_vars)
    x = group.to_dataset()["x"].values.reshape(-1, group.sizes["state"])
    known = any(node.path == "/analysis/stationary_points" for node in tree.subtree)
    found = tree["analysis/stationary_points"].to_dataset() if known else None
    if potential.ndim == 2:
        page.colorbar(landscape(axes, potential), ax=axes, label=label(potential))
        axes.plot(*x.T, ".", color="black", markersize=1.5, label="data")
        if found is not None:
            stationary_points(axes, found)
    else:
        line = potential[str(potential.dims[0])]
        axes.plot(line, potential, color="black", label="fit")
        axes.plot(x[:, 0], np.full(len(x), float(potential.min())), "|", color="0.45", label="data")
        if found is not None:
            at = np.column_stack([found["x"].values, found["potential"].values])
            stationary_points(axes, xr.Dataset({"x": (("point", "axis"), at), "kind": found["kind"]}))
        axes.set(xlabel=label(line), ylabel=label(potential))
    legend(page, [axes], columns=3)
    return page


def nullclines(axes: Axes, gradient: xr.DataArray) -> None:
    """Draw where each component of the gradient vanishes: solid for the first, dash-dotted for the second."""
    grid = [dim for dim in gradient.dims if dim != "state"]
    first, second = (gradient[str(dim)] for dim in grid)
    for k, style in enumerate(("solid", "dashdot")):
        values = gradient.isel(state=k).values.T
        axes.contour(first, second, values, levels=[0.0], colors="black", linestyles=style, linewidths=1.2)
        name = str(gradient["state"].values[k])
        axes.plot([], [], color="black", linestyle=style, linewidth=1.2, label=f"d{name}/dt = 0")


def trajectories(axes: Axes, x: xr.DataArray, **style: Any) -> None:
    """Draw x(trajectory, time, state) in the plane of its two states; `style` is for the lines."""
    options = {"color": "0.45", "linewidth": 0.6, **style}
    name = options.pop("label", None)
    for k, path in enumerate(x.transpose("trajectory", "time", "state").values):
        axes.plot(path[:, 0], path[:, 1], label=name if k == 0 else None, **options)


def stationary_points(axes: Axes, points: xr.Dataset, *, hollow: bool = False, size: float = 30) -> None:
    """Draw x(point, state) with a marker for each kind; hollow for the truth, filled for a fit."""
    for kind, marker in MARKERS.items():
        at = points["x"].values[(points["kind"] == kind).values]
        if len(at):
            face, edge, side = ("none", "black", 2.6 * size) if hollow else ("white", "black", size)
            text = f"{kind}, {'truth' if hollow else 'fit'}"
            axes.scatter(
                at[:, 0], at[:, 1], s=side, marker=marker, facecolor=face, edgecolor=edge, zorder=5, label=text
            )


def history(axes: Axes, record: xr.Dataset, *, color: str = "black") -> None:
    """Draw the error (root of the loss) of a fit over its steps: training, validation, and the step that was kept."""
    for member in range(record.sizes["member"]):
        mine = np.sqrt(record[["loss", "validation_loss"]].isel(member=member).dropna("step"))
        kept = int(np.argmin(np.asarray(mine["validation_loss"])))
        lines = (("training", mine["loss"], "solid"), ("validation", mine["validation_loss"], "dashed"))
        for name, error, style in lines:
            axes.semilogy(mine["step"], error, color=color, linestyle=style, label=name if member == 0 else None)
        at = (mine["step"][kept], mine["validation_loss"][kept])
        axes.plot(*at, "o", color=color, markersize=4, label="kept" if member == 0 else None)
    axes.set(xlabel="step", ylabel="relative error")


def path(axes: Axes, found: xr.Dataset, **style: Any) -> None:
    """Draw minimum-energy paths x(…, image, state) in the plane of their two states."""
    options = {"color": "black", "linewidth": 1.4, **style}
    name = options.pop("label", "minimum-energy path")
    x = found["x"].values.reshape(-1, found.sizes["image"], found.sizes["state"])
    for k, line in enumerate(x):
        axes.plot(line[:, 0], line[:, 1], label=name if k == 0 else None, **options)


def profile(axes: Axes, found: xr.Dataset, **style: Any) -> None:
    """Draw the potential along minimum-energy paths over the distance, from the level of the start."""
    options = {"color": "black", **style}
    name = options.pop("label", None)
    level = (found["potential"] - found["potential"].isel(image=0)).values.reshape(-1, found.sizes["image"])
    distance = found["distance"].values.reshape(-1, found.sizes["image"])
    for k, (along, height) in enumerate(zip(distance, level, strict=True)):
        axes.plot(along, height, label=name if k == 0 else None, **options)
    axes.set(xlabel=label(found["distance"]), ylabel="potential above the start")


def basins(axes: Axes, found: xr.Dataset) -> None:
    """Draw label(x, y) in shades of grey, white where a start ends in no minimum, and the separatrix as points."""
    first, second = (found[str(dim)] for dim in found["label"].dims)
    wells = found.sizes["well"]
    shades = np.where(found["label"] >= 0, found["label"], np.nan)
    axes.pcolormesh(first, second, shades.T, cmap="Greys", vmin=-0.5, vmax=1.6 * wells, rasterized=True)
    axes.plot(*found["separatrix"].values.T, ".", color="black", markersize=1.5, label="separatrix")
    axes.plot(*found["well_x"].values.T[:2], "o", color="white", markeredgecolor="black", markersize=5, label="minimum")
    axes.set(xlabel=label(first), ylabel=label(second), aspect="equal")


def branches(axes: Axes, found: xr.Dataset, *, state: str | None = None, color: str = "black") -> None:
    """Draw a component of x over the parameter: minima solid, other points dashed, bifurcations as diamonds."""
    name = str(found["state"].values[0]) if state is None else state
    x, b = found["x"].sel(state=name).values, found["b"].values
    owner = np.stack([found["branch"].values, found["member"].values if "member" in found.coords else 0 * b])
    stable = (found["index"] == 0).values
    for rank, (style, text) in enumerate((("solid", "minimum"), ("dashed", "saddle or maximum"))):
        mine = stable == (rank == 0)
        for k, group in enumerate(np.unique(owner, axis=1).T):
            on = np.all(owner.T == group, axis=1)
            near = mine | (np.roll(mine, 1) & on & np.roll(on, 1))
            line = np.where(near[on], x[on], np.nan)
            axes.plot(b[on], line, color=color, linestyle=style, label=text if k == 0 else None)
    at = found["bifurcation_x"].sel(state=name).values
    axes.plot(
        found["bifurcation_b"], at, "D", color="white", markeredgecolor="black", markersize=5, label="bifurcation"
    )
    axes.set(xlabel=label(found["b"]), ylabel=name)
