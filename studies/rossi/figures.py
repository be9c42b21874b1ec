"""Figures of the Rossi study, drawn from its result file alone."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from workbench import plot

__all__ = ["figures"]

STYLES: dict[str, dict[str, Any]] = {
    "a": {"color": "tab:orange", "linestyle": "dashed"},
    "a_axis": {"color": "tab:red", "linestyle": (0, (1, 1))},
    "b": {"color": "tab:green", "linestyle": "dashdot"},
    "c": {"color": "black", "linestyle": (0, (4, 1.5))},
    "c_isotropic": {"color": "0.4", "linestyle": "dotted"},
}
NAMES = {
    "a": "a: ISV-NODE, isotropic",
    "a_axis": "a: ISV-NODE, axis",
    "b": "b: rate-independent NODE",
    "c": "c: generalised play",
    "c_isotropic": "c: play, isotropic",
}
MARKS = {"a": "s", "a_axis": "D", "b": "^", "c": "o", "c_isotropic": "v"}
CASES = {"two_phase": "two-phase", "hardening": "hardening"}
COMPONENTS = {"11": ("black", "o"), "22": ("tab:blue", "s"), "33": ("tab:orange", "^")}
TRUTH = {"color": "0.78", "linewidth": 3.0}
SHOWN_PATHS = 3


def figures(tree: xr.DataTree) -> dict[str, Figure]:
    """Return the figures by name."""
    return {
        "data": data(tree),
        "parity": parity(tree),
        "paths": paths(tree),
        "loops": loops(tree),
        "energies": energies(tree),
        "scores": scores(tree),
    }


def data(tree: xr.DataTree) -> Figure:
    """Return Fig 9: strain, stress and phase fraction of three paths of both materials, and stress over strain."""
    figure, axes = plot.figure(2, 4, size=(7.2, 3.4))
    for row, (case, title) in zip(axes, CASES.items(), strict=True):
        held = tree[f"data/{case}"].to_dataset().isel(trajectory=slice(SHOWN_PATHS))
        columns = {"E₁₁": held["strain"].sel(component="11"), "S₁₁": held["stress"].sel(component="11")}
        columns["c"] = held["phase_fraction"]
        for panel, (name, values) in zip(row, columns.items(), strict=False):
            for k, style in enumerate(("solid", "dashed", "dotted")[: held.sizes["trajectory"]]):
                panel.plot(held["time"], values.isel(trajectory=k), color=f"C{k}", linestyle=style)
            panel.set(xlabel="t", ylabel=name)
        for k, style in enumerate(("solid", "dashed", "dotted")[: held.sizes["trajectory"]]):
            E, S = (columns[name].isel(trajectory=k) for name in ("E₁₁", "S₁₁"))
            row[3].plot(E, S, color=f"C{k}", linestyle=style)
        row[3].set(xlabel="E₁₁", ylabel="S₁₁")
        row[0].set_title(title)
    plot.letters(axes)
    return figure


def parity(tree: xr.DataTree) -> Figure:
    """Return Fig 10: stress on held-out paths, learned against true, for the frozen phase and both materials."""
    chosen = [name for name in tree["fits"].children if _case(name) != "general" and not name[-1].isdigit()]
    columns = 3
    rows = -(-len(chosen) // columns)
    figure, axes = plot.figure(rows, columns, size=(7.2, 2.3 * rows))
    for panel, name in zip(axes.flat, chosen, strict=False):
        true, learned = _held_out(tree, name)
        for component, (color, marker) in COMPONENTS.items():
            x, y = (v.sel(component=component).values.ravel() for v in (true, learned))
            panel.plot(x, y, marker, ms=1.5, mec="none", mfc=color, alpha=0.5, label=f"S{component}", rasterized=True)
        ends = [float(true.min()), float(true.max())]
        panel.plot(ends, ends, color="black", linewidth=0.6)
        unexplained = 1 - float(tree["analysis/scores"].to_dataset()["r2"].sel(fit=name))
        panel.text(0.04, 0.96, f"1 − R² ≤ {unexplained:.1e}", transform=panel.transAxes, va="top", fontsize=7)
        case = _case(name)
        panel.set(title=f"{CASES.get(case, 'frozen phase')}\n{NAMES[_kind(name)]}", xlabel="true", ylabel="learned")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(4))
    for panel in axes.flat[len(chosen) :]:
        panel.set_visible(False)
    plot.legend(figure, [axes[0, 0]], columns=3, markerscale=4)
    plot.letters(axes)
    return figure


def paths(tree: xr.DataTree) -> Figure:
    """Return Fig 11: S11 on three held-out paths over time, true and by every kind of model, with errors."""
    figure, axes = plot.figure(4, SHOWN_PATHS, size=(7.2, 5.6), sharex=True, height_ratios=(2, 1, 2, 1))
    for (above, below), case in zip((axes[:2], axes[2:]), CASES, strict=True):
        for name in _fits(tree, case):
            true, learned = (v.sel(component="11") for v in _held_out(tree, name))
            kind = _kind(name)
            for k in range(min(SHOWN_PATHS, true.sizes["trajectory"])):
                here, response = true.isel(trajectory=k), learned.isel(trajectory=k)
                if above[k].get_lines() == []:
                    above[k].plot(here["time"], here, **TRUTH, label="truth")
                above[k].plot(here["time"], response, **STYLES[kind], label=NAMES[kind])
                below[k].semilogy(here["time"], np.abs(response - here).clip(1e-6), **STYLES[kind], linewidth=0.7)
        above[0].set(title=CASES[case], ylabel="S₁₁")
        below[0].set_ylabel("|error|, ≥ 10⁻⁶")
    for panel in axes[-1]:
        panel.set_xlabel("t")
    plot.legend(figure, [axes[0, 0]], columns=5)
    plot.letters(axes[[0, 2]])
    return figure


def loops(tree: xr.DataTree) -> Figure:
    """Return hysteresis loops for unseen reversals, and the dissipated energy along them."""
    figure, axes = plot.figure(2, SHOWN_PATHS + 1, size=(7.6, 4.0))
    for row, case in zip(axes, CASES, strict=True):
        run = tree[f"simulation/{case}"].to_dataset().sel(programme="reversals")
        S, E = run["stress"].sel(component="11"), run["strain"].sel(component="11")
        for k in range(min(SHOWN_PATHS, run.sizes["trajectory"])):
            row[k].plot(E[k], run["stress_true"].sel(component="11")[k], **TRUTH, label="truth")
            row[k].set(xlabel="E₁₁", ylabel="S₁₁" if k == 0 else None)
        row[-1].plot(run["time"], run["dissipation_true"][0].cumsum("time"), **TRUTH)
        for name in _fits(tree, case):
            kind = _kind(name)
            for k in range(min(SHOWN_PATHS, run.sizes["trajectory"])):
                row[k].plot(E[k], S.sel(fit=name)[k], **STYLES[kind], label=NAMES[kind])
            row[-1].plot(run["time"], run["dissipation"].sel(fit=name)[0].cumsum("time"), **STYLES[kind])
        row[0].set_title(CASES[case])
        row[-1].set(
            xlabel="t", ylabel="dissipated energy", title=f"path of panel {'(a)' if case == 'two_phase' else '(e)'}"
        )
    plot.legend(figure, [axes[0, 0]], columns=5)
    plot.letters(axes)
    return figure


def energies(tree: xr.DataTree) -> Figure:
    """Return the energies of the phases along uniaxial strain, by generalised play and true, and their difference."""
    grid = tree["landscape"].to_dataset()
    figure, axes = plot.figure(1, 2, size=(5.6, 2.4))
    for k, phase in enumerate(grid["phase"].values):
        here, color = grid.sel(phase=phase), f"C{k}"
        axes[0, 0].plot(here["strain"], here["potential_true"], color=color, alpha=0.3, linewidth=3)
        axes[0, 0].plot(here["strain"], here["potential"], color=color, linestyle="dashed", label=f"c = {phase:g}")
        axes[0, 1].plot(here["strain"], here["potential"] - here["potential_true"], color=color)
    axes[0, 0].set(xlabel="E₁₁", ylabel="Ψ(E, c)", title="true (wide) and learned (dashed)")
    axes[0, 1].set(xlabel="E₁₁", ylabel="Ψ learned − true")
    axes[0, 1].axhline(0, color="black", linewidth=0.5)
    axes[0, 0].legend(frameon=False)
    plot.letters(axes)
    return figure


def scores(tree: xr.DataTree) -> Figure:
    """Return errors on held-out paths and unseen programmes, changes with finer steps and rate, and dissipation."""
    found = tree["analysis/scores"].to_dataset()
    columns = {
        "error": "held-out paths",
        "error_reversals": "reversals",
        "error_sawtooth": "tension–compression",
        "error_random": "random directions",
        "refinement": "finer steps",
        "rate": "lower rate",
    }
    figure, axes = plot.figure(1, len(CASES) + 2, size=(7.6, 3.0), width_ratios=(2, 2, 2, 1.4))
    for panel, case in zip(axes[0], (*CASES, "general"), strict=False):
        for name in _fits(tree, case):
            values = np.array([float(found[column].sel(fit=name)) for column in columns])
            kind = _kind(name)
            style = {"color": STYLES[kind]["color"], "marker": MARKS[kind], "mfc": "none", "ms": 5}
            panel.plot(np.maximum(values, 1e-5), range(len(columns)), linestyle="none", **style, label=NAMES[kind])
        panel.set(
            xscale="log", xlim=(5e-6, 20), xlabel="error or change, ≥ 10⁻⁵", title=CASES.get(case, "all components")
        )
        panel.set_yticks(range(len(columns)), list(columns.values()) if panel is axes[0, 0] else [])
        panel.set_ylim(len(columns) - 0.5, -0.5)
        panel.grid(axis="y", linewidth=0.3)
    for name in _fits(tree, "two_phase") + _fits(tree, "hardening"):
        kind, hard = _kind(name), _case(name) == "hardening"
        style = {"color": STYLES[kind]["color"], "marker": MARKS[kind], "mfc": "none", "ms": 5, "linestyle": "none"}
        both = [float(found[column].sel(fit=name)) for column in ("dissipation", "dissipation_reversals")]
        axes[0, -1].plot(both, np.array([0, 1]) + 2 * hard, **style)
    axes[0, -1].axvline(1, color="black", linewidth=0.6)
    ticks = ["two-phase,\nheld-out", "two-phase,\nreversals", "hardening,\nheld-out", "hardening,\nreversals"]
    axes[0, -1].set_yticks(range(4), ticks)
    axes[0, -1].set(xlabel="learned / true", ylim=(3.5, -0.5), title="dissipation")
    plot.legend(figure, axes[0, :-1], columns=5)
    plot.letters(axes)
    return figure


def _case(name: str) -> str:
    """Return the case of a fit."""
    return next(case for case in ("frozen", *CASES, "general") if name.startswith(case))


def _kind(name: str) -> str:
    """Return the kind of model of a fit."""
    return name.removeprefix(f"{_case(name)}_").rstrip("0123456789").rstrip("_")


def _fits(tree: xr.DataTree, case: str) -> list[str]:
    """Return the fits of a case, one of each kind."""
    return [name for name in tree["fits"].children if _case(name) == case and not name[-1].isdigit()]


def _held_out(tree: xr.DataTree, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the true and the learned stress on the held-out paths of a fit."""
    known, learned = tree[f"data/{_case(name)}"].to_dataset(), tree[f"fits/{name}/predictions"].to_dataset()
    test = (known["split"] == "test").values
    return known["stress"].isel(trajectory=test), learned["stress"].isel(trajectory=test)
