"""Analyses of a saved landscape by name, as run by `workbench analyse`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.dataset import nearest
from workbench.dataset.variables import variable
from workbench.errors import LandscapeError
from workbench.landscape.basins import basins
from workbench.landscape.graph import graph
from workbench.landscape.minimum_energy_path import minimum_energy_path
from workbench.landscape.rates import rates
from workbench.landscape.reuse import reused
from workbench.landscape.stationary_points import stationary_points
from workbench.landscape.summary import summary
from workbench.landscape.transition_times import transition_times
from workbench.landscape.wells import wells
from workbench.potentials.ensembles import stacked
from workbench.potentials.lse_icnn import LSEICNN

__all__ = ["ANALYSES", "ask"]

Box = Sequence[tuple[float, float]]


def ask(
    ensemble: LSEICNN, question: str, within: Box, *, best: int = 0, temperature: float | None = None
) -> dict[str, xr.Dataset]:
    """Run one analysis of a fitted landscape.

    Parameters
    ----------
    ensemble : LSEICNN
        The fitted landscape, with one or several members.
    question : str
        The analysis: "stationary_points", "wells", "graph", "paths" (a minimum-energy path over every saddle that
        connects two wells), "basins", "rates" or "transition_times".
    within : sequence of tuple
        The box, one pair (low, high) per state.
    best : int
        The member to analyse.
    temperature : float, optional
        Temperature T, required for "rates" and "transition_times" and rejected otherwise.

    Returns
    -------
    dict of str to xarray.Dataset
        Results by name: that of the analysis; for "stationary_points" of several members also
        "stationary_points_summary"; for "paths" also "graph".

    Raises
    ------
    ValueError
        If the analysis is unknown, or a temperature is missing or superfluous.
    LandscapeError
        If the analysis is impossible, such as "paths" without a saddle between two wells.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.linspace(-2, 2, 60)
    >>> quick = wb.LevenbergMarquardt(steps=40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> fit = wb.fit(wb.LSEICNN(1, 2), data, match="potential", seed=0, restarts=2, optimiser=quick)
    >>> ask(fit.ensemble, "paths", [(-2, 2)])["paths"].barrier.values.round(1).tolist()
    [[1.0, 1.0]]
    """
    if question not in ANALYSES:
        raise ValueError(
            f"unknown analysis {question!r}{nearest(question, ANALYSES) or ';'} known: {', '.join(ANALYSES)}"
        )
    if (temperature is None) == (question in AT_A_TEMPERATURE):
        raise ValueError(
            "the analyses 'rates' and 'transition_times' need a temperature, temperature=…; no other analysis takes one"
        )
    with reused():
        return ANALYSES[question](ensemble, within, best, temperature)


def _stationary_points(ensemble: LSEICNN, within: Box, best: int, _: Any) -> dict[str, xr.Dataset]:
    """Return the stationary points of the member `best` and, for an ensemble, their summary over all members."""
    results = {"stationary_points": stationary_points(ensemble.member(best), within)}
    if (ensemble.members or 1) > 1:
        results["stationary_points_summary"] = summary(stationary_points(ensemble, within))
    return results


def _paths(ensemble: LSEICNN, within: Box, best: int, _: Any) -> dict[str, xr.Dataset]:
    """Return the saddle graph and the minimum-energy paths over all saddles that connect two wells."""
    model = ensemble.member(best)
    found = graph(model, within)
    saddles = [k for k in range(found.sizes["point"]) if _joins_two(found["joins"].values[k])]
    if not saddles:
        raise LandscapeError(
            "no saddle in the box connects two wells; widen the box, or inspect stationary_points first"
        )
    x, joins = found["x"].values, found["joins"].values
    curves = [minimum_energy_path(model, *x[joins[k]], via=x[k], within=within) for k in saddles]
    paths = stacked(curves, "path", {"stop": ""})
    paths["joins"] = variable(("path", "way"), joins[saddles], "points of the graph that the path connects", "1")
    return {"graph": found, "paths": paths}


def _joins_two(minima: np.ndarray) -> bool:
    """Return whether descent from a saddle reaches two different minima, given by their indices or −1."""
    return bool((minima >= 0).all() and minima[0] != minima[1])


AT_A_TEMPERATURE = ("rates", "transition_times")
ANALYSES: dict[str, Callable[[LSEICNN, Box, int, Any], dict[str, xr.Dataset]]] = {
    "stationary_points": _stationary_points,
    "wells": lambda ensemble, within, best, _: {"wells": wells(ensemble.member(best), within)},
    "graph": lambda ensemble, within, best, _: {"graph": graph(ensemble.member(best), within)},
    "paths": _paths,
    "basins": lambda ensemble, within, best, _: {"basins": basins(ensemble.member(best), within)},
    "rates": lambda ensemble, within, best, temperature: {"rates": rates(ensemble.member(best), within, temperature)},
    "transition_times": lambda ensemble, within, best, temperature: {
        "transition_times": transition_times(ensemble.member(best), temperature, within=within)
    },
}
