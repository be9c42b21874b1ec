"""From data to a result in one call: what `workbench fit` does, and what it saves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import xarray as xr

from workbench.dataset.velocities import velocities
from workbench.errors import LandscapeError
from workbench.fitting.fit import Fit, fit
from workbench.fitting.levenberg_marquardt import LevenbergMarquardt
from workbench.landscape.grid import grid
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.summary import summary
from workbench.losses.match import DENSITY, TRAJECTORY, parse_match
from workbench.parallel import Report
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["Answer", "learn"]

POLISH = LevenbergMarquardt(steps=40, patience=8)  # of trajectories: a step costs as much as many of velocities


@dataclass(frozen=True)
class Answer(Mapping[str, Any]):
    """What `learn` returns: the contents of a result file, as attributes and as a mapping.

    `answer.fits` and `answer["fits"]` are the same; parts that are empty are left out of the mapping, so that
    `workbench.save(path, **answer)` saves it.
    """

    data: Any
    fits: Mapping[str, Fit]
    landscape: xr.Dataset | None = None
    analysis: Mapping[str, xr.Dataset] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> Fit:
        """The fit that was asked for: the last one."""
        return list(self.fits.values())[-1]

    def __getitem__(self, name: str) -> Any:
        """Return a part by its name."""
        if name not in self._parts():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the parts."""
        return iter(self._parts())

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self._parts())

    def _parts(self) -> list[str]:
        return [part.name for part in fields(self) if getattr(self, part.name) is not None]


def learn(
    data: xr.Dataset,
    *,
    match: str | Mapping[str, float],
    modes: int | Literal["auto"] = 3,
    hidden: Sequence[int] = (8, 8, 8),
    members: int = 1,
    restarts: int | None = None,
    bootstrap: bool = False,
    differentiate: bool = False,
    seed: Any = None,
    optimiser: LevenbergMarquardt | None = None,
    workers: int = 1,
    progress: bool | Report | None = None,
) -> Answer:
    """Return the contents of a result file, for `workbench.save(path, **learn(…))`.

    A fit of an `LSEICNN` (see `workbench.fit`; `modes="auto"` tries up to ten), its landscape on a grid in one and two
    dimensions, and the stationary points in the box of the data, matched over the members where there are several.

    With `differentiate` velocities are estimated first (`workbench.velocities`). match="trajectory" always does so:
    it fits those velocities, then polishes by multiple shooting, with the noise levels that were found. Both fits are
    kept, "velocity" and "trajectory".

    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> quick = wb.LevenbergMarquardt(steps=40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> found = learn(data, match="potential", modes=2, seed=0, restarts=2, optimiser=quick)
    >>> found["analysis"]["stationary_points"].kind.values.tolist()
    ['minimum', 'minimum', 'maximum']
    """
    weights = parse_match(match)
    if DENSITY in weights:
        raise ValueError("a density needs a support: use workbench.fit(model, data, match='density', support=…)")
    polish = TRAJECTORY in weights
    seen = velocities(data) if differentiate or polish else data
    model = LSEICNN(dim=seen.sizes["state"], modes=10 if modes == "auto" else modes, hidden=tuple(hidden))
    how: dict[str, Any] = {"seed": seed, "bootstrap": bootstrap, "workers": workers, "progress": progress}
    first = fit(
        model,
        seen,
        match={"velocity": 1.0} if polish else weights,
        modes="auto" if modes == "auto" else None,
        members=members,
        restarts=restarts,
        optimiser=optimiser,
        **how,
    )
    fits = {"velocity": first} if polish else {"fit": first}
    if polish:
        noisy = data if {"sigma", "sigma_x"} & set(data) else data.assign(sigma_x=_noise(seen))
        noisy = noisy.assign_coords(split=first.data["split"])
        fits["trajectory"] = fit(
            first.ensemble,
            noisy,
            match=TRAJECTORY,
            warm_start=True,
            optimiser=optimiser or POLISH,
            **how | {"seed": seed},
        )
    return _answered({name: one.data for name, one in fits.items()} if polish else first.data, fits)


def _noise(seen: xr.Dataset) -> xr.DataArray:
    """Return the noise of what was observed, as `differentiated` found it; at least a thousandth of the spread.

    Data without noise would else be fitted to the last digit of their rounding.
    """
    level = np.array(list(json.loads(seen.attrs["noise_json"])["level"].values()))
    least = 1e-3 * seen["x_observed"].values.reshape(-1, len(level)).std(0)
    return xr.ones_like(seen["x_observed"]) * np.maximum(level, least)


def _answered(data: Any, fits: Mapping[str, Fit]) -> Answer:
    """Return the fits with landscape and stationary points of the last one."""
    last = list(fits.values())[-1]
    landscape = grid(last.model, last.model.box) if last.model.dim <= 2 else None
    attrs = {} if last.caveat is None else {"caveat": last.caveat}
    analysis: dict[str, xr.Dataset] = {}
    try:
        analysis["stationary_points"] = stationary_points(last.model, last.model.box)
        if last.ensemble.members and last.ensemble.members > 1:
            analysis["stationary_points_summary"] = summary(stationary_points(last.ensemble, last.model.box))
    except (LandscapeError, ValueError) as error:
        attrs["stationary_points"] = f"none: {error}"
    return Answer(data=data, fits=fits, landscape=landscape, analysis=analysis, attrs=attrs)
