"""The figure of a result file that belongs to no study: a landscape, or predictions against the data."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from workbench import plot

__all__ = ["overview"]

LARGEST_PARITY = 4  # panels


def overview(tree: xr.DataTree) -> Figure:
    """Draw a landscape in one or two dimensions with the data and the stationary points; else predictions and data.

    Parameters
    ----------
    tree : xarray.DataTree
        A result file with the groups /data and /landscape or /fits, such as ``workbench.load(path).tree``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the file holds neither a landscape with data nor predictions.

    Examples
    --------
    >>> import tempfile, numpy as np, workbench as wb
    >>> x = np.linspace(-2, 2, 40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> quick = wb.LevenbergMarquardt(steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     answer = wb.learn(data, match="potential", modes=2, hidden=(4,), seed=0, restarts=1, optimiser=quick)
    ...     file = wb.save(f"{folder}/wells.nc", **answer)
    ...     len(overview(wb.load(file).tree).axes)
    1
    """
    if {"landscape", "data"} <= set(tree.children):
        return _landscape(tree)
    predicted = [node for node in tree.subtree if node.path.endswith("/predictions")]
    names = [
        str(name) for name in (predicted[-1].data_vars if predicted else ()) if f"{name}_residual" in predicted[-1]
    ]
    if not names:
        raise ValueError("the file holds neither a landscape with data nor predictions: there is nothing to draw")
    return _parity(predicted[-1].to_dataset(), names[:LARGEST_PARITY])


def _landscape(tree: xr.DataTree) -> Figure:
    """Draw the landscape, the data and the stationary points."""
    potential = tree["landscape"].to_dataset()["potential"]
    page, panels = plot.figure(1, 1, size=(4, 3.2))
    axes = panels[0, 0]
    group = next(node for node in tree["data"].subtree if "x" in node.data_vars)
    x = group.to_dataset()["x"].values.reshape(-1, group.sizes["state"])
    known = any(node.path == "/analysis/stationary_points" for node in tree.subtree)
    found = tree["analysis/stationary_points"].to_dataset() if known else None
    if potential.ndim == 2:
        page.colorbar(plot.landscape(axes, potential), ax=axes, label=plot.label(potential))
        axes.plot(*x.T, ".", color="black", markersize=1.5, label="data")
        if found is not None:
            plot.stationary_points(axes, found)
    else:
        line = potential[str(potential.dims[0])]
        axes.plot(line, potential, color="black", label="fit")
        axes.plot(x[:, 0], np.full(len(x), float(potential.min())), "|", color="0.45", label="data")
        if found is not None:
            at = np.column_stack([found["x"].values, found["potential"].values])
            plot.stationary_points(axes, found.drop_dims("state").assign(x=(("point", "axis"), at)))
        axes.set(xlabel=plot.label(line), ylabel=plot.label(potential))
    plot.legend(page, [axes], columns=3)
    return page


def _parity(predicted: xr.Dataset, names: list[str]) -> Figure:
    """Draw predictions against observations, a panel for each quantity."""
    page, panels = plot.figure(1, len(names), size=(3.2 * len(names), 3.2))
    for axes, name in zip(panels.ravel(), names, strict=True):
        values, residual = predicted[name], predicted[f"{name}_residual"]
        observed = (values - residual).values.ravel()
        axes.plot(observed, values.values.ravel(), ".", color=plot.ACCENT, markersize=2)
        ends = [float(np.nanmin(observed)), float(np.nanmax(observed))]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        text = plot.label(values).replace(", predicted", "")
        axes.set(xlabel=f"{text}, data", ylabel=f"{text}, prediction", aspect="equal")
    return page
