"""Figures of the discovery study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from studies.points import select
from workbench import plot

__all__ = ["figures"]


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {"scans": scans(tree), "landscapes": landscapes(tree), "bound": bound(tree)}


def scans(tree: xr.DataTree) -> Figure:
    """Return the held-out loss over the number of modes, with its standard error, and the selected number."""
    titles = _titles(tree)
    scanned, rows = tree["analysis/scanned"].to_dataset(), _levels(tree)
    figure, axes = plot.figure(len(rows), len(titles), size=(7.2, 0.6 + 1.8 * len(rows)), sharex=True, sharey=True)
    for row, noise in zip(axes, rows, strict=True):
        for panel, name in zip(row, titles, strict=True):
            here = scanned["fit"].values[((scanned["case"] == name) & (scanned["noise"] == noise)).values]
            for k, label in enumerate(here):
                record = tree[f"fits/{label}/scan"].to_dataset()
                first = k == 0
                bars = {"marker": "o", "ms": 3, "lw": 0.8, "capsize": 2, "color": "black"}
                panel.errorbar(
                    record["modes"],
                    record["validation_loss"],
                    np.minimum(record["standard_error"], 0.999 * record["validation_loss"]),
                    label="held-out loss ± 1 standard error" if first else None,
                    **bars,
                )
                training = {"color": "0.5", "linestyle": "dashed", "label": "training loss" if first else None}
                panel.plot(record["modes"], record["loss"], **training)
                chosen = record.isel(modes=(record["chosen"] == 1).values)
                panel.plot(
                    chosen["modes"], chosen["validation_loss"], "s", ms=9, mfc="none", mec=plot.ACCENT, mew=1.5,
                    label="selected" if first else None,
                )  # fmt: skip
                if first:
                    panel.axhline(float(record["floor"]), color="0.6", ls="dotted", label="loss floor")
            panel.set(yscale="log", title=f"{titles[name]}, noise {100 * noise:g} %")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.set_xlabel("number of modes" if noise == rows[-1] else "")
        row[0].set_ylabel("loss / variance")
    plot.legend(figure, [axes[0, 0]], columns=4)
    plot.letters(axes)
    return figure


def landscapes(tree: xr.DataTree) -> Figure:
    """Return the data, the learned landscape with its wells and convex modes, and the truth."""
    titles = _titles(tree)
    scanned, grid, rows = tree["analysis/scanned"].to_dataset(), tree["landscape"].to_dataset(), _levels(tree)
    wells = tree["analysis/wells"].to_dataset()
    figure, axes = plot.figure(len(rows), len(titles), size=(7.2, 0.6 + 1.9 * len(rows)), sharex=True)
    for row, noise in zip(axes, rows, strict=True):
        for panel, name in zip(row, titles, strict=True):
            label = scanned["fit"].values[((scanned["case"] == name) & (scanned["noise"] == noise)).values][0]
            here, data = grid.sel(fit=label), tree[f"data/{label}"].to_dataset()
            panel.plot(here["x"], here["potential_true"], color="0.8", linewidth=4, label="truth")
            panel.plot(data["x"].squeeze(), data["potential"], ".", color="0.4", markersize=1.5, label="data")
            modes = here["convex_mode"].transpose("x", "mode").values
            lines = panel.plot(here["x"], modes, color=plot.ACCENT, linewidth=0.8, linestyle="dashed")
            lines[0].set_label("convex modes")
            panel.plot(here["x"], here["potential"], color="black", label="learned")
            at = select(wells, fit=label)
            panel.plot(at["x"].values[:, 0], at["potential"], "o", ms=5, mfc="white", mec="black", label="well")
            low, high = float(here["potential_true"].min()), float(here["potential_true"].max())
            panel.set(title=f"{titles[name]}, noise {100 * noise:g} %", ylim=(low - 0.12 * (high - low), high))
            panel.set_xlabel("x" if noise == rows[-1] else "")
        row[0].set_ylabel("potential")
    plot.legend(figure, [axes[0, 0]], columns=5)
    plot.letters(axes)
    return figure


def bound(tree: xr.DataTree) -> Figure:
    """Return the error and the smallest weight of the dominant mode at a well, over the bound on the sharpness."""
    titles = _titles(tree)
    data = tree["analysis/bound"].to_dataset()
    figure, axes = plot.figure(1, 2, size=(7.2, 2.8))
    styles: dict[str, Any] = {
        "asymmetric_quartic": {"marker": "o", "color": "black"},
        "cosine_quadratic": {"marker": "s", "color": plot.ACCENT, "linestyle": "dashed"},
        "min_mixture": {"marker": "^", "color": "0.5", "linestyle": "dashdot"},
    }
    for panel, name in zip(axes[0], ("mse", "mode_weight"), strict=True):
        for case, style in styles.items():
            rows = data[name].sel(case=case).transpose("bound", "repetition").values
            panel.plot(data["bound"], np.median(rows, -1), markersize=4, label=titles[case], **style)
            panel.fill_between(
                data["bound"], np.min(rows, -1), np.max(rows, -1), color=style["color"], alpha=0.12, linewidth=0
            )
        panel.set_xlabel("lower bound on ρ (scaled units)")
    axes[0, 0].set(yscale="log", ylabel="mean squared error / variance", title="accuracy")
    axes[0, 1].set(ylim=(0, 1.05), ylabel="smallest weight at a well", title="weight of the dominant mode")
    axes[0, 0].legend(frameon=False)
    plot.letters(axes)
    return figure


def _titles(tree: xr.DataTree) -> dict[str, str]:
    """Return the titles of the functions by name."""
    data = tree["analysis/bound"].to_dataset()
    return {str(name): str(title) for name, title in zip(data["case"].values, data["case_title"].values, strict=True)}


def _levels(tree: xr.DataTree) -> list[float]:
    """Return the noise levels."""
    return sorted(set(np.asarray(tree["analysis/scanned"].to_dataset()["noise"]).tolist()))
