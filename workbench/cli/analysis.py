"""Questions to a saved landscape, by name: what `workbench analyse` asks, and the datasets that answer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset import nearest
from workbench.errors import LandscapeError
from workbench.landscape.basins import basins
from workbench.landscape.graph import graph
from workbench.landscape.minimum_energy_path import minimum_energy_path
from workbench.landscape.rates import rates
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.summary import summary
from workbench.landscape.wells import wells
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["QUESTIONS", "ask"]

Box = Sequence[tuple[float, float]]


def ask(
    ensemble: LSEICNN, question: str, within: Box, *, best: int = 0, temperature: float | None = None
) -> dict[str, xr.Dataset]:
    """Return name → answer of a question to a fit: of its member `best`, and over all members where that has meaning.

    "stationary_points" (with "stationary_points_summary" of an ensemble), "wells", "graph", "paths" (a minimum-energy
    path over every saddle that joins two wells), "basins", and "rates" at the temperature `temperature`.

    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> quick = wb.LevenbergMarquardt(steps=40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> fit = wb.fit(wb.LSEICNN(1, 2), data, match="potential", seed=0, restarts=2, optimiser=quick)
    >>> ask(fit.ensemble, "paths", [(-2, 2)])["paths"].barrier.values.round(1).tolist()
    [[1.0, 1.0]]
    """
    if question not in QUESTIONS:
        raise ValueError(
            f"unknown question {question!r}{nearest(question, QUESTIONS) or ';'} known: {', '.join(QUESTIONS)}"
        )
    if (temperature is None) == (question == "rates"):
        raise ValueError("rates need a temperature, temperature=…, and no other question takes one")
    return QUESTIONS[question](ensemble, within, best, temperature)


def _stationary_points(ensemble: LSEICNN, within: Box, best: int, _: Any) -> dict[str, xr.Dataset]:
    answer = {"stationary_points": stationary_points(ensemble.member(best), within)}
    if (ensemble.members or 1) > 1:
        answer["stationary_points_summary"] = summary(stationary_points(ensemble, within))
    return answer


def _paths(ensemble: LSEICNN, within: Box, best: int, _: Any) -> dict[str, xr.Dataset]:
    model = ensemble.member(best)
    found = graph(model, within)
    passes = [k for k in range(found.sizes["point"]) if _joins_two(found["joins"].values[k])]
    if not passes:
        raise LandscapeError("no saddle in the box joins two wells: widen it, or ask for stationary_points first")
    x, joins = found["x"].values, found["joins"].values
    legs = [minimum_energy_path(model, *x[joins[k]], via=x[k], within=within) for k in passes]
    alike = [leg.drop_vars([n for n in leg.variables if "saddle" in leg[n].dims]) for leg in legs]
    paths = xr.concat(alike, "path", join="outer").assign_coords(path=np.arange(len(legs)))
    paths["joins"] = (
        ("path", "way"),
        joins[passes],
        {"long_name": "points of the graph that are joined", "units": "1"},
    )
    return {"graph": found, "paths": paths}


def _joins_two(sides: np.ndarray) -> bool:
    return bool((sides >= 0).all() and sides[0] != sides[1])


QUESTIONS: dict[str, Callable[[LSEICNN, Box, int, Any], dict[str, xr.Dataset]]] = {
    "stationary_points": _stationary_points,
    "wells": lambda ensemble, within, best, _: {"wells": wells(ensemble.member(best), within)},
    "graph": lambda ensemble, within, best, _: {"graph": graph(ensemble.member(best), within)},
    "paths": _paths,
    "basins": lambda ensemble, within, best, _: {"basins": basins(ensemble.member(best), within)},
    "rates": lambda ensemble, within, best, temperature: {"rates": rates(ensemble.member(best), within, temperature)},
}
