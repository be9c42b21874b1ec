"""The units of the variables of a dataset: as they are stated, as they are given by name, and as they follow."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from workbench.dataset.tensors import COMPONENTS
from workbench.dataset.variables import RULES, Units, product, same_unit, state_labels, text_unit
from workbench.dataset.vocabulary import LEADING, QUANTITIES, nearest
from workbench.errors import DatasetError

__all__ = ["given_units", "labelled", "stated_units"]

FOLLOWS = {  # name of a variable: its key in the rules of `Units`
    "x": "state",
    "x_observed": "state",
    "time": "time",
    "potential": "potential",
    "gradient": "gradient",
    "velocity": "velocity",
    "stress": "potential",  # an energy density is a stress
    "dissipation": "potential",
}
DIMENSIONLESS = ("strain", "phase_fraction", "weight")
LABELS = ("sample", "trajectory")  # dimensionless if they are integers
OF_PATHS = ("stress", "potential", "time")
STRAIN = ("1",) * len(COMPONENTS)


def given_units(units: Mapping[str, str] | None, states: Sequence[str], kind: str) -> Units:
    """Return units that are given by name.

    Parameters
    ----------
    units : mapping of str to str, or None
        Keys: names of states, "x" for all states, "potential" and "time"; for paths "stress" or, which is the same,
        "potential", and "time".
    states : sequence of str
        Names of the states.
    kind : str
        "points", "trajectories" or "paths".

    Returns
    -------
    Units
        The units; those that are not given are unknown. Strain is dimensionless.

    Raises
    ------
    DatasetError
        If a name is unknown, a unit is not text, or the units of stress and potential differ.

    Examples
    --------
    >>> given_units({"stress": "kPa"}, [], "paths").potential
    'kPa'
    """
    if units is not None and not isinstance(units, Mapping):
        raise DatasetError(f'units must be given by name, such as {{"x": "nm", "time": "ps"}}; got {units!r}')
    if kind != "paths":
        return Units.given(units, states)
    units = dict(units or {})
    for name, unit in units.items():
        if name not in OF_PATHS:
            raise DatasetError(f"units names {name!r}{nearest(name, OF_PATHS) or ';'} known are {', '.join(OF_PATHS)}")
        text_unit(name, unit)
    found = Units(STRAIN, units.get("potential"), units.get("time"))
    return found.agreed(Units(potential=units.get("stress")), "units", "that of stress")


def stated_units(data: xr.Dataset) -> Units:
    """Return the units that points, trajectories or paths state.

    Parameters
    ----------
    data : xarray.Dataset
        Data with a variable `x` or `strain`.

    Returns
    -------
    Units
        As `Units.read` finds them. That of the potential also follows from those of gradient and states, that of time
        from those of states and velocity, and the potential of paths from their stress and dissipation.

    Raises
    ------
    DatasetError
        If a unit is not text, two contradict each other, or strain is not dimensionless.

    Examples
    --------
    >>> import workbench as wb
    >>> stated_units(wb.dataset.points([1.0, 2.0], units={"x": "nm"})).states
    ('nm',)
    """
    for name, array in data.variables.items():
        text_unit(str(name), array.attrs.get("units"))
    units = Units.read(data)
    if "x" in data:
        return _completed(data, units)
    for name in ("stress", "dissipation"):
        if name in data:
            units = units.agreed(Units(potential=data[name].attrs.get("units")), "the data", f"the variable {name}")
    unit = data["strain"].attrs.get("units", "1")
    if unit != "1":
        raise DatasetError(f"strain is dimensionless, but its unit is {unit!r}: convert it and set the unit to '1'")
    return Units(STRAIN, units.potential, units.time)


def labelled(data: xr.Dataset, units: Units) -> xr.Dataset:
    """Return the data with the units of all variables that follow from those of states, potential and time.

    A variable that states a unit keeps it, unless it contradicts the one that follows. States of unlike units have a
    coordinate `unit` instead of an attribute.

    Parameters
    ----------
    data : xarray.Dataset
        Points, trajectories or paths.
    units : Units
        Units of the states, the potential and time; where one is unknown, nothing is written.

    Returns
    -------
    xarray.Dataset
        The data with attributes `units`, and the attributes `potential_unit` and `time_unit` of the dataset.

    Raises
    ------
    DatasetError
        If a variable states another unit than the one that follows.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.dataset.points([[1.0, 2.0]], gradient=[[3.0, 4.0]])
    >>> labelled(data, Units(("nm", "nm"), potential="kJ/mol")).gradient.units
    'kJ/mol/nm'
    """
    dim = LEADING["points" if "x" in data else "paths"][1]
    if "unit" in data.coords and data["unit"].dims == (dim,):
        data = data.drop_vars("unit")
    data = data.copy().assign_attrs(units.attrs())
    if "x" in data and not units.alike:
        data["x"].attrs.pop("units", None)
        data = data.assign_coords(unit=state_labels(data[dim].values.tolist(), units)["unit"])
    for name in map(str, data.variables):
        unit = _unit_of(name, data, units)
        if unit is not None and unit != data[name].attrs.setdefault("units", unit):
            _check_stated(name, data[name].attrs["units"], unit)
    return data


def _check_stated(name: str, stated: str, unit: str) -> None:
    """Raise `DatasetError` if a variable states another unit than the one that follows; weights may have any."""
    if not (same_unit(stated, unit) or name.startswith("weight") or name in LABELS):
        raise DatasetError(
            f"the unit of {name} is {stated!r}, but {unit!r} follows from {_origin(name)}: convert the values, or "
            "change the unit"
        )


def _completed(data: xr.Dataset, units: Units) -> Units:
    """Return the units of points or trajectories with those that follow from the gradient and the velocity."""
    state = units.of("state")
    gradient, velocity = (
        data[name].attrs.get("units") if name in data.variables else None for name in ("gradient", "velocity")
    )
    potential = units.potential or product((gradient, 1), (state, 1))
    return Units(units.states, potential, units.time or product((state, 1), (velocity, -1)))


def _origin(name: str) -> str:
    """Return, in words, what determines the unit of a variable."""
    if name in FOLLOWS:
        known = ("potential", "x", "time")
        return "that of " + " and ".join(of for of, n in zip(known, RULES[FOLLOWS[name]], strict=True) if n)
    if name == "sigma":
        return "that of the quantity with this noise level"
    return "its meaning" if name in DIMENSIONLESS else f"that of {name.removeprefix('sigma_')}"


def _unit_of(name: str, data: xr.Dataset, units: Units) -> str | None:
    """Return the unit of a variable by name, as it follows from `units`; None if it is unknown."""
    if name in FOLLOWS:
        return units.of(FOLLOWS[name])
    if name in DIMENSIONLESS or name.startswith("weight_"):
        return "1"
    if name in LABELS:
        return "1" if data[name].dtype.kind in "iu" else None
    if name == "sigma":
        return _unit_of_noise(data, units)
    quantity: Any = name.removeprefix("sigma_")
    if quantity == name or quantity not in data.variables:
        return units.of(FOLLOWS[quantity]) if quantity != name and quantity in FOLLOWS else None
    return data[quantity].attrs.get("units", _unit_of(quantity, data, units))


def _unit_of_noise(data: xr.Dataset, units: Units) -> str | None:
    """Return the unit of `sigma`: that of stress, of the quantities beside the states, or of the states if alone."""
    measured = ["stress"] if "strain" in data else [q for q in QUANTITIES if q in data and q != "x"] or ["x"]
    found = {_unit_of(f"sigma_{quantity}", data, units) for quantity in measured}
    return found.pop() if len(found) == 1 else None
