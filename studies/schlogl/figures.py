"""Figures of the Schlögl study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from workbench import plot

__all__ = ["figures"]

SHOWN_TRAJECTORIES = 40
STYLES: dict[str, dict[str, Any]] = {
    "exact": {"color": "0.75", "linewidth": 4, "label": "exact distribution"},
    "joint": {"color": "black", "label": "LSE-ICNN in (X, t)"},
    "slice": {"color": "tab:blue", "linestyle": "dashed", "label": "LSE-ICNN for each time"},
    "kde_scott": {"color": "tab:orange", "linestyle": "dotted", "linewidth": 1.4, "label": "KDE, Scott"},
    "kde_cv": {"color": "tab:orange", "linestyle": "dashdot", "label": "KDE, cross-validated"},
    "mixture": {"color": "tab:green", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "label": "normal mixture, BIC"},
}
MODE_STYLES = {"exact": ("o", "0.75", 6), "joint": (".", "black", 4), "kde_scott": ("+", "tab:orange", 4)}
MARKERS = {"slice": "s", "kde_cv": "D", "mixture": "^"}


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {"densities": densities(tree), "slices": slices(tree), "times": times(tree)}


def densities(tree: xr.DataTree) -> Figure:
    """Return Fig 8: trajectories, kernel density estimate, learned density and exact distribution over time."""
    found, runs = tree["analysis/densities"].to_dataset(), tree["data/trajectories"].to_dataset()
    figure, axes = plot.figure(1, 4, size=(7.2, 2.4), sharey=True)
    paths = runs["x"].isel(trajectory=slice(0, SHOWN_TRAJECTORIES)).squeeze("state").transpose("time", "trajectory")
    axes[0, 0].plot(runs["time"], paths, color="0.3", linewidth=0.4)
    axes[0, 0].set(
        title=f"{paths.sizes['trajectory']} of {runs.sizes['trajectory']} trajectories",
        ylabel=plot.label(found["X"]),
        ylim=(0, 800),
    )
    top = float(found["probability"].sel(source="exact", time=slice(float(found["time"].max()) / 10, None)).max())
    titles = {"kde_scott": "KDE, Scott", "joint": "LSE-ICNN", "exact": "exact"}
    for panel, (source, title) in zip(axes[0, 1:], titles.items(), strict=True):
        p = found["probability"].sel(source=source)
        image = panel.pcolormesh(
            found["time"],
            found["X"],
            p.transpose("X", "time"),
            norm=PowerNorm(0.5, 0, top),
            cmap="viridis",
            shading="nearest",
            rasterized=True,
        )
        panel.set_title(title)
    for panel in axes[0]:
        panel.set_xlabel("time")
    figure.colorbar(image, ax=axes[0, -1], label="probability", extend="max")
    plot.letters(axes)
    return figure


def slices(tree: xr.DataTree) -> Figure:
    """Return the densities of all sources at the times of comparison, one panel for each."""
    found, runs = tree["analysis/densities"].to_dataset(), tree["data/trajectories"].to_dataset()
    judged = [t for t in found["time"].values if np.isfinite(found["divergence"].sel(source="slice", time=t))]
    figure, axes = plot.figure(1, len(judged), size=(7.2, 2.7), sharey=True)
    for panel, t in zip(axes[0], judged, strict=True):
        x = runs["x"].sel(time=t).values[:, 0]
        bins = np.arange(0, 1001, 40 if len(x) < 1000 else 10)
        panel.hist(x, bins, density=True, color="0.92", edgecolor="0.8", linewidth=0.4, label="data")
        for source, style in _styles(found).items():
            panel.plot(found["X"], found["probability"].sel(source=source, time=t), **style)
        panel.set(title=f"t = {t:g}", xlabel=plot.label(found["X"]), xlim=(0, 800))
    axes[0, 0].set_ylabel("probability")
    plot.legend(figure, [axes[0, 0]], columns=4)
    plot.letters(axes)
    return figure


def times(tree: xr.DataTree) -> Figure:
    """Return divergence from the exact distribution, probability of the lower state, and modes, over time."""
    found, modes = tree["analysis/densities"].to_dataset(), tree["analysis/modes"].to_dataset()
    figure, axes = plot.figure(1, 3, size=(7.2, 2.6))
    left, middle, right = axes[0]
    for source, style in _styles(found).items():
        if source == "exact":
            continue
        kl = found["divergence"].sel(source=source).dropna("time")
        if source in MARKERS:
            left.plot(kl["time"], kl, MARKERS[source], color=style["color"], ms=4, mfc="none", label=style["label"])
        else:
            left.plot(kl["time"], kl, **style)
    left.set(yscale="log", xlabel="time", ylabel="KL divergence from exact [nats]")
    for source in MODE_STYLES:
        middle.plot(found["time"], found["below"].sel(source=source), **STYLES[source])
        positions = modes["mode_place"].sel(source=source)
        marker, color, size = MODE_STYLES[source]
        for rank in modes["rank"]:
            right.plot(modes["time"], positions.sel(rank=rank), marker, color=color, ms=size)
    middle.plot(found["time"], found["below_data"], "x", color="0.4", ms=3, label="fraction of trajectories")
    middle.set(xlabel="time", ylabel="P(X < 256)")
    right.set(xlabel="time", ylabel="modes [molecules]", ylim=(0, 700))
    plot.legend(figure, (middle, left), columns=4)
    plot.letters(axes)
    return figure


def _styles(found: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return the styles of the sources in the file, which holds fewer without scikit-learn."""
    return {source: style for source, style in STYLES.items() if source in found["source"].values}
