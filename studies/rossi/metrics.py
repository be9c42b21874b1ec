"""Metrics of learned materials: comparisons with the true one, with their bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

import workbench as wb
from studies.metrics import Metric
from workbench.dataset.tensors import SHEAR
from workbench.dataset.variables import variable

__all__ = ["of_limits", "of_table", "table"]

COLUMNS = {
    "error": "relative error of stress on held-out paths",
    "r2": "smallest R² of a stress component on held-out paths",
    "worst_path": "RMSE of the worst held-out path over the s.d. of stress",
    "worst_point": "largest error on held-out paths over the s.d. of stress",
    "error_reversals": "relative error of stress, unseen reversals at random strains",
    "error_sawtooth": "relative error of stress, unseen alternating tension and compression",
    "error_random": "relative error of stress, unseen random strain directions",
    "refinement": "relative change of stress with steps of a quarter of the length",
    "rate": "relative change of stress at a quarter of the strain rate",
    "dissipation": "dissipated energy over the true one, held-out paths",
    "dissipation_reversals": "dissipated energy over the true one, unseen reversals",
    "negative": "fraction of steps with negative dissipation",
    "balance": "largest |W − ΔΨ − D| of a path over the true mean dissipation, fine steps",
}
FINE_REFINEMENT, COARSE_REFINEMENT = 16, 4  # numbers of steps in place of one
REFINED_PATHS = 10  # paths on which steps are refined
ISOTROPIC_LIMIT = 0.35  # expected error limit of isotropic models, frozen phase and wide amplitudes, within 0.03


def table(fits: Mapping[str, wb.PathFit], owners: Mapping[str, str], runs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return all scores over `fit`, NaN where not applicable; `owners` gives the case of every fit."""
    rows = {name: _row(fit) | _unseen(name, runs.get(owners[name])) for name, fit in fits.items()}
    variables = {
        column: variable("fit", [row.get(column, np.nan) for row in rows.values()], text, "1")
        for column, text in COLUMNS.items()
    }
    coords = {
        "fit": variable("fit", list(rows), "case and kind of model"),
        "case": variable("fit", [owners[name] for name in rows], "material and programme of the training data"),
    }
    sentence = "Errors and invariances of all fits on held-out paths and unseen programmes."
    return xr.Dataset(variables, coords, {"description": sentence})


def _row(fit: wb.PathFit) -> dict[str, float]:
    """Return the scores of a fit on held-out paths."""
    model = fit.model
    test = fit.data.isel(trajectory=(fit.data["split"] == "test").values).drop_vars("split")
    scores = wb.score(model, test)
    E, time, true = test["strain"].values, test["time"].values, test["stress"].values
    response = model.respond(E, time)
    residual = ((response.stress - true) ** 2 @ SHEAR).mean(-1)
    spread = _spread(true)
    coarse, fine = (refined(E[:REFINED_PATHS], by) for by in (COARSE_REFINEMENT, FINE_REFINEMENT))
    slow = model.respond(E, 4 * time).stress - response.stress
    quarter_steps = model.respond(coarse, refined(time[:, None], COARSE_REFINEMENT)[:, 0])
    change = quarter_steps.stress[:, ::COARSE_REFINEMENT] - response.stress[:REFINED_PATHS]
    row = {
        "error": float(scores["stress_relative_error"]),
        "r2": float(scores["stress_r2"].min()),
        "worst_path": float(np.sqrt(residual.max()) / spread),
        "worst_point": float(scores["stress_worst"]),
        "refinement": float(np.sqrt((change**2 @ SHEAR).mean()) / spread),
        "rate": float(np.sqrt((slow**2 @ SHEAR).mean()) / spread),
    }
    dissipated = float(test["dissipation"].sum())
    if model.internal and dissipated > 0:
        row["dissipation"] = float(response.dissipation.sum()) / dissipated
        row["negative"] = float((response.dissipation < 0).mean())
        small_steps = model.respond(fine, refined(time[:, None], FINE_REFINEMENT)[:, 0])
        mean_stress = (small_steps.stress[:, 1:] + small_steps.stress[:, :-1]) / 2
        work = ((mean_stress * np.diff(fine, axis=1)) @ SHEAR).sum(-1)
        stored = small_steps.potential[:, -1] - small_steps.potential[:, 0]
        lost = small_steps.dissipation.sum(-1)
        row["balance"] = float(np.abs(work - stored - lost).max() * len(E) / dissipated)
    return row


def _unseen(name: str, run: xr.Dataset | None) -> dict[str, float]:
    """Return the scores of a fit on unseen programmes."""
    if run is None:
        return {}
    row = {}
    for programme in run["programme"].values:
        here = run.sel(programme=programme)
        residual = here["stress"].sel(fit=name).values - here["stress_true"].values
        spread = _spread(here["stress_true"].values)
        row[f"error_{programme}"] = float(np.sqrt((residual**2 @ SHEAR).mean()) / spread)
    here = run.sel(programme="reversals")
    row["dissipation_reversals"] = float(here["dissipation"].sel(fit=name).sum() / here["dissipation_true"].sum())
    return row


def refined(path: np.ndarray, by: int) -> np.ndarray:
    """Return paths, shape (…, time, k), with every step divided into `by` equal ones.

    Examples
    --------
    >>> refined(np.array([[0.0], [1.0], [3.0]]), 2)[:, 0]
    array([0. , 0.5, 1. , 2. , 3. ])
    """
    fraction = np.arange(by)[:, None] / by
    steps = path[..., :-1, None, :] * (1 - fraction) + path[..., 1:, None, :] * fraction
    return np.concatenate([steps.reshape(*path.shape[:-2], -1, path.shape[-1]), path[..., -1:, :]], -2)


def of_table(scores: xr.Dataset, median: float) -> Iterator[Metric]:
    """Yield every finite score with its bounds, and comparisons between fits."""
    for name in scores["fit"].values:
        case = str(scores["case"].sel(fit=name).values)
        kind = str(name).removeprefix(f"{case}_")
        for column, text in COLUMNS.items():
            value = float(scores[column].sel(fit=name))
            if np.isfinite(value):
                limits = _limits(case, kind, column)
                yield Metric(f"{column}_{name}", value, f"{text}; {_title(name)}", unit="1", **limits)
    errors = scores["error"][[str(name).startswith("two_phase_c") for name in scores["fit"].values]]
    text = f"relative error of stress on held-out paths, median of {errors.size} fit(s) of the two-phase material by c"
    yield Metric("error_median_two_phase_c", float(errors.median()), text, at_most=median, unit="1")
    isotropic, axial = (float(scores["error"].sel(fit=f"general_{kind}")) for kind in ("c_isotropic", "c"))
    text = "error with isotropic invariants over error with the axis, strain in all components"
    yield Metric("gain_of_the_axis", isotropic / axial, text, at_least=5.0, unit="1")
    hard = scores["error"][(scores["case"] == "hardening").values]
    play = hard["fit"].values == "hardening_c"
    if not play.all():
        text = "smallest error of a NODE over error of generalised play, hardening material"
        yield Metric("gain_on_hardening", float(hard[~play].min() / hard[play].min()), text, at_least=1.0, unit="1")


def of_limits(limits: Mapping[str, float]) -> Iterator[Metric]:
    """Yield the smallest possible error of an isotropic model on uniaxial paths along all three axes."""
    for case, value in limits.items():
        text = f"smallest relative error of an isotropic model, uniaxial strain along all three axes, {case}"
        bounds: dict[str, Any] = {}
        if case == "frozen_wide":
            bounds = {"at_least": ISOTROPIC_LIMIT - 0.03, "at_most": ISOTROPIC_LIMIT + 0.03}
        yield Metric(f"isotropic_limit_{case}", value, text.replace("_", " "), unit="1", **bounds)


def _limits(case: str, kind: str, column: str) -> dict[str, Any]:
    """Return the bounds of a score."""
    play = kind.startswith("c") and kind != "c_isotropic"
    at_most = {
        ("two_phase", "a", "error"): 0.06,
        ("two_phase", "a_axis", "error"): 0.03,
        ("two_phase", "b", "error"): 0.012,
    }.get((case, kind, column))
    if column == "rate" and (kind == "b" or play):
        at_most = 1e-12
    if play and case == "frozen" and column == "r2":
        return {"at_least": 0.9999}
    if kind == "c_isotropic" and case == "frozen" and column == "error":
        return {"at_least": 0.06}
    if play and case != "frozen" and column in ("refinement", "negative", "balance"):
        at_most = {"refinement": 1e-10, "negative": 0.0, "balance": 1e-3}[column]
    if play and case == "two_phase":
        at_most = {"error": 0.006, "worst_point": 0.1, "error_reversals": 0.005}.get(column, at_most)
    if play and case == "two_phase" and column.startswith("dissipation"):
        return {"at_least": 0.98, "at_most": 1.02}
    return {} if at_most is None else {"at_most": at_most}


def _spread(stress: np.ndarray) -> float:
    """Return the root-mean-square deviation of the stress tensor from its mean."""
    rows = stress.reshape(-1, 6)
    return float(np.sqrt(((rows - rows.mean(0)) ** 2 @ SHEAR).mean()))


def _title(name: Any) -> str:
    """Return the name of a fit as text."""
    return str(name).replace("_", " ")
