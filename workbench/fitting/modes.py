r"""Selection of the number of modes by held-out loss, and three ways of counting modes and wells.

The published criterion, a penalty on the gates α, cannot determine the number of modes: the output bias of a mode
absorbs log ς(α)/ρ, so α can change without any change of Ψ. Instead, models with K = 1, 2, … modes are fitted, with ρ
bounded below so that a blend of few modes does not make more wells than modes. The smallest K is chosen whose held-out
loss is within one standard error of the lowest, or below a floor: 10⁻⁴ of the loss of a flat landscape, or three times
that if the landscape has as many wells as the best one, so that the further modes add no well.

A K whose landscape has more wells than modes is passed over, because its modes have blended in spite of the bound; with
steep walls around shallow wells, such a fit may have a low loss. The scan ends when the loss is below the floor, or
after two further modes without improvement.

References
----------
L. Breiman, J. H. Friedman, R. A. Olshen, C. J. Stone, Classification and Regression Trees, Wadsworth (1984) (the rule
of one standard error).
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from workbench import dataset
from workbench.dataset.variables import variable
from workbench.errors import FitError
from workbench.fitting.predictions import predict
from workbench.fitting.result import Fit
from workbench.fitting.task import Task
from workbench.landscape.wells import wells
from workbench.losses.contract import Match
from workbench.parallel import Report
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.lse_icnn import ACTIVE, LSEICNN
from workbench.potentials.potential import units_of

__all__ = ["choose", "mode_counts", "smallest"]

SCAN_RHO_LO = 2.0  # lower bound of ρ in scaled units, if the model has none; the study `discovery` varies it
LOSS_FLOOR = 1e-4  # of the loss of a flat landscape
SAME_WELLS = 3.0  # times that floor, for fits with as many wells as the best one
FEWEST_HELD_OUT = 10  # samples, below which the choice is not reliable
SCAN_PATIENCE = 2  # larger numbers of modes without improvement before the scan ends


class _Scanned(NamedTuple):
    """The fit with one number of modes: held-out loss and its standard error, training loss, wells in the data box."""

    loss: float
    error: float
    training: float
    wells: int


def choose(
    model: LSEICNN,
    data: xr.Dataset,
    match: Match,
    init: Initialisation,
    optimiser: Any,
    seed: np.random.SeedSequence,
    **options: Any,
) -> tuple[LSEICNN, xr.Dataset]:
    """Return the model with the selected number of modes, at most its own, and the results of the scan.

    `options` are those of the optimiser's `learn`. The dataset holds validation_loss, standard_error, loss, wells and
    chosen over (modes), and the scalar floor. Raises `FitError` if no fit succeeds; warns if the choice is unreliable.
    """
    scanned: list[_Scanned] = []
    progress = options.get("progress")
    for modes in range(1, model.modes + 1):
        task = Task.of(candidate(model, modes), data, match, init)
        if callable(progress):
            options["progress"] = _part_of(progress, modes, model.modes)
        fresh = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
        problem: Any = match.problem(task.template, task.parts)
        flat_loss = problem.flat_loss()
        floor = LOSS_FLOOR * flat_loss
        try:
            learned = optimiser.learn(task, [fresh], checkpoint=None, **options)[0]
        except FitError:  # a number of modes that cannot be fitted is not chosen
            scanned.append(_Scanned(np.inf, np.inf, np.inf, 0))
        else:
            scanned.append(_assessed(learned.model, task, flat_loss))
        best = int(np.argmin([one.loss for one in scanned]))
        if (scanned[-1].loss <= floor and scanned[-1].wells <= modes) or modes - 1 - best >= SCAN_PATIENCE:
            break
    loss, error, training, found = (np.array(column) for column in zip(*scanned, strict=True))
    if not np.isfinite(loss).any():
        raise FitError(f"no fit succeeded with any number of modes up to {model.modes}. Check the data for outliers")
    counts = np.arange(1, len(loss) + 1)
    admissible = np.where(found <= counts, loss, np.inf)
    judged = admissible if np.isfinite(admissible).any() else loss
    floors = np.where(found == found[np.argmin(judged)], SAME_WELLS * floor, floor)
    chosen = 1 + smallest(judged, error, floors)
    _warn(model.modes, chosen, loss, floor, len(problem.validation.target))
    columns = {
        "validation_loss": (loss, "held-out loss"),
        "standard_error": (error, "standard error of the held-out loss"),
        "loss": (training, "training loss"),
        "wells": (found, "number of wells in the box of the data"),
        "chosen": (counts == chosen, "whether this number of modes was chosen"),
    }
    variables = {name: variable("modes", values, text, "1") for name, (values, text) in columns.items()}
    variables["floor"] = variable((), floor, "held-out loss below which a fit is good enough", "1")
    return candidate(model, chosen), xr.Dataset(
        variables, coords={"modes": variable("modes", counts, "number of modes", "1")}
    )


def _part_of(report: Report, modes: int, most: int) -> Report:
    """Return a report on the fit with one number of modes, as a part of the scan."""
    whole = 100 * (most + 1)
    return lambda done, total, text: report(int(100 * (modes - 1 + done / total)), whole, f"{modes} modes, {text}")


def _assessed(model: LSEICNN, task: Task, flat_loss: float) -> _Scanned:
    """Return the losses and wells of a fit; `flat_loss` is the held-out loss of a flat landscape."""
    problem: Any = task.match.problem(model, task.parts)
    theta = problem.vector()
    squares = problem.contributions(theta).cpu().numpy()
    loss, several = squares.sum(), len(squares) > 1
    return _Scanned(
        loss=loss,
        error=squares.std(ddof=1) * len(squares) ** 0.5 if several else np.inf,
        training=problem.residuals(theta).square().sum(-1).cpu().numpy().sum(),
        wells=_wells(model, task.parts["train"]["x"].values, (loss / flat_loss) ** 0.5 if flat_loss else 1.0),
    )


def _warn(most: int, chosen: int, loss: np.ndarray, floor: float, held_out: int) -> None:
    """Warn if the choice is unreliable."""
    if chosen == most > 1 and floor < loss[-1] < min(loss[:-1]):
        text = f"the largest number of modes tried, {chosen}, still improves the held-out loss: increase modes"
        warnings.warn(text, stacklevel=4)
    if held_out < FEWEST_HELD_OUT:
        text = (
            f"the number of modes was chosen with fewer than {FEWEST_HELD_OUT} held-out samples ({held_out}): do not "
            "rely on it"
        )
        warnings.warn(text, stacklevel=4)


def candidate(model: LSEICNN, modes: int) -> LSEICNN:
    """Return a flat model of the same architecture with that many modes, and ρ bounded below."""
    return model.like(members=model.members, modes=modes, rho_lo=model.rho_lo or SCAN_RHO_LO)


def smallest(loss: np.ndarray, error: np.ndarray, floor: Any) -> int:
    """Return the first index whose loss is within one standard error of the lowest, or below its floor.

    Examples
    --------
    >>> smallest(np.array([1.0, 0.11, 0.10, 0.12]), np.array([0.1, 0.02, 0.02, 0.02]), floor=0.0)
    1
    """
    best = int(np.argmin(loss))
    return int(np.argmax(loss <= np.maximum(loss[best] + error[best], floor)))


def _wells(model: LSEICNN, x: np.ndarray, relative: float) -> int:
    """Return the number of wells with a prominence above the error, `relative` times the spread of Ψ over samples."""
    spread = float(torch.as_tensor(model.value(x)).std()) if len(x) > 1 else 0.0
    try:
        return int((wells(model, model.box, starts=64)["prominence"] >= relative * spread).sum())
    except ValueError:  # a flat landscape, or data without extent
        return 0


def mode_counts(
    fit: "Fit",
    within: Sequence[tuple[float, float]] | None = None,
    *,
    gate: float = ACTIVE,
    found: xr.Dataset | None = None,
) -> xr.Dataset:
    """Count, for every member of a fit, its open gates, its dominant modes, and its wells.

    Only the last two say how many wells a landscape has. The number of open gates, the published count, does not: the
    output bias of a mode absorbs log ς(α)/ρ exactly, and the published penalty moves α to 0, where ς = 4.5e-5 exceeds
    the published threshold of 1e-6.

    Parameters
    ----------
    fit : Fit
        A fit of potentials, gradients or velocities.
    within : sequence of (low, high), optional
        Box in which wells are searched, one pair per state variable. By default that of the data.
    gate : float, default 1e-6
        Threshold of ς(α) above which a gate counts as open.
    found : Dataset, optional
        Wells of the ensemble, as `workbench.wells` returns them, if they are known already.

    Returns
    -------
    Dataset
        Over the members:

        - ``gates(member)``: number of gates ς(α) above `gate`;
        - ``dominant(member)``: number of modes with a softmax weight above 1/2 at some sample of the data;
        - ``wells(member)``: number of minima of Ψ in the box with a prominence of at least ``resolution``;
        - ``resolution(member)``: error of Ψ, the RMSE on held-out data. If the fit did not match potentials, it is the
          relative RMSE of the gradient or velocity times the standard deviation of Ψ over the data.

    Raises
    ------
    TypeError
        If `fit` is not a `Fit` of an `LSEICNN`: a model alone does not hold its data.
    ValueError
        If the fit matched a density or trajectories, which give no error of Ψ.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> model, optimiser = wb.LSEICNN(dim=1, modes=3, hidden=(4,)), wb.LevenbergMarquardt(tolerance=0.05)
    >>> fit = wb.fit(model, data, match="potential", seed=0, restarts=1, optimiser=optimiser)
    >>> counts = mode_counts(fit)
    >>> int(counts.gates[0]), int(counts.wells[0])
    (3, 2)

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242 (the count of gates).
    """
    if not isinstance(fit, Fit) or not isinstance(fit.ensemble, LSEICNN):
        what = f"a Fit of {type(fit.ensemble).__name__}" if isinstance(fit, Fit) else type(fit).__name__
        raise TypeError(f"mode_counts needs a Fit of an LSEICNN, which holds the data, got {what}")
    if not fit.match.pointwise:
        raise ValueError(f"mode_counts needs the error of Ψ, which a fit with match={fit.match.name!r} does not give")
    ensemble = fit.ensemble
    x = dataset.flat(fit.data)["x"].values
    resolution = _resolution(fit)
    found = wells(ensemble, ensemble.box if within is None else within) if found is None else found
    deep = [(found["prominence"].values >= error) & (found["member"].values == k) for k, error in enumerate(resolution)]
    columns: dict[str, Any] = {
        "gates": ((ensemble.gate > gate).sum(-1).numpy(force=True), f"number of gates above {gate:g}"),
        "dominant": ((ensemble.mode_weights(x) > 0.5).any(-2).sum(-1), "number of modes that dominate at some sample"),
        "wells": (np.sum(deep, -1), "number of minima at least as prominent as the error"),
        "resolution": (resolution, "error of the potential on held-out data"),
    }
    units = {"resolution": units_of(ensemble).of("potential")}
    variables = {name: variable("member", v, text, units.get(name, "1")) for name, (v, text) in columns.items()}
    return xr.Dataset(variables, coords={"member": np.arange(len(resolution))})


def _resolution(fit: "Fit") -> np.ndarray:
    """Return the error of Ψ of every member on the held-out samples, shape (member,)."""
    held_out = dataset.flat(fit.data)
    held_out = held_out.isel(sample=(held_out["split"] == "validation").values)
    residuals = predict(fit.ensemble, held_out, match=fit.match)
    if "potential" in fit.match.weights:
        return np.sqrt((residuals["potential_residual"].values ** 2).mean(-1))
    name = next(iter(fit.match.weights))
    residual = residuals[f"{name}_residual"].values
    observed = residuals[name].values - residual
    own = tuple(range(1, residual.ndim))  # all axes but that of the members
    relative = np.sqrt((residual**2).mean(own) / (observed**2).mean(own))
    return relative * np.asarray(fit.ensemble.value(dataset.flat(fit.data)["x"].values)).std(-1)
