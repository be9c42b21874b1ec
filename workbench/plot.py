"""Figures of landscapes, trajectories and analyses: each function draws a dataset into given axes.

All figures remain readable in greyscale: landscapes use a sequential colour map with contour lines, the truth is dashed
or hollow, and kinds of stationary points differ in their markers. Axis labels come from the attributes of the data.
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
    "committor",
    "figure",
    "history",
    "label",
    "landscape",
    "legend",
    "letters",
    "nullclines",
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
ACCENT = "tab:blue"  # second colour, next to black
MARKERS = {"minimum": "o", "saddle": "X", "maximum": "^", "degenerate": "D"}


def style() -> AbstractContextManager:
    """Return a context manager that sets the type sizes and line widths of this package's figures."""
    return rc_context(STYLE)


def figure(rows: int, columns: int, *, size: tuple[float, float], **options: Any) -> tuple[Figure, np.ndarray]:
    """Create a figure with an array of axes; it opens no window and leaves matplotlib's global state unchanged.

    Parameters
    ----------
    rows, columns : int
        Numbers of rows and columns of axes.
    size : tuple of float
        Width and height in inches.
    **options
        Passed to `matplotlib.figure.Figure.subplots`.

    Returns
    -------
    matplotlib.figure.Figure, numpy.ndarray
        The figure and its axes, shape (rows, columns).

    Examples
    --------
    >>> import workbench as wb
    >>> wb.plot.figure(1, 2, size=(4, 2))[1].shape
    (1, 2)
    """
    page = Figure(figsize=size, layout="constrained")
    return page, page.subplots(rows, columns, squeeze=False, **options)


def letters(axes: np.ndarray) -> None:
    """Prefix the titles of an array of axes with (a), (b), … (at most twelve).

    Examples
    --------
    >>> import workbench as wb
    >>> page, axes = wb.plot.figure(1, 2, size=(4, 2))
    >>> wb.plot.letters(axes)
    >>> axes[0, 1].get_title(loc="left")
    '(b) '
    """
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
    """Place one legend below all axes of a figure, with every label once.

    Parameters
    ----------
    page : matplotlib.figure.Figure
        Figure that receives the legend.
    panels : iterable of matplotlib.axes.Axes
        Axes whose labelled artists are listed.
    columns : int
        Number of columns of the legend.
    handles : iterable of matplotlib.artist.Artist
        Further artists, listed first.
    order : sequence of str, optional
        Labels to include, in order. Default: all.
    shade : str, optional
        Background colour, for light artists. Default: no frame.
    **options
        Passed to `matplotlib.figure.Figure.legend`.
    """
    named = {str(handle.get_label()): handle for handle in handles}
    for panel in panels:
        artists, names = panel.get_legend_handles_labels()
        named |= dict(zip(names, artists, strict=True))
    if order is not None:
        named = {name: named[name] for name in order if name in named}
    background = {"frameon": False} if shade is None else {"facecolor": shade, "edgecolor": "none"}
    page.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, **background, **options)


def label(variable: xr.DataArray) -> str:
    """Return the axis label "long name [unit]" of a variable; the name alone if the unit is 1, mixed or unknown.

    Examples
    --------
    >>> import xarray as xr, workbench as wb
    >>> wb.plot.label(xr.DataArray(0.0, attrs={"long_name": "time", "units": "s"}))
    'time [s]'
    """
    name, unit = variable.attrs.get("long_name", variable.name), variable.attrs.get("units", "1")
    return str(name) if unit in ("1", "mixed") else f"{name} [{unit}]"


def landscape(axes: Axes, potential: xr.DataArray, *, levels: Any = 24) -> Any:
    """Draw a potential over two states as filled contours with contour lines.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    potential : xarray.DataArray
        Values on a grid, with one dimension per state, such as ``potential`` of `workbench.grid`.
    levels : int or array_like
        Number of contour levels, or the levels themselves.

    Returns
    -------
    matplotlib.contour.QuadContourSet
        The filled contours, for a colour bar.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> grid = wb.grid(systems.get("gene_circuit"), [(0, 2), (0, 2)])
    >>> filled = wb.plot.landscape(wb.plot.figure(1, 1, size=(3, 3))[1][0, 0], grid.potential)
    """
    first, second = (potential[str(dim)] for dim in potential.dims)
    values = potential.values.T
    filled = axes.contourf(first, second, values, levels=levels, cmap="viridis", extend="max")
    axes.contour(first, second, values, levels=np.asarray(filled.levels)[::2], colors="white", linewidths=0.4)
    axes.set(xlabel=label(first), ylabel=label(second), aspect="equal")
    return filled


def nullclines(axes: Axes, gradient: xr.DataArray) -> None:
    """Draw the nullclines of ẋ = −∇Ψ, solid for the first state and dash-dotted for the second.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    gradient : xarray.DataArray
        ``gradient`` on a grid of two states, such as that of `workbench.grid`, with the dimension ``state``.
    """
    grid = [dim for dim in gradient.dims if dim != "state"]
    first, second = (gradient[str(dim)] for dim in grid)
    for k, style in enumerate(("solid", "dashdot")):
        values = gradient.isel(state=k).values.T
        axes.contour(first, second, values, levels=[0.0], colors="black", linestyles=style, linewidths=1.2)
        name = str(gradient["state"].values[k])
        axes.plot([], [], color="black", linestyle=style, linewidth=1.2, label=f"d{name}/dt = 0")


def trajectories(axes: Axes, x: xr.DataArray, **style: Any) -> None:
    """Draw trajectories in the plane of the first two states.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    x : xarray.DataArray
        States with the dimensions trajectory, time and state.
    **style
        Passed to `matplotlib.axes.Axes.plot`.
    """
    options = {"color": "0.45", "linewidth": 0.6, **style}
    name = options.pop("label", None)
    for k, path in enumerate(x.transpose("trajectory", "time", "state").values):
        axes.plot(path[:, 0], path[:, 1], label=name if k == 0 else None, **options)


def stationary_points(axes: Axes, points: xr.Dataset, *, hollow: bool = False, size: float = 30) -> None:
    """Draw stationary points in the plane of the first two states, with one marker per kind.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    points : xarray.Dataset
        ``x(point, state)`` and ``kind(point)``, from `workbench.stationary_points`.
    hollow : bool
        Whether to draw hollow markers, labelled "truth", instead of filled ones, labelled "fit".
    size : float
        Marker area in points squared.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> circuit, axes = systems.get("gene_circuit"), wb.plot.figure(1, 1, size=(3, 3))[1][0, 0]
    >>> wb.plot.stationary_points(axes, wb.stationary_points(circuit, circuit.box), hollow=True)
    """
    for kind, marker in MARKERS.items():
        at = points["x"].values[(points["kind"] == kind).values]
        if len(at):
            face, edge, side = ("none", "black", 2.6 * size) if hollow else ("white", "black", size)
            text = f"{kind}, {'truth' if hollow else 'fit'}"
            axes.scatter(
                at[:, 0], at[:, 1], s=side, marker=marker, facecolor=face, edgecolor=edge, zorder=5, label=text
            )


def history(axes: Axes, record: xr.Dataset, *, color: str = "black") -> None:
    """Draw the square roots of the losses of a fit, its relative errors, or losses in nats; mark the step kept.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    record : xarray.Dataset
        ``loss(member, step)`` and ``validation_loss(member, step)``, such as `Fit.history`.
    color : str
        Colour of all lines: solid for training, dashed for validation.
    """
    nats = record["loss"].attrs.get("units") == "nats"
    draw = axes.plot if nats else axes.semilogy
    for member in range(record.sizes["member"]):
        mine = record[["loss", "validation_loss"]].isel(member=member).dropna("step") ** (1.0 if nats else 0.5)
        kept = int(np.argmin(np.asarray(mine["validation_loss"])))
        lines = (("training", mine["loss"], "solid"), ("validation", mine["validation_loss"], "dashed"))
        for name, error, style in lines:
            draw(mine["step"], error, color=color, linestyle=style, label=name if member == 0 else None)
        at = (mine["step"][kept], mine["validation_loss"][kept])
        axes.plot(*at, "o", color=color, markersize=4, label="kept" if member == 0 else None)
    axes.set(xlabel="step", ylabel=label(record["loss"]) if nats else "relative error")


def path(axes: Axes, found: xr.Dataset, **style: Any) -> None:
    """Draw minimum-energy paths in the plane of the first two states.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    found : xarray.Dataset
        ``x(…, image, state)``, from `workbench.minimum_energy_path`.
    **style
        Passed to `matplotlib.axes.Axes.plot`.
    """
    options = {"color": "black", "linewidth": 1.4, **style}
    name = options.pop("label", "minimum-energy path")
    x = found["x"].values.reshape(-1, found.sizes["image"], found.sizes["state"])
    for k, line in enumerate(x):
        axes.plot(line[:, 0], line[:, 1], label=name if k == 0 else None, **options)


def profile(axes: Axes, found: xr.Dataset, **style: Any) -> None:
    """Draw the potential along minimum-energy paths, relative to the start, against the distance.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    found : xarray.Dataset
        ``potential(…, image)`` and ``distance(…, image)``, from `workbench.minimum_energy_path`.
    **style
        Passed to `matplotlib.axes.Axes.plot`.
    """
    options = {"color": "black", **style}
    name = options.pop("label", None)
    level = (found["potential"] - found["potential"].isel(image=0)).values.reshape(-1, found.sizes["image"])
    distance = found["distance"].values.reshape(-1, found.sizes["image"])
    for k, (along, height) in enumerate(zip(distance, level, strict=True)):
        axes.plot(along, height, label=name if k == 0 else None, **options)
    axes.set(xlabel=label(found["distance"]), ylabel="potential above the start")


def basins(axes: Axes, found: xr.Dataset) -> None:
    """Draw basins of attraction in shades of grey (white: no minimum reached), minima and separatrix.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    found : xarray.Dataset
        ``label`` over two states, ``separatrix`` and ``well_x``, from `workbench.basins`.
    """
    first, second = (found[str(dim)] for dim in found["label"].dims)
    wells = found.sizes["well"]
    shades = np.where(found["label"] >= 0, found["label"], np.nan)
    axes.pcolormesh(first, second, shades.T, cmap="Greys", vmin=-0.5, vmax=1.6 * wells, rasterized=True)
    axes.plot(*found["separatrix"].values.T, ".", color="black", markersize=1.5, label="separatrix")
    axes.plot(*found["well_x"].values.T[:2], "o", color="white", markeredgecolor="black", markersize=5, label="minimum")
    axes.set(xlabel=label(first), ylabel=label(second), aspect="equal")


def branches(axes: Axes, found: xr.Dataset, *, state: str | None = None, color: str = "black") -> None:
    """Draw branches of stationary points: minima solid, saddles and maxima dashed, bifurcations as diamonds.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    found : xarray.Dataset
        Result of `workbench.branches`; its attribute ``parameter`` names the parameter.
    state : str, optional
        Component of x drawn against the parameter. Default: the first state.
    color : str
        Colour of the lines.
    """
    name = str(found["state"].values[0]) if state is None else state
    parameter = found.attrs.get("parameter", "b")
    x, b = found["x"].sel(state=name).values, found[parameter].values
    owner = np.stack([found["branch"].values, found["member"].values if "member" in found.coords else 0 * b])
    minimum = (found["index"] == 0).values
    for rank, (style, text) in enumerate((("solid", "minimum"), ("dashed", "saddle or maximum"))):
        mine = minimum == (rank == 0)
        for k, group in enumerate(np.unique(owner, axis=1).T):
            on = np.all(owner.T == group, axis=1)
            near = mine | (np.roll(mine, 1) & on & np.roll(on, 1))
            line = np.where(near[on], x[on], np.nan)
            axes.plot(b[on], line, color=color, linestyle=style, label=text if k == 0 else None)
    at = found["bifurcation_x"].sel(state=name).values
    where = found[f"bifurcation_{parameter}"]
    axes.plot(where, at, "D", color="white", markeredgecolor="black", markersize=5, label="bifurcation")
    axes.set(xlabel=label(found[parameter]), ylabel=name)


def committor(axes: Axes, found: xr.Dataset, **style: Any) -> Any:
    """Draw a committor: over two states as filled contours from 0 to 1 with the line 1/2, over one as a curve.

    Where no way leads to either set, the plane is left hatched.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Target of the drawing.
    found : xarray.Dataset
        ``committor`` over one or two states, from `workbench.committor`.
    **style
        Passed to `matplotlib.axes.Axes.plot`, for the curve, or to `matplotlib.axes.Axes.contour`, for the line 1/2.

    Returns
    -------
    matplotlib.contour.QuadContourSet or None
        The filled contours, for a colour bar; None over one state.

    Raises
    ------
    ValueError
        If the committor is not over one or two states: of three states, draw a plane, `found.sel(z=…,
        method="nearest")`, and of an ensemble one member, `found.isel(member=…)`.

    Examples
    --------
    >>> import systems, workbench as wb
    >>> circuit, box = systems.get("gene_circuit"), [(-0.5, 2.5), (-0.5, 2.5)]
    >>> found = wb.committor(circuit, box, [0.4, 1.5], [1.5, 0.4], 0.05, radius=0.25, nodes=61)
    >>> filled = wb.plot.committor(wb.plot.figure(1, 1, size=(3, 3))[1][0, 0], found)
    """
    values = found["committor"]
    if values.ndim not in (1, 2) or "member" in values.dims:
        raise ValueError(
            f"a committor is drawn over one or two states, got {values.dims}: select a plane with found.sel(z=…, "
            'method="nearest"), or a member with found.isel(member=…)'
        )
    first, *others = (found[str(dim)] for dim in values.dims)
    if not others:
        axes.plot(first, values, **{"color": "black", **style})
        axes.set(xlabel=label(first), ylabel="committor", ylim=(-0.03, 1.03))
        return None
    axes.patch.set(hatch="////", edgecolor="0.7")
    filled = axes.contourf(first, others[0], values.T, levels=np.linspace(0, 1, 11), cmap="viridis")
    options = {"colors": "white", "linewidths": 1.4, **style}
    axes.contour(first, others[0], values.T, levels=[0.5], **options)
    axes.set(xlabel=label(first), ylabel=label(others[0]), aspect="equal")
    return filled
