"""Animation of the splitting of Ψ_b, learned and true, with states on it; drawn from the result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.animation import FuncAnimation

from workbench import plot

__all__ = ["animations"]

LEVELS = np.linspace(0, 1.2, 13)


def animations(tree: xr.DataTree) -> dict[str, FuncAnimation]:
    """Return the animations by name."""
    return {"landscape": landscape(tree)}


def landscape(tree: xr.DataTree) -> FuncAnimation:
    """Return learned and true Ψ_b over time with states on them, and the learned states among the true branches."""
    run, grid = tree["simulation"].to_dataset().isel(time=slice(None, None, 2)), tree["landscape"].to_dataset()
    run = run.isel(trajectory=slice(0, 40))
    figure, axes = plot.figure(1, 3, size=(7.2, 2.7))
    panels = [("learned", "potential", "x"), ("true", "potential_true", "x_true")]
    branches = tree["analysis/branches/truth"].to_dataset()
    state = str(branches["state"].values[0])

    def draw(k: int) -> list[Any]:
        now, b = float(run["time"][k]), float(run["b"][k])
        for panel, (name, potential, x) in zip(axes[0], panels, strict=False):
            panel.clear()
            psi = (1 - b) * grid[potential].sel(case="psi_1") + b * grid[potential].sel(case="psi_2")
            plot.landscape(panel, psi - psi.min(), levels=LEVELS)
            at = run[x].isel(time=k).values
            panel.scatter(*at.T, s=12, color="white", edgecolor="black", linewidth=0.5, zorder=6)
            panel.set(title=rf"{name} $\Psi_b$, t = {now:.1f}, b = {b:.2f}", xlabel="x1", ylabel="x2")
            panel.set(xticks=(0, 1, 2), yticks=(0, 1, 2))
        last = axes[0, 2]
        last.clear()
        plot.branches(last, branches, state=state)
        at = run["x"].isel(time=k).sel(state=state).values
        last.plot(np.full(len(at), b), at, "o", color="0.6", markeredgecolor="black", markersize=3, label="state")
        last.axvline(b, color="black", linewidth=0.6, linestyle="dotted")
        last.set(title="true branches, learned states", xlabel="b", ylabel=state, xlim=(0, 1), ylim=(0, 2))
        last.legend(loc="lower left", frameon=False)
        if k == 0:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # all frames keep the layout of the first
        return []

    return FuncAnimation(figure, draw, frames=run.sizes["time"], interval=150, init_func=lambda: [])
