"""Figures of the crossings study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from workbench import plot

__all__ = ["figures"]

LEVELS = np.linspace(-150, 20, 18)
TRUE: dict[str, Any] = {"color": "black", "linestyle": "dashed", "linewidth": 1.2}


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {"surface": surface(tree), "barriers": barriers(tree), "passages": passages(tree), "fit": fit(tree)}


def surface(tree: xr.DataTree) -> Figure:
    """Return the true surface with the samples and the learned surface, with stationary points and paths."""
    figure, axes = plot.figure(1, 2, size=(7.2, 3.4), sharey=True)
    grid, points = tree["landscape"].to_dataset(), tree["analysis/stationary_points"].to_dataset()
    samples = tree["data/surface"].to_dataset()
    fitted = samples["x"].values[(samples["split"] != "test").values]
    found, true = (tree[f"analysis/paths/{name}"].to_dataset() for name in ("fit", "truth"))
    left, right = axes[0]
    exact = points.isel(point=(points["source"] == "truth").values)
    true_surface, learned = (grid[name] - grid["potential_offset"] for name in ("potential_true", "potential"))
    plot.landscape(left, true_surface, levels=LEVELS)
    left.plot(*fitted.T, ".", color="white", markersize=1.6, label="sample")
    filled = plot.landscape(right, learned.where(grid["near_data"]), levels=LEVELS)
    plot.path(left, true, **TRUE, label="minimum-energy path, truth")
    if "x" in found:
        plot.path(right, found, color="white", label="minimum-energy paths, members")
    plot.path(right, true, **TRUE, label=None)
    best = tree["fits/fit"].attrs.get("best_member", 0)
    learned_points = points.isel(point=((points["source"] == "fit") & (points["member"] == int(best))).values)
    plot.stationary_points(left, exact, hollow=True, size=20)
    plot.stationary_points(right, exact, hollow=True)
    plot.stationary_points(right, learned_points, size=20)
    left.set_title("true surface with samples")
    right.set(title="learned surface near samples", ylabel="")
    figure.colorbar(filled, ax=axes, label=r"$\Psi$", ticks=LEVELS[1::4])
    plot.letters(axes)
    plot.legend(figure, axes[0], columns=4, shade="0.75")
    return figure


def barriers(tree: xr.DataTree) -> Figure:
    """Return Ψ along the paths, and the errors of barriers and rates with their spread over members."""
    figure, axes = plot.figure(1, 3, size=(7.2, 2.6), width_ratios=(1.35, 1, 1))
    profile, middle, right = axes[0]
    found, true = (tree[f"analysis/paths/{name}"].to_dataset() for name in ("fit", "truth"))
    if "x" in found:
        plot.profile(profile, found, color="0.6", linewidth=2.4, label="members")
    plot.profile(profile, true, **TRUE, label="truth")
    at = true["stop"].values != ""
    level = (true["potential"] - true["potential"][0]).values
    for x, y, name in zip(true["distance"].values[at], level[at], ("1", "s1", "3", "s2", "2"), strict=False):
        profile.annotate(name, (x, y), xytext=(0, 4 if "s" in name else -9), textcoords="offset points", ha="center")
    profile.set(ylabel=r"$\Psi$ above the deepest well", title="energy along the path", ylim=(-14, 122))
    profile.legend(loc="upper right", frameon=False)
    table = tree["analysis/crossings"].to_dataset()
    table = table.isel(crossing=np.argsort(table["barrier_true"].values))
    names = _names(tree["analysis/stationary_points"].to_dataset(), table)
    position = np.arange(len(names))
    error = 100 * (table["barrier"] / table["barrier_true"] - 1)
    _members(middle, position, error, "barriers", "relative error [%]")
    ratio = table["rate"] / table["rate_true"]
    _members(right, position, ratio, f"rates at T = {table.attrs['temperature']:g}", "learned / true rate")
    middle.axhline(0, **TRUE)
    right.axhline(1, **TRUE)
    for panel in (middle, right):
        panel.set_xticks(position, names, rotation=30)
        panel.set_xlabel("well and saddle")
    middle.legend(frameon=False)
    plot.letters(axes)
    return figure


def _names(points: xr.Dataset, table: xr.Dataset) -> list[str]:
    """Return "1 over s1", …: wells from the deepest upwards, saddles in their order along the path from well 1."""
    saddles = np.unique(table["saddle"])[::-1]
    number = {int(s): k + 1 for k, s in enumerate(saddles)}
    pairs = zip(table["well"].values, table["saddle"].values, strict=True)
    return [f"{int(w) + 1} over s{number[int(s)]}" for w, s in pairs]


def _members(axes: Any, position: np.ndarray, values: xr.DataArray, title: str, text: str) -> None:
    """Draw the values of every member, and their mean ± 2 standard deviations."""
    for member in range(values.sizes["member"]):
        label = "members" if member == 0 else None
        axes.plot(position - 0.12, values.isel(member=member), ".", color="0.6", label=label)
    if values.sizes["member"] > 1:
        mean, spread = values.mean("member"), 2 * values.std("member", ddof=1)
        style = {"fmt": "o", "color": "black", "markersize": 3.5, "capsize": 2}
        axes.errorbar(position + 0.12, mean, spread, **style, label="mean ± 2 s.d.")
    axes.set(title=title, ylabel=text, xlim=(-0.6, len(position) - 0.4))


def passages(tree: xr.DataTree) -> Figure:
    """Return mean first-passage times over the barrier height, their ratio to the exact ones, and the weak error."""
    figure, axes = plot.figure(1, 3, size=(7.2, 2.6))
    left, middle, right = axes[0]
    runs, laws = tree["analysis/passages"].to_dataset(), tree["analysis/kramers"].to_dataset()
    left.semilogy(laws["height"], laws["exact"], color="black", label="exact quadrature")
    left.semilogy(laws["height"], laws["kramers"], **TRUE, label="Kramers")
    low, high = (runs["interval"].sel(bound=b) for b in ("low", "high"))
    error = np.abs(np.stack([runs["mean"] - low, high - runs["mean"]]))
    mark = {"fmt": "o", "color": "black", "markerfacecolor": "white", "markersize": 4, "capsize": 2}
    left.errorbar(runs["height"], runs["mean"], error, **mark, label="simulated (95 % CI)")
    left.set(xlabel="barrier / T", ylabel="mean first-passage time", title="double well (Eq 8)")
    left.legend(frameon=False)
    middle.plot(laws["height"], laws["kramers"] / laws["exact"], **TRUE, label="Kramers")
    middle.errorbar(
        runs["height"], runs["mean"] / runs["exact"], error / runs["exact"].values, **mark, label="simulated"
    )
    middle.axhline(1, color="black", linewidth=0.6)
    middle.axhspan(0.9, 1.1, color="0.9")
    middle.axvline(6, color="black", linestyle="dotted", linewidth=0.8)
    middle.set(xlabel="barrier / T", ylabel="mean time / exact mean time", title="ratio to the exact time")
    middle.legend(frameon=False, loc="lower right")
    steps = tree["analysis/refinement"].to_dataset()
    h, gap = steps["step"].values, steps["error"].values
    right.loglog(h, gap, "o", color="black", markerfacecolor="white", label="stochastic Heun")
    right.loglog(h, gap[-1] * (h / h[-1]) ** 2, **TRUE, label="slope 2")
    right.set_xticks(h, [f"1/{1 / one:g}" for one in h])
    right.set_xticks([], minor=True)
    right.set(xlabel="time step", ylabel="error of an expectation", title="weak error of the integrator")
    right.legend(frameon=False)
    plot.letters(axes)
    return figure


def fit(tree: xr.DataTree) -> Figure:
    """Return the error of the fits over their steps, and learned against true gradients at test samples."""
    figure, axes = plot.figure(1, 2, size=(5.4, 2.6))
    left, right = axes[0]
    plot.history(left, tree["fits/fit/history"].to_dataset())
    left.legend(frameon=False)
    left.set_title("fits")
    samples = tree["data/surface"].to_dataset()
    learned = tree["fits/fit/predictions"].to_dataset()["gradient"]
    test = (samples["split"] == "test").values
    true = samples["gradient"].values[test]
    if "member" in learned.dims:
        learned = learned.isel(member=int(tree["fits/fit"].attrs.get("best_member", 0)))
    for k, marker in enumerate("os"):
        name = rf"$\partial\Psi/\partial {samples['state'].values[k]}$"
        style = {"markersize": 3, "markerfacecolor": "none", "markeredgecolor": "0.2"}
        right.plot(true[:, k], learned.values[test][:, k], marker, **style, label=name)
    ends = [true.min(), true.max()]
    right.plot(ends, ends, color="black", linewidth=0.6)
    right.set(xlabel="true gradient", ylabel="learned gradient", title="test samples")
    right.legend(frameon=False)
    plot.letters(axes)
    return figure
