"""Fit a landscape and analyse it in one call, as the command `workbench fit` does.

The result holds what a result file holds: the data, the fits, the landscape on a grid and its stationary points.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import xarray as xr

from workbench.dataset.velocities import velocities
from workbench.errors import DatasetError, LandscapeError
from workbench.fitting.fit import Fit, Matched, fit
from workbench.fitting.levenberg_marquardt import LevenbergMarquardt
from workbench.landscape.grid import grid
from workbench.landscape.reuse import reused
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.summary import summary
from workbench.losses.match import parsed
from workbench.materials.material import Material
from workbench.parallel import Report
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Answer", "learn"]

POLISHER = LevenbergMarquardt(steps=40, patience=8)  # a step of multiple shooting costs many steps of a velocity fit


@dataclass(frozen=True, eq=False)
class Answer(Mapping[str, Any]):
    """Contents of a result file as returned by `learn`, accessible as attributes and as a mapping.

    ``answer.fits`` and ``answer["fits"]`` are the same object. The mapping omits parts that are None, so that
    ``workbench.save(path, **answer)`` saves the answer.

    Parameters
    ----------
    data : xarray.Dataset or mapping of str to xarray.Dataset
        The data as the fit used them, with `split`; for ``match="trajectory"`` those of each fit, by name.
    fits : mapping of str to Fit
        The fits in the order in which they were made: "fit", or "velocity" and "trajectory".
    landscape : xarray.Dataset or None, optional
        Potential and gradient of the last fit on a grid, in one and two dimensions.
    analysis : mapping of str to xarray.Dataset, optional
        "stationary_points" of the best member and, for an ensemble, "stationary_points_summary".
    attrs : mapping of str to str, optional
        Attributes of the file: "caveat" if the fit is not to be trusted, "stationary_points" if there are none.

    Examples
    --------
    >>> answer = Answer(data=None, fits={})
    >>> list(answer)
    ['fits', 'analysis', 'attrs']
    """

    data: Any
    fits: Mapping[str, Fit]
    landscape: xr.Dataset | None = None
    analysis: Mapping[str, xr.Dataset] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> Fit:
        """The requested fit, which is the last one."""
        return list(self.fits.values())[-1]

    def __getitem__(self, name: str) -> Any:
        """Return the part of that name, or raise `KeyError` if it is None or unknown."""
        if name not in self._parts():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the parts that are not None."""
        return iter(self._parts())

    def __len__(self) -> int:
        """Return the number of parts that are not None."""
        return len(self._parts())

    def _parts(self) -> list[str]:
        return [part.name for part in fields(self) if getattr(self, part.name) is not None]


def learn(
    data: xr.Dataset,
    *,
    match: Matched,
    model: TrainablePotential | Material | None = None,
    modes: int | Literal["auto"] = 3,
    hidden: Sequence[int] = (8, 8, 8),
    members: int | None = None,
    restarts: int | None = None,
    bootstrap: bool = False,
    differentiate: bool = False,
    seed: Any = None,
    optimiser: LevenbergMarquardt | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Answer:
    """Fit an `LSEICNN`, or another model, to data and analyse it.

    The analysis consists of the landscape on a grid (in one and two dimensions) and the stationary points in the
    bounding box of the data, which are matched across members if there are several.

    Parameters
    ----------
    data : xarray.Dataset
        Points or trajectories, as built by `workbench.dataset`.
    match : str, Match, mapping or sequence
        What to match, as for `fit`. "trajectory" first fits velocities that are estimated from the trajectories, and
        then refines that fit by multiple shooting. It uses the noise level of the states that the data state, or else
        the estimated one.
    model : TrainablePotential or Material, optional
        The model to fit in place of an `LSEICNN` with `modes` and `hidden`. A material is fitted, but has no landscape
        to analyse.
    modes : int or "auto", optional
        Number of convex modes; "auto" selects it among 1 to 10 by the validation loss. Default: 3.
    hidden : sequence of int, optional
        Widths of the hidden layers of every mode. Default: (8, 8, 8).
    members, restarts, bootstrap, seed, workers, progress
        As for `fit`. `restarts` does not apply to the refinement by multiple shooting.
    differentiate : bool, optional
        Estimate velocities from the trajectories first, by `workbench.velocities`.
    optimiser : LevenbergMarquardt, optional
        Optimiser of every fit. Default: ``LevenbergMarquardt()``; 40 steps with a patience of 8 for multiple shooting.

    Returns
    -------
    Answer
        Contents of a result file, for ``workbench.save(path, **answer)``: `data`, `fits`, `landscape` (see `grid`) and
        `analysis` with the stationary points ``x(point, state)``. The fit is named "fit"; for ``match="trajectory"``
        there are two, "velocity" and "trajectory". `answer.fit` is the last one.

    Raises
    ------
    ValueError
        If a setting is invalid.
    DatasetError
        If the data are invalid, lack a matched quantity, or have no times to differentiate by.
    FitError
        If no starting point is finite, or a fit cannot be kept finite.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> quick = wb.LevenbergMarquardt(steps=40)
    >>> answer = wb.learn(data, match="potential", modes=2, seed=0, restarts=2, optimiser=quick)
    >>> answer.analysis["stationary_points"].kind.values.tolist()
    ['minimum', 'minimum', 'maximum']
    """
    matched = parsed(match)
    observed = velocities(data) if differentiate or matched.continues else data
    fitted: Any = model
    if model is None:
        fitted = LSEICNN(_dim(observed), modes=10 if modes == "auto" else modes, hidden=tuple(hidden))
    options: dict[str, Any] = {"seed": seed, "bootstrap": bootstrap, "workers": workers, "progress": progress}
    first = fit(
        fitted,
        observed,
        match="velocity" if matched.continues else matched,
        modes="auto" if modes == "auto" else None,
        members=members,
        restarts=restarts,
        optimiser=optimiser,
        **options,
    )
    if not matched.continues:
        return _analysed(first.data, {"fit": first})
    noisy = data if {"sigma", "sigma_x"} & set(data) else data.assign(sigma_x=_noise_level(observed))
    noisy = noisy.assign_coords(split=first.data["split"])
    options |= {"optimiser": optimiser or POLISHER, "warm_start": True}
    fits: dict[str, Fit] = {"velocity": first, matched.name: fit(first.ensemble, noisy, match=matched, **options)}
    return _analysed({name: fit.data for name, fit in fits.items()}, fits)


def _dim(data: xr.Dataset) -> int:
    """Return the number of states; `DatasetError` for paths, which a material describes."""
    if "state" not in data.dims:
        raise DatasetError("learn fits a landscape to states; for strain paths give a material, model=…")
    return data.sizes["state"]


def _noise_level(observed: xr.Dataset) -> xr.DataArray:
    """Return the noise level that `velocities` estimated for the observed states, in their shape.

    It is at least a thousandth of the spread of each state; data without noise would otherwise be fitted to rounding.
    """
    level = np.array(list(json.loads(observed.attrs["noise_json"])["level"].values()))
    least = 1e-3 * observed["x_observed"].values.reshape(-1, len(level)).std(0)
    return xr.ones_like(observed["x_observed"]) * np.maximum(level, least)


def _analysed(data: Any, fits: Mapping[str, Fit]) -> Answer:
    """Return data and fits with the landscape and the stationary points of the last fit."""
    last = list(fits.values())[-1]
    attrs = {} if last.caveat is None else {"caveat": last.caveat}
    if not isinstance(last.model, TrainablePotential):
        return Answer(data=data, fits=fits, attrs=attrs)
    landscape = None
    if last.model.dim <= 2:
        landscape = grid(last.model, last.model.box, ensemble=last.ensemble, member=last.best)
    analysis: dict[str, xr.Dataset] = {}
    try:
        with reused():
            analysis["stationary_points"] = stationary_points(last.model, last.model.box)
            if last.ensemble.members and last.ensemble.members > 1:
                analysis["stationary_points_summary"] = summary(stationary_points(last.ensemble, last.model.box))
    except (LandscapeError, ValueError) as error:
        attrs["stationary_points"] = f"none: {error}"
    return Answer(data=data, fits=fits, landscape=landscape, analysis=analysis, attrs=attrs)
