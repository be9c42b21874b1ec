r"""Splitting of a well: the smallest blend parameter at which a landscape has a given number of minima.

For a blend Ψ_b = (1 − b) Ψ₁ + b Ψ₂ the minima are counted at equally spaced values of b, and the first interval in
which the count reaches the given number is bisected. A range of b narrower than that spacing can be missed.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from workbench.checks import require_integer
from workbench.dataset.variables import variable
from workbench.landscape.stationary_points import stationary_points
from workbench.potentials.blend import parameter_unit
from workbench.potentials.box import landscape_in
from workbench.potentials.ensembles import over_members
from workbench.potentials.potential import TimeVarying, attributes_of, units_of

__all__ = ["splitting"]


def splitting(
    blend: TimeVarying,
    within: Sequence[tuple[float, float]],
    *,
    minima: int = 2,
    tolerance: float = 1e-4,
    scan: int = 11,
    starts: int = 64,
) -> xr.Dataset:
    """Find the smallest b in [0, 1] at which Ψ_b has at least a given number of minima, and the time of that split.

    Parameters
    ----------
    blend : TimeVarying
        A landscape that changes in time, such as a `Blend`; each member of an ensemble has its own split.
    within : sequence of (float, float)
        Box in which minima are counted, one pair (low, high) per state.
    minima : int
        Number of minima.
    tolerance : float
        Width of the interval of b at which bisection ends; its upper bound is returned.
    scan : int
        Number of equally spaced values of b at which minima are counted first.
    starts : int
        Number of Sobol starting points of each count.

    Returns
    -------
    xarray.Dataset
        Ensembles add a leading dimension ``member``. Variables:

        - ``b``, NaN if the number is not reached;
        - ``time``, at which the schedule first takes that value, in the unit of time that the potential knows; NaN if
          it never does;
        - ``minima(b_scanned)``, shape (scan,), the counts of the scan.

        Of a blend with ``parameter="load"``, ``b`` is called ``load``, and ``b_scanned`` ``load_scanned``. The
        attributes ``parameter``, ``tolerance`` and ``gauge`` hold that name, the tolerance, and where the potential is
        zero.

    Raises
    ------
    TypeError
        If `blend` does not change in time, or has members that cannot be taken out of it.
    ValueError
        If the box does not fit the states, or `minima` or `scan` is not an integer, at least 1 and 2.
    LandscapeError
        As `stationary_points`.

    Warns
    -----
    LandscapeWarning
        As `stationary_points`.

    Examples
    --------
    Ψ_b = x⁴ + (1 − 3b) x² has two minima where b > 1/3:

    >>> import systems, workbench as wb
    >>> class Quartic(systems.PotentialSystem):
    ...     state_space = (systems.State("x", box=(-2, 2)),)
    ...     a: float = systems.parameter(1.0, "coefficient")
    ...
    ...     def potential(self, x):
    ...         return (x**4 + self.a * x**2).sum(-1)
    >>> blend = wb.Blend(Quartic(a=1.0), Quartic(a=-2.0), wb.Ramp(0.0, 9.0))
    >>> found = splitting(blend, [(-2, 2)], scan=5, starts=8)
    >>> round(float(found.b), 3), round(float(found.time), 2), found.minima.values.tolist()
    (0.333, 3.0, [1, 1, 2, 2, 2])
    """
    if not isinstance(blend, TimeVarying):
        raise TypeError(f"expected a landscape that changes in time, such as a Blend, got {type(blend).__name__}")
    require_integer(minima=minima)
    require_integer(2, scan=scan)
    landscape_in(blend.at(**{blend.parameter: 0.0}), within)  # raises if the box does not fit
    return over_members(blend, lambda one, _: _splitting(one, within, minima, tolerance, scan, starts))


def _splitting(
    blend: TimeVarying, within: Sequence[tuple[float, float]], minima: int, tolerance: float, scan: int, starts: int
) -> xr.Dataset:
    """Return the split of one member."""
    name, scanned = blend.parameter, np.linspace(0, 1, scan)

    def count(b: float) -> int:
        return stationary_points(blend.at(**{name: b}), within, starts=starts, index=0).sizes["point"]

    counts = np.array([count(b) for b in scanned])
    split = _bisect(lambda b: count(b) >= minima, scanned, counts >= minima, tolerance)
    potential, _ = landscape_in(blend.at(**{name: 0.0}), within)
    time, unit = blend.schedule.when(split), parameter_unit(blend)
    variables = {
        name: variable((), split, f"smallest {name} with {minima} minima", unit),
        "time": variable((), time, "time of the split", units_of(potential).of("time")),
        "minima": variable(f"{name}_scanned", counts, "number of minima", "1"),
    }
    scan_axis = {f"{name}_scanned": variable(f"{name}_scanned", scanned, f"{name} of the scan", unit)}
    attrs = {"parameter": name, "tolerance": tolerance, **attributes_of(potential)}
    return xr.Dataset(variables, coords=scan_axis, attrs=attrs)


def _bisect(is_split: Callable[[float], bool], scanned: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    """Return the smallest b that is split, given what is known at the scanned values, both shape (b_scanned,)."""
    if not known.any():
        return float("nan")
    first = int(np.argmax(known))
    if first == 0:
        return float(scanned[0])
    below, above = scanned[first - 1], scanned[first]
    while above - below > tolerance:
        middle = (below + above) / 2
        below, above = (below, middle) if is_split(middle) else (middle, above)
    return float(above)
