"""What the gene-circuit study shows of paths, basins and branches, and Ψ_b as it splits; drawn from its file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.animation import FuncAnimation
from matplotlib.figure import Figure

from studies.points import picked
from workbench import plot

__all__ = ["animations", "branches", "paths"]

LEVELS = np.linspace(0, 1.2, 13)
TRUE: dict[str, Any] = {"color": "black", "linestyle": "dashed", "linewidth": 1.2}


def paths(tree: xr.DataTree) -> Figure:
    """Return true and learned basins of Ψ₂ with the minimum-energy paths, and Ψ₂ along these."""
    page, axes = plot.figure(1, 3, size=(7.2, 2.9))
    true, found = (tree[f"analysis/paths/{name}"].to_dataset() for name in ("truth", "fit"))
    for panel, source, title in zip(axes[0], ("truth", "fit"), ("true basins", "learned basins"), strict=False):
        plot.basins(panel, tree[f"analysis/basins/{source}"].to_dataset())
        if source == "fit" and "x" in found:
            plot.path(panel, found, color="0.3", linewidth=2.4, label="path, members")
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
            profile.errorbar(top, float(heights.mean()), bar, **style, label="barrier, mean and 2 std. dev.")
        text = f"{float(heights.mean()):.5f} learned\n{float(true['barrier'][0]):.5f} true"
        profile.annotate(text, (top, 0.03), ha="center")
    plot.profile(profile, true, **TRUE, label="truth")
    profile.set(title="along the path", ylim=(-0.005, 0.22))
    profile.legend(frameon=False, loc="upper center")
    plot.letters(axes)
    plot.legend(page, axes[0, :2], columns=5)
    return page


def branches(tree: xr.DataTree) -> Figure:
    """Return the branches of Ψ_b: true, learned by every member, and symmetrised, and where they split."""
    page, axes = plot.figure(1, 3, size=(7.2, 2.9), sharey=True)
    true = tree["analysis/branches/truth"].to_dataset()
    state = str(true["state"].values[0])
    titles = {"truth": "truth", "fit": "learned", "symmetrised": "symmetrised"}
    for panel, (source, title) in zip(axes[0], titles.items(), strict=True):
        found = tree[f"analysis/branches/{source}"].to_dataset()
        plot.branches(panel, found, state=state)
        if source != "truth":
            mine = picked(true, index=0)
            panel.plot(mine["b"], mine["x"].sel(state=state), ".", color="0.6", markersize=3, label="minimum, truth")
        first = found["bifurcation_b"].values
        where = f", b = {first.min():.4f}" if len(first) == 1 else ""
        panel.set(title=title + where, xlabel="b", ylabel=state, xlim=(0, 1))
    axes[0, 1].set_ylabel("")
    axes[0, 2].set_ylabel("")
    plot.letters(axes)
    plot.legend(page, axes[0], columns=4)
    return page


def animations(tree: xr.DataTree) -> dict[str, FuncAnimation]:
    """Return name → animation."""
    return {"landscape": landscape(tree)}


def landscape(tree: xr.DataTree) -> FuncAnimation:
    """Return learned and true Ψ_b over time with states on them, and the place of this moment on the true branches."""
    run, grid = tree["simulation"].to_dataset().isel(time=slice(None, None, 2)), tree["landscape"].to_dataset()
    run = run.isel(trajectory=slice(0, 40))
    page, axes = plot.figure(1, 3, size=(7.2, 2.7))
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
            page.draw_without_rendering()
            page.set_layout_engine("none")  # later frames keep the layout of the first
        return []

    return FuncAnimation(page, draw, frames=run.sizes["time"], interval=150, init_func=lambda: [])
