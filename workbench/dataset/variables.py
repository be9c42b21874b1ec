"""Variables of datasets, and the units that they carry.

The units of the states, of the potential and of time determine those of all other quantities:

    gradient = potential/state,     Hessian = potential/state²,     velocity = state/time,     rate = 1/time.

An unknown unit is None, and a variable without a known unit has no attribute `units`. "1" means dimensionless, and is
written only where that was said. States of unlike units have a coordinate `unit(state)`; a variable over such states
has no `units` of its own.
"""

import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from workbench.dataset.vocabulary import nearest
from workbench.errors import DatasetError

__all__ = ["Units", "product", "same_unit", "state_labels", "text_unit", "variable"]

RULES = {  # powers of (potential, state, time)
    "state": (0, 1, 0),
    "potential": (1, 0, 0),
    "gradient": (1, -1, 0),
    "hessian": (1, -2, 0),
    "velocity": (0, 1, -1),
    "time": (0, 0, 1),
    "rate": (0, 0, -1),
    "mobility": (-1, 2, -1),  # M in ẋ = −M ∇Ψ
    "flow_potential": (0, 2, -1),  # of Ψ in ẋ = −∇Ψ
}
FACTOR = re.compile(r"([^\W\d]+|[%°])(?:\^?(-?\d+))?")  # such as nm, nm2 or nm^2
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")


def variable(
    dims: str | Sequence[Hashable], values: Any, long_name: str, unit: str | None = None, **attrs: Any
) -> xr.Variable:
    """Return a variable with its attributes; without a known unit it has no attribute `units`.

    Parameters
    ----------
    dims : str or sequence of str
        Names of the dimensions.
    values : array_like
        Values, with one axis per dimension.
    long_name : str
        What the variable is, in a few words, as axis labels show it.
    unit : str or None, optional
        Its unit, "1" if it is dimensionless, None if the unit is unknown.
    **attrs
        Further attributes, such as `description`.

    Returns
    -------
    xarray.Variable

    Examples
    --------
    >>> variable("time", [0.0, 1.0], "time", "ps").attrs
    {'long_name': 'time', 'units': 'ps'}
    """
    return xr.Variable(dims, values, {"long_name": long_name, **({} if unit is None else {"units": unit}), **attrs})


def text_unit(name: str, unit: Any) -> str | None:
    """Return a unit that is text or None; raise `DatasetError`, which names `name`, otherwise.

    Examples
    --------
    >>> text_unit("time", "ps")
    'ps'
    """
    if unit is None or (isinstance(unit, str) and unit.strip()):
        return unit
    raise DatasetError(f'the unit of {name} must be text, such as "nm", or "1" if it is dimensionless; got {unit!r}')


@dataclass(frozen=True)
class Units:
    """Units of states, potential and time, and of the quantities that follow from them; None where unknown.

    Parameters
    ----------
    states : sequence of (str or None), optional
        Unit of every state, in order.
    potential, time : str or None, optional
        Units of the potential and of time.

    Raises
    ------
    DatasetError
        If a unit is not text.

    Examples
    --------
    >>> units = Units(("nm", "nm"), potential="kJ/mol", time="ps")
    >>> units.of("gradient"), units.of("velocity"), units.of("hessian")
    ('kJ/mol/nm', 'nm/ps', 'kJ/mol/nm^2')
    >>> Units(("nm", "degree"), potential="kJ/mol").by_state("gradient")
    ('kJ/mol/nm', 'kJ/mol/degree')
    """

    states: Sequence[str | None] = ()
    potential: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "states", tuple(text_unit(f"state {k + 1}", unit) for k, unit in enumerate(self.states))
        )
        for name in ("potential", "time"):
            object.__setattr__(self, name, text_unit(name, getattr(self, name)))

    def of(self, quantity: str) -> str | None:
        """Return the unit of a quantity, a key of `RULES`; None if it is unknown, or differs between the states.

        For a quantity that involves the states, the units of all states must agree. For the Hessian of unlike states
        there is no unit.
        """
        p, s, t = RULES[quantity]
        if s and len(set(self.states)) != 1:
            return None
        return product((self.potential, p), (self.states[0] if s else None, s), (self.time, t))

    def by_state(self, quantity: str) -> tuple[str | None, ...]:
        """Return the unit of a component of a quantity for every state, such as those of the gradient."""
        p, s, t = RULES[quantity]
        return tuple(product((self.potential, p), (unit, s), (self.time, t)) for unit in self.states)

    @property
    def alike(self) -> bool:
        """Whether all states have the same unit, or all have none."""
        return len(set(self.states)) <= 1

    @classmethod
    def read(cls, data: xr.Dataset) -> "Units":
        """Return the units that a dataset states; `DatasetError` if one is not text or two contradict each other."""
        lead = "strain" if "strain" in data and "x" not in data else "x"
        dim = "component" if lead == "strain" else "state"
        count = data.sizes.get(dim, 0)
        common = data[lead].attrs.get("units") if lead in data and dim in data[lead].dims else None
        states: tuple[str | None, ...] = (common,) * count
        if "unit" in data.coords and data["unit"].dims == (dim,):
            states = tuple(str(unit) or None for unit in data["unit"].values)
            if common is not None and set(states) != {common}:
                raise DatasetError(f"{lead} has the unit {common!r}, but the coordinate unit says {list(states)}")
        found: dict[str, str | None] = {}
        for name in ("potential", "time"):
            stated = {
                where: unit
                for where, unit in (
                    (f"the variable {name}", data[name].attrs.get("units") if name in data.variables else None),
                    (f"the attribute {name}_unit", data.attrs.get(f"{name}_unit")),
                )
                if unit is not None
            }
            if len(stated) > 1 and not same_unit(*map(str, stated.values())):
                told = " and ".join(f"{unit!r} by {where}" for where, unit in stated.items())
                raise DatasetError(f"the unit of {name} is stated twice, {told}; keep the right one")
            found[name] = next(iter(stated.values()), None)
        return cls(states, **found)

    @classmethod
    def given(cls, units: Mapping[str, str] | None, states: Sequence[str], lead: str = "x") -> "Units":
        """Return the units given by name: those of states, of all states (`lead`), of the potential, and of time.

        Raises
        ------
        DatasetError
            If a name is unknown, a unit is not text, or that of a state differs from the one of all states.
        """
        units = dict(units or {})
        known = [*states, lead, "potential", "time"]
        for name in units:
            if name not in known:
                raise DatasetError(f"units names {name!r}{nearest(name, known) or ';'} known are {', '.join(known)}")
        each = tuple(text_unit(name, units.get(name, units.get(lead))) for name in states)
        common = None if lead in states else text_unit(lead, units.get(lead))
        for name, unit in zip(states, each, strict=True):
            if common is not None and unit is not None and not same_unit(unit, common):
                raise DatasetError(
                    f"units gives {common!r} for all states, by {lead!r}, but {unit!r} for {name}: give the unit of "
                    "every state by its own name"
                )
        return cls(each, units.get("potential"), units.get("time"))

    def agreed(self, other: "Units", mine: str, others: str) -> "Units":
        """Return the units that either knows; `DatasetError`, naming `mine` and `others`, if they contradict."""
        pairs = [("potential", self.potential, other.potential), ("time", self.time, other.time)]
        states = list(zip(self.states, other.states, strict=False))
        pairs += [(f"state {k + 1}", a, b) for k, (a, b) in enumerate(states)]
        for name, a, b in pairs:
            if a is not None and b is not None and not same_unit(a, b):
                raise DatasetError(
                    f"the unit of {name} is {a!r} in {mine}, but {b!r} in {others}: convert one of them, values and all"
                )
        longest = self.states if len(self.states) >= len(other.states) else other.states
        merged = [a if a is not None else b for a, b in states] or list(longest)
        return Units(tuple(merged), self.potential or other.potential, self.time or other.time)

    def motion(self) -> dict[str, str]:
        """Return the attribute `mobility`, for answers that involve time, unless M = 1 follows from the units.

        All motion here is that of ẋ = −∇Ψ, with mobility 1. Where Ψ has the unit state²/time, that is a number without
        dimension; otherwise it is 1 in the units stated.

        Examples
        --------
        >>> Units(("nm",), potential="kJ/mol", time="ps").motion()
        {'mobility': '1 mol nm^2/kJ/ps'}
        >>> Units(("nm",), potential="nm^2/ps", time="ps").motion()
        {}
        """
        units = list(dict.fromkeys(self.by_state("mobility")))
        known = [unit for unit in units if unit is not None]
        return {} if not known or known == ["1"] else {"mobility": ", ".join(f"1 {unit}" for unit in known)}

    def attrs(self) -> dict[str, str]:
        """Return the attributes `potential_unit` and `time_unit`, those that are known."""
        known = {"potential_unit": self.potential, "time_unit": self.time}
        return {name: unit for name, unit in known.items() if unit is not None}


def state_labels(states: Sequence[str], units: Units, dim: str = "state") -> dict[str, Any]:
    """Return the coordinate of the states and, if their units differ, the coordinate `unit`.

    Parameters
    ----------
    states : sequence of str
        Names of the states.
    units : Units
        Their units.
    dim : str, optional
        Name of the dimension.

    Returns
    -------
    dict of str to xarray.Variable
        Coordinates of a dataset.

    Examples
    --------
    >>> list(state_labels(["r", "phi"], Units(("nm", "degree"))))
    ['state', 'unit']
    """
    labels: dict[str, Any] = {dim: variable(dim, list(states), "component of the state")}
    if not units.alike:
        labels["unit"] = variable(dim, [unit or "" for unit in units.states], "unit of the state")
    return labels


def product(*factors: tuple[str | None, int]) -> str | None:
    """Return the product of powers of units as text, or None if one of them is unknown.

    Examples
    --------
    >>> product(("nm^2/ps", 1), ("nm", -1)), product(("kJ/mol", 1), ("nm", -2)), product(("1", 1), ("s", -1))
    ('nm/ps', 'kJ/mol/nm^2', '1/s')
    """
    powers: dict[str, int] = {}
    present = [(unit, power) for unit, power in factors if power]
    if len(present) == 1 and present[0][1] == 1:
        return present[0][0]  # as it was given
    for unit, power in present:
        if unit is None:
            return None
        for base, exponent in _parsed(unit).items():
            powers[base] = powers.get(base, 0) + power * exponent
    above = " ".join(base if n == 1 else f"{base}^{n}" for base, n in powers.items() if n > 0)
    below = "".join(f"/{base}" if n == -1 else f"/{base}^{-n}" for base, n in powers.items() if n < 0)
    return (above or "1") + below


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are the same product of powers, or one is of a form that cannot be compared.

    Examples
    --------
    >>> same_unit("kJ mol-1 nm-1", "kJ/mol/nm"), same_unit("kJ/(mol·nm)", "kJ/mol/nm"), same_unit("nm/ns", "nm/ps")
    (True, True, False)
    """
    a, b = _powers(one), _powers(other)
    return a is None or b is None or a == b


def _powers(unit: str) -> dict[str, int] | None:
    """Return the powers of the factors of a unit, in one spelling of its characters; None for another form."""
    powers = _parsed(unicodedata.normalize("NFKC", unit))
    return None if any("(" in base for base in powers) else {base: n for base, n in powers.items() if n}


def _parsed(unit: str) -> dict[str, int]:
    """Return the powers of the factors of a unit; a unit of another form is one factor, in parentheses if compound."""
    powers: dict[str, int] = {}
    plain = re.sub(r"/\(([^()/]*)\)", r"/\1", unit.translate(SUPERSCRIPTS).replace("**", "^"))
    for k, part in enumerate(plain.strip().split("/")):
        for factor in re.split(r"[\s*·.]+", part.strip()):
            if factor == "1":
                continue
            match = FACTOR.fullmatch(factor)
            if match is None:
                return {unit if re.fullmatch(r"\w+|\(.*\)", unit) else f"({unit})": 1}
            exponent = int(match[2] or 1) * (-1 if k else 1)
            powers[match[1]] = powers.get(match[1], 0) + exponent
    return powers
