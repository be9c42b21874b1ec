"""Potential and gradient on a regular grid, as arrays that can be plotted without PyTorch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.dataset.variables import Units, state_labels, variable
from workbench.potentials.box import landscape_in
from workbench.potentials.bridge import require_potential
from workbench.potentials.ensembles import each_member
from workbench.potentials.potential import Landscape, Potential, arbitrary_constant, attributes_of, units_of

__all__ = ["grid"]

LARGEST_GRID = 4_000_000  # points
SAME_VALUES = 1e-6  # relative to the range of the potential: larger differences are those of another member


def grid(
    potential: Potential | Mapping[str, Potential],
    within: Sequence[tuple[float, float]],
    points: int = 101,
    *,
    ensemble: Potential | None = None,
    member: int | None = None,
) -> xr.Dataset:
    """Evaluate one or several potentials, and their gradients, on a regular grid over a box.

    Several potentials share a zero if the constant of the first one is arbitrary, as it is after a fit of gradients:
    to each of the others, the mean difference of the first potential from it over the grid is added.

    Parameters
    ----------
    potential : Potential or mapping of str to Potential
        A potential without members, or several ones of the same states, keyed by the suffix of their variables:
        ``{"": fit.model, "true": exact}`` yields ``potential``, ``gradient``, ``potential_true`` and
        ``gradient_true``.
    within : sequence of (float, float)
        Box of the grid, one pair (low, high) per state.
    points : int
        Number of grid points along each state, at least 2; the grid may have 4 000 000 points in all.
    ensemble : Potential, optional
        An ensemble of which the first potential is a member, such as ``fit.ensemble``: its spread is added.
    member : int, optional
        Which member the first potential is; with `ensemble`, this is checked.

    Returns
    -------
    xarray.Dataset
        With one dimension per state, named after it, and the positions of the grid points as coordinates, in the units
        that the potentials know:

        - ``potential(x1, x2, …)``, shape (points, points, …), and ``gradient(x1, x2, …, state)``, shape (points,
          points, …, dim), for each suffix. The attribute ``shift`` of a potential is the constant that was added to it;
        - ``potential_std`` and ``gradient_std``, for an ensemble of more than one member: the standard deviations over
          the members at every grid point. The mean of each member's potential over the grid is subtracted first,
          because its constant may be arbitrary.

        The attribute ``gauge`` states where the first potential is zero; ``member`` is its number, if it is given.

    Raises
    ------
    TypeError
        If `potential` or `ensemble` is not a potential, or changes in time.
    ValueError
        If the potentials have different states or members, `within` does not have one pair (low, high) with
        low < high per state, `points` is not an integer of at least 2, the grid is too large, or `ensemble` has no
        members, or a different one as `member`.
    DatasetError
        If the units of two potentials contradict each other.

    Examples
    --------
    >>> import systems
    >>> circuit = systems.get("gene_circuit")
    >>> dict(grid(circuit, [(0, 2), (0, 2)], points=5).sizes)
    {'x1': 5, 'x2': 5, 'state': 2}
    >>> list(grid({"": circuit, "true": circuit}, [(0, 2), (0, 2)], points=5).data_vars)
    ['potential', 'gradient', 'potential_true', 'gradient_true']
    """
    potentials = dict(potential) if isinstance(potential, Mapping) else {"": potential}
    first, _ = landscape_in(next(iter(potentials.values()), None), within)
    named = {suffix: require_potential(one, first.states) for suffix, one in potentials.items()}
    _check(named, points)
    axes = [np.linspace(low, high, points) for low, high in within]
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    units = _common_units(named)
    coords: dict[str, Any] = state_labels(first.states, units)
    for name, axis, unit in zip(first.states, axes, units.states, strict=True):
        coords[name] = variable(name, axis, name, unit)
    variables: dict[str, Any] = {}
    for suffix, one in named.items():
        variables |= _fields(one, rows, (points,) * len(axes), units, suffix)
    found = xr.Dataset(variables, coords=coords, attrs=attributes_of(first) | units.attrs())
    if arbitrary_constant(first):
        found = _of_one_gauge(found, list(named))
    if ensemble is not None:
        found = _with_spread(found, require_potential(ensemble, first.states), rows, next(iter(named)), member)
    return found if member is None else found.assign_attrs(member=int(member))


def _check(named: Mapping[str, Landscape], points: Any) -> None:
    """Raise `ValueError` unless the potentials are plain and of the same states, and the grid is of a possible size."""
    states = [tuple(one.states) for one in named.values()]
    if len(set(states)) > 1:
        raise ValueError(f"the potentials of a grid must have the same states, got {states}")
    for one in named.values():
        if one.members is not None:
            raise ValueError(
                f"a grid is that of a potential without members, got one with {one.members}: pass one member, such as "
                "fit.model, and the ensemble as ensemble=…"
            )
    require_integer(2, points=points)
    if points ** len(states[0]) > LARGEST_GRID:
        raise ValueError(
            f"a grid has at most {LARGEST_GRID:,} points in all; got {points} for each of {len(states[0])} states"
        )


def _common_units(named: Mapping[str, Landscape]) -> Units:
    """Return the units that any of the potentials knows."""
    (first, one), *others = ((f"the potential {suffix!r}", units_of(psi)) for suffix, psi in named.items())
    for name, other in others:
        one = one.agreed(other, first, name)
    return one


def _fields(psi: Landscape, rows: np.ndarray, shape: tuple[int, ...], units: Units, suffix: str) -> dict[str, Any]:
    """Return the potential and its gradient at the grid points, shape (row, dim), as variables on the grid."""
    tail, text = (f"_{suffix}", f", {suffix}") if suffix else ("", "")
    found = psi.evaluate(rows, 1)
    value, gradient = np.asarray(found.value).reshape(shape), np.asarray(found.gradient).reshape(*shape, -1)
    name, energy, slope = f"gradient of the potential{text}", units.of("potential"), units.of("gradient")
    return {
        f"potential{tail}": variable(psi.states, value, f"potential{text}", energy),
        f"gradient{tail}": variable((*psi.states, "state"), gradient, name, slope),
    }


def _of_one_gauge(found: xr.Dataset, suffixes: Sequence[str]) -> xr.Dataset:
    """Return the grid with the mean difference of the first potential from each of the others added to the other."""
    first, *others = (f"potential_{suffix}" if suffix else "potential" for suffix in suffixes)
    for name in others:
        shift = _mean((found[first] - found[name]).values)
        found[name] = (found[name] + shift).assign_attrs(found[name].attrs, shift=shift)
    return found


def _with_spread(
    found: xr.Dataset, ensemble: Landscape, rows: np.ndarray, suffix: str, member: int | None
) -> xr.Dataset:
    """Return the grid with the spread of the ensemble, after a check that the first potential is the given member."""
    tail, text = (f"_{suffix}", f", {suffix}") if suffix else ("", "")
    value, gradient = found[f"potential{tail}"], found[f"gradient{tail}"]
    if ensemble.members is None or tuple(ensemble.states) != value.dims:
        raise ValueError(f"ensemble must have members and the states {', '.join(map(str, value.dims))}")
    members = each_member(ensemble)
    if member is not None:
        _check_member(value.values, members, rows, member)
    if len(members) == 1:
        return found
    every = (one.evaluate(rows, 1) for one in members)
    spread = _deviation(np.column_stack([psi.value - _mean(psi.value), psi.gradient]) for psi in every)
    names = {
        "potential_std": "standard deviation of the potential over the members, each less its mean over the grid",
        "gradient_std": "standard deviation of the gradient over the members",
    }
    spreads = {
        "potential_std": (value, spread[:, 0]),
        "gradient_std": (gradient, spread[:, 1:]),
    }
    for name, (like, one) in spreads.items():
        note = f"sample standard deviation of {len(members)} members: their spread, not the whole error"
        long_name, unit = names[name] + text, like.attrs.get("units")
        found[name + tail] = variable(like.dims, one.reshape(like.shape), long_name, unit, description=note)
    return found


def _check_member(value: np.ndarray, members: Sequence[Landscape], rows: np.ndarray, member: Any) -> None:
    """Raise `ValueError` unless values on the grid are those of the given member."""
    require_integer(0, member=member)
    if member < len(members):
        its = np.asarray(members[member].value(rows)).reshape(value.shape)
        if np.allclose(its, value, rtol=0, atol=SAME_VALUES * np.ptp(value), equal_nan=True):
            return
    raise ValueError(f"the potential is not member {member} of the {len(members)} members of ensemble=…")


def _mean(values: np.ndarray) -> float:
    """Return the mean of the finite values; 0 if there are none."""
    finite = np.isfinite(values)
    return float(values[finite].mean()) if finite.any() else 0.0


def _deviation(fields: Iterable[np.ndarray]) -> np.ndarray:
    """Return the standard deviation (ddof = 1) of at least two arrays, which are seen one at a time.

    >>> _deviation(np.array([x]) for x in (1.0, 2.0, 6.0)), np.std([1.0, 2.0, 6.0], ddof=1)
    (array([2.64575131]), np.float64(2.6457513110645907))
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for count, field in enumerate(fields, 1):  # noqa: B007
        step = field - mean
        mean = mean + step / count
        squares = squares + step * (field - mean)
    return np.sqrt(squares / (count - 1))
