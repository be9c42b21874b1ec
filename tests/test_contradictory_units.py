"""Units that contradict each other are refused, whatever their notation; those that follow are derived."""

import numpy as np
import pytest
import xarray as xr

from workbench import dataset
from workbench.dataset import Units
from workbench.errors import DatasetError

KNOWN = {"x": "nm", "potential": "kJ/mol", "time": "ps"}


def stated(known=(), **units):
    """Return unchecked points of two states, with the `units` of their variables."""
    x = np.ones((3, 2))
    noise = {"sigma": {"potential": 0.1, "gradient": 0.2}}
    data = dataset.points(x, potential=x[:, 0], gradient=x, velocity=x, **noise)
    for name, unit in ({name: KNOWN[name] for name in known} | units).items():
        if name == "time":
            data.attrs["time_unit"] = unit
        else:
            data[name].attrs["units"] = unit
    return data


@pytest.mark.parametrize(
    ("name", "unit", "message"),
    [
        ("gradient", "kcal/mol/nm", "'kcal/mol/nm', but 'kJ/mol/nm' follows from that of potential and x: convert"),
        ("gradient", "kJ/mol/Å", "'kJ/mol/Å', but 'kJ/mol/nm' follows from that of potential and x"),
        ("velocity", "nm/ns", "'nm/ns', but 'nm/ps' follows from that of x and time"),
        ("velocity", "furlong", "'furlong', but 'nm/ps' follows from that of x and time"),
        ("sigma_potential", "eV", "'eV', but 'kJ/mol' follows from that of potential"),
        ("sigma_gradient", "kJ/mol", "'kJ/mol', but 'kJ/mol/nm' follows from that of gradient"),
    ],
)
def test_a_stated_unit_does_not_contradict_the_one_that_follows(name, unit, message):
    with pytest.raises(DatasetError, match=f"the unit of {name} is {message}"):
        dataset.check(stated(KNOWN, **{name: unit}))


@pytest.mark.parametrize("unit", ["kJ mol-1 nm-1", "kJ mol⁻¹ nm⁻¹", "kJ/(mol nm)", "kJ·mol**-1·nm**-1", "kJ/nm/mol"])
def test_notations_of_one_unit_agree(unit):
    assert dataset.check(stated(KNOWN, gradient=unit))["gradient"].attrs["units"] == unit
    alone = dataset.check(stated(("x",), gradient=unit))
    assert alone.attrs["potential_unit"] == alone["potential"].attrs["units"] == "kJ/mol"


def test_units_that_cannot_be_compared_are_kept():
    assert dataset.check(stated(KNOWN, gradient="kJ per mol, nm")).attrs["potential_unit"] == "kJ/mol"


def test_units_follow_from_those_of_gradient_and_velocity():
    checked = dataset.check(stated(("x",), velocity="nm/ps", gradient="kcal/mol/nm"))
    assert (checked.attrs["potential_unit"], checked.attrs["time_unit"]) == ("kcal/mol", "ps")
    with pytest.raises(DatasetError, match="the unit of sigma_potential is 'eV', but 'kcal/mol' follows"):
        dataset.check(stated(("x",), gradient="kcal/mol/nm", sigma_potential="eV"))


def test_one_notation_of_the_unit_of_the_potential_is_enough():
    data = stated(("x",), potential="kJ mol-1").assign_attrs(potential_unit="kJ/mol")
    assert dataset.check(data)["gradient"].attrs["units"] == "kJ/mol/nm"


def test_a_state_called_x_is_not_all_states():
    data = dataset.points(np.ones((3, 2)), states=["x", "y"], units={"x": "nm", "y": "degree"})
    assert data["unit"].values.tolist() == ["nm", "degree"]


def test_a_grid_with_an_axis_called_x_has_readable_units():
    axes = {"x": ("x", [0.0, 1.0], {"units": "nm"}), "unit": ("state", ["nm", "degree"])}
    grid = xr.Dataset({"gradient": (("x", "state"), np.ones((2, 2)))}, axes)
    assert Units.read(grid).states == ("nm", "degree")
