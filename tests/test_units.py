"""Every variable has the unit that follows from those of states, potential and time, or none where that is unknown."""

import numpy as np
import pytest
import xarray as xr

import systems
import workbench as wb
from workbench import dataset
from workbench.errors import DatasetError
from workbench.files.data import read_data

UNITS = {"potential": "kJ/mol", "time": "ps"}
TIME = np.linspace(0, 1, 6)


class Hinge(systems.PotentialSystem):
    """Two states of unlike units."""

    state_space = (
        systems.State("r", "distance", "nm", box=(0.5, 1.0)),
        systems.State("phi", "angle", "degree", box=(-1.0, 1.0)),
    )
    potential_unit = "kJ/mol"
    time_unit = "ps"

    def potential(self, x):
        return ((x**2 - 1) ** 2).sum(-1)


class Bond(Hinge):
    """One state."""

    state_space = (systems.State("r", "distance", "nm", box=(0.5, 1.5)),)


class Bare(Hinge):
    """Nothing is known."""

    state_space = (systems.State("r", box=(0.5, 1.5)),)
    potential_unit = None
    time_unit = None


class Slider(systems.PathSystem):
    """A material whose stress has a largest value."""

    potential_unit = "kPa"
    time_unit = "ms"

    def respond(self, strain):
        stress, scalar = np.clip(strain, -0.1, 0.1), np.zeros(strain.shape[:-1])
        return {"stress": stress, "potential": scalar, "phase_fraction": scalar, "dissipation": scalar}


class Decay(systems.ReactionNetwork):
    """A network; counts need no declaration."""

    state_space = (systems.State("X", "number of molecules", box=(0, 5)),)
    time_unit = "s"

    def start(self):
        return (5,)

    def reactions(self):
        return [("X ->", 1.0)]


def own_trajectories(equal=True, units=None):
    """Return a user's trajectories of two states, with noise levels."""
    x = [np.ones((6, 2)), np.zeros((6 if equal else 5, 2))]
    time = [TIME[: len(one)] for one in x]
    potential = [one[:, 0] for one in x]
    noise = {"sigma": {"x": 0.1, "potential": 0.1}, "weight": 2.0}
    return dataset.trajectories(x, time, velocity=x, potential=potential, states=["r", "phi"], units=units, **noise)


def own_points(units=None, **options):
    """Return a user's points of two states."""
    x = np.ones((3, 2))
    return dataset.points(x, potential=x[:, 0], gradient=x, velocity=x, states=["r", "phi"], units=units, **options)


def own_paths(units=None):
    """Return a user's paths of unequal lengths."""
    paths, scalars = [np.zeros((4, 6)), np.zeros((3, 6))], [np.zeros(4), np.zeros(3)]
    return dataset.paths(paths, stress=paths, potential=scalars, dissipation=scalars, sigma=0.1, units=units)


def passage(system):
    """Return quick first passages."""
    return wb.first_passage(system, [1.0], [-1.0], 0.5, radius=0.2, end=50.0, step=0.05, count=16, seed=0)


UNLIKE = {"r": "nm", "phi": "degree", **UNITS}
ALIKE = {"x": "nm", **UNITS}
CASES = {  # name: a dataset
    "points": lambda: Hinge().points(4, seed=0),
    "points of one state": lambda: Bond().points(4, seed=0),
    "points of no units": lambda: Bare().points(4, seed=0),
    "trajectories": lambda: Hinge().trajectories(2, time=TIME, seed=0),
    "trajectories of one state": lambda: Bond().trajectories(2, time=TIME, seed=0),
    "trajectories as rows": lambda: dataset.flat(Bond().trajectories(2, time=TIME, seed=0)),
    "trajectories with time as a state": lambda: dataset.timed(own_trajectories(units=ALIKE)),
    "velocities": lambda: wb.velocities(Hinge().trajectories(2, time=TIME, seed=0).drop_vars("velocity")),
    "velocities of one state": lambda: wb.velocities(Bond().trajectories(2, time=TIME, seed=0)),
    "velocities of no units": lambda: wb.velocities(Bare().trajectories(2, time=TIME, seed=0)),
    "material": lambda: Slider().paths(2, seed=0),
    "network": lambda: Decay().trajectories(2, time=TIME, seed=0),
    "law": lambda: Decay().law(TIME),
    "own points": lambda: own_points(UNLIKE, sigma=0.1, split=["train", "train", "test"]),
    "own points of like states": lambda: own_points(ALIKE, sigma={"gradient": 0.1}),
    "own trajectories": lambda: own_trajectories(units=UNLIKE),
    "own trajectories of like states": lambda: own_trajectories(units=ALIKE),
    "own trajectories of unequal lengths": lambda: own_trajectories(False, ALIKE),
    "own trajectories of no units": lambda: own_trajectories(False),
    "own paths": lambda: own_paths({"stress": "kPa", "time": "ms"}),
    "own paths of no units": own_paths,
    "simulation": lambda: wb.simulate(Hinge(), [[0.5, 0.5]], TIME),
    "simulation of one state": lambda: wb.simulate(Bond(), [[0.5]], TIME, temperature=0.1, step=0.01, seed=0),
    "simulation of no units": lambda: wb.simulate(Bare(), [[0.5]], TIME),
    "first passage": lambda: passage(Bond()),
    "first passage of no units": lambda: passage(Bare()),
}
TEXT = {"state": None, "unit": None}
SAMPLES = {"sample": "1", "state": None}
RUNS = {"trajectory": "1", "state": None}
PATHS = {"trajectory": "1", "component": None, "strain": "1"}
SMOOTH = ("x", "x_observed", "sigma_x", "velocity", "sigma_velocity")
ENERGY = "kJ/mol"
TABLE = {  # case: unit of every variable, None for none
    "points": SAMPLES | TEXT | {"x": None, "potential": ENERGY, "gradient": None},
    "points of one state": SAMPLES | {"x": "nm", "potential": ENERGY, "gradient": "kJ/mol/nm"},
    "points of no units": SAMPLES | {"x": None, "potential": None, "gradient": None},
    "trajectories": RUNS | TEXT | {"x": None, "velocity": None, "time": "ps"},
    "trajectories of one state": RUNS | {"x": "nm", "velocity": "nm/ps", "time": "ps"},
    "trajectories as rows": SAMPLES | RUNS | {"x": "nm", "velocity": "nm/ps", "time": "ps"},
    "trajectories with time as a state": SAMPLES | TEXT | {"x": None, "weight": "1"},
    "velocities": RUNS | TEXT | {"time": "ps"} | dict.fromkeys(SMOOTH),
    "velocities of one state": RUNS | {"x": "nm", "x_observed": "nm", "sigma_x": "nm", "time": "ps"}
    | {"velocity": "nm/ps", "sigma_velocity": "nm/ps"},
    "velocities of no units": RUNS | {"time": None} | dict.fromkeys(SMOOTH),
    "material": PATHS | {"stress": "kPa", "potential": "kPa", "dissipation": "kPa", "phase_fraction": "1"}
    | {"time": "ms"},
    "network": RUNS | {"x": "1", "time": "s"},
    "law": {"probability": "1", "lost": "1", "X": "1", "time": "s"},
    "own points": SAMPLES | TEXT | {"x": None, "potential": ENERGY, "gradient": None, "velocity": None, "sigma": None}
    | {"split": None},
    "own points of like states": SAMPLES | {"x": "nm", "potential": ENERGY, "gradient": "kJ/mol/nm"}
    | {"velocity": "nm/ps", "sigma_gradient": "kJ/mol/nm"},
    "own trajectories": RUNS | TEXT | {"x": None, "velocity": None, "potential": ENERGY, "time": "ps"}
    | {"sigma_x": None, "sigma_potential": ENERGY, "weight": "1"},
    "own trajectories of like states": RUNS | {"x": "nm", "velocity": "nm/ps", "potential": ENERGY, "time": "ps"}
    | {"sigma_x": "nm", "sigma_potential": ENERGY, "weight": "1"},
    "own trajectories of unequal lengths": SAMPLES | RUNS | {"x": "nm", "velocity": "nm/ps", "potential": ENERGY}
    | {"time": "ps", "sigma_x": "nm", "sigma_potential": ENERGY, "weight": "1"},
    "own trajectories of no units": SAMPLES | RUNS | {"weight": "1"}
    | dict.fromkeys(("x", "velocity", "potential", "time", "sigma_x", "sigma_potential")),
    "own paths": PATHS | {"stress": "kPa", "potential": "kPa", "dissipation": "kPa", "sigma": "kPa", "time": "ms"}
    | {"valid": None},
    "own paths of no units": PATHS | dict.fromkeys(("stress", "potential", "dissipation", "sigma", "time", "valid")),
    "simulation": RUNS | TEXT | {"x": None, "potential": ENERGY, "time": "ps"},
    "simulation of one state": RUNS | {"x": "nm", "potential": ENERGY, "time": "ps"},
    "simulation of no units": RUNS | {"x": None, "potential": None, "time": None},
    "first passage": {"trajectory": "1", "bound": None, "arrived": None, "time": "ps", "mean": "ps", "interval": "ps"},
    "first passage of no units": {"trajectory": "1", "bound": None, "arrived": None}
    | dict.fromkeys(("time", "mean", "interval")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_variable_has_its_unit(case):
    data = CASES[case]()
    assert {name: array.attrs.get("units") for name, array in data.variables.items()} == TABLE[case]


@pytest.mark.parametrize(
    ("case", "unit"),
    [
        ("points", ["nm", "degree"]),
        ("trajectories", ["nm", "degree"]),
        ("velocities", ["nm", "degree"]),
        ("own points", ["nm", "degree"]),
        ("own trajectories", ["nm", "degree"]),
        ("simulation", ["nm", "degree"]),
        ("trajectories with time as a state", ["nm", "nm", "ps"]),
    ],
)
def test_states_of_unlike_units_are_labelled(case, unit):
    data = CASES[case]()
    assert data["unit"].dims == ("state",)
    assert data["unit"].values.tolist() == unit


@pytest.mark.parametrize("case", CASES)
def test_units_of_potential_and_time_stay_with_the_data(case):
    known = {"potential_unit": "kJ/mol", "time_unit": "ps"}
    special = {
        "material": {"potential_unit": "kPa", "time_unit": "ms"},
        "own paths": {"potential_unit": "kPa", "time_unit": "ms"},
        "network": {"time_unit": "s"},
        "law": {"time_unit": "s"},
    }
    expected = {} if "no units" in case else special.get(case, known)
    data = CASES[case]()
    assert {name: data.attrs[name] for name in known if name in data.attrs} == expected


@pytest.mark.parametrize("name", systems.names())
def test_built_in_systems_are_dimensionless(name):
    units = systems.get(name).units
    assert {*units.states, units.potential, units.time} == {"1"}


def test_a_system_with_units_is_measured():
    from workbench.potentials.potential import Measured, units_of

    assert isinstance(Hinge(), Measured)
    assert units_of(Hinge()) == dataset.Units(("nm", "degree"), "kJ/mol", "ps")


def test_units_of_systems_are_text():
    with pytest.raises(systems.ParameterError, match="the unit of the state x must be text, .*; got 5"):
        systems.State("x", unit=5)
    with pytest.raises(systems.ParameterError, match="the unit of the time of Odd must be text, .*; got ''"):
        type("Odd", (Hinge,), {"time_unit": "", "__module__": __name__})
    with pytest.raises(systems.ParameterError, match="the unit of the potential of Odd must be text, .*; got 1"):
        type("Odd", (Hinge,), {"potential_unit": 1, "__module__": __name__})


@pytest.mark.parametrize(
    ("make", "units", "message"),
    [
        (own_points, {"rr": "nm"}, "units names 'rr', did you mean 'r'"),
        (own_points, {"gradient": "nm"}, "units names 'gradient'; known are r, phi, x, potential, time"),
        (own_points, {"r": 5}, "the unit of r must be text, .*; got 5"),
        (own_points, {"time": " "}, "the unit of time must be text"),
        (own_points, {"x": "nm", "r": "Å"}, "units gives 'nm' for all states, by 'x', but 'Å' for r"),
        (own_points, "nm", "units must be given by name, such as .*; got 'nm'"),
        (own_paths, {"strss": "kPa"}, "units names 'strss', did you mean 'stress'"),
        (own_paths, {"x": "nm"}, "units names 'x'; known are stress, potential, time"),
        (own_paths, {"stress": 5}, "the unit of stress must be text"),
        (own_paths, {"stress": "kPa", "potential": "J"}, "potential is 'J' in units, but 'kPa' in that of stress"),
    ],
)
def test_units_that_make_no_sense_are_refused(make, units, message):
    with pytest.raises(DatasetError, match=message):
        make(units=units)


def labelled_as(data, **units):
    """Return the data with attributes `units` of some variables."""
    data = data.copy(deep=True)
    for name, unit in units.items():
        data[name].attrs["units"] = unit
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (labelled_as(own_points(), x=5), "the unit of x must be text, .*; got 5"),
        (labelled_as(own_points(), gradient=1.0), "the unit of gradient must be text, .*; got 1.0"),
        (own_points().assign_attrs(time_unit=3), "the unit of time must be text, .*; got 3"),
        (own_points({"potential": "J"}).assign_attrs(potential_unit="eV"), "stated twice, 'J' by .* and 'eV' by"),
        (labelled_as(own_points(UNLIKE), x="nm"), "x has the unit 'nm', but the coordinate unit says"),
        (labelled_as(own_paths(), stress="kPa", potential="J"), "'J' in the data, but 'kPa' in the variable stress"),
        (labelled_as(own_paths(), stress="kPa", dissipation="J"), "'kPa' in the data, but 'J' in the variable diss"),
        (labelled_as(own_paths(), strain="%"), "strain is dimensionless, but its unit is '%'"),
    ],
)
def test_units_are_checked_on_entry(data, message):
    with pytest.raises(DatasetError, match=message):
        dataset.check(data)


def test_units_on_entry_are_completed_and_the_data_given_are_not_changed():
    raw = labelled_as(own_points(), x="nm", potential="kJ/mol").assign_attrs(time_unit="ps")
    before = raw.copy(deep=True)
    checked = dataset.check(raw)
    assert raw.identical(before)
    assert checked["gradient"].attrs["units"] == "kJ/mol/nm"
    assert checked["velocity"].attrs["units"] == "nm/ps"
    assert checked.attrs["potential_unit"] == "kJ/mol"
    assert dataset.check(checked).identical(checked)
    stated = dataset.check(labelled_as(raw, velocity="nm ps-1"))
    assert stated["velocity"].attrs["units"] == "nm ps-1"


def test_stress_on_entry_says_the_unit_of_the_potential():
    checked = dataset.check(labelled_as(own_paths(), stress="kPa"))
    assert checked["potential"].attrs["units"] == checked.attrs["potential_unit"] == "kPa"


def test_rearranged_data_keep_units_and_attributes():
    runs = own_trajectories(units=UNLIKE)
    for one in (dataset.flat(runs), dataset.folds(runs, 2)[0], dataset.with_states(runs, ["r", "phi"])):
        assert one["unit"].values.tolist() == ["nm", "degree"]
        assert one["time"].attrs["units"] == "ps"
        assert one.attrs == runs.attrs
    turned = dataset.with_states(runs, ["phi", "r"])
    assert turned["unit"].values.tolist() == ["degree", "nm"]
    one = dataset.check(runs.sel(state=["r"]))
    assert "unit" not in one.coords
    assert one["velocity"].attrs["units"] == "nm/ps"
    assert dataset.timed(runs).attrs == runs.attrs
    alike = dataset.timed(dataset.trajectories(np.ones((2, 3, 1)), range(3), units={"x": "1", "time": "1"}))
    assert alike["x"].attrs["units"] == "1"


def test_a_coordinate_of_the_users_own_named_unit_is_kept():
    data = dataset.check(own_points(ALIKE).assign_coords(unit=("sample", ["a", "b", "c"])))
    assert data["unit"].values.tolist() == ["a", "b", "c"]
    assert data["x"].attrs["units"] == "nm"


def test_data_with_a_potential_say_where_it_is_zero():
    assert Hinge().points(3, seed=0).attrs["gauge"] == "that of its formula"
    assert own_points().attrs["gauge"] == "that of the data"
    assert systems.get("rossi").paths(2, seed=0).attrs["gauge"] == "zero in the unstrained first phase"
    assert wb.simulate(Bond(), [[0.5]], TIME).attrs["gauge"] == "that of the potential analysed"
    assert "gauge" not in Hinge().trajectories(2, time=TIME, seed=0).attrs


# ---- files


def exported(path, **units):
    """Write trajectories of two variables, whose units are those given."""
    size = ("trajectory", "time")
    arrays = {name: (size, np.ones((2, 3)), {"units": units[name]} if name in units else {}) for name in "ab"}
    time = ("time", [0.0, 1.0, 2.0], {"units": units["time"]} if "time" in units else {})
    xr.Dataset(arrays, {"time": time}).to_netcdf(path)
    return {"states": ["a", "b"]}


def test_files_and_arguments_say_units_together():
    data = read_data("some.nc", **exported("some.nc", a="nm", time="seconds"), units={"b": "degree", "potential": "J"})
    assert data["unit"].values.tolist() == ["nm", "degree"]
    assert data["time"].attrs["units"] == data.attrs["time_unit"] == "seconds"
    assert data["time"].dtype == np.float64
    assert data.attrs["potential_unit"] == "J"
    half = read_data("half.nc", **exported("half.nc", a="nm"))
    assert half["unit"].values.tolist() == ["nm", ""]
    assert "units" not in half["x"].attrs
    assert "units" not in half["time"].attrs


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"a": "mm"}, "odd.nc: the unit of state 1 is 'nm' in the file, but 'mm' in units: convert one of them"),
        ({"time": "h"}, "odd.nc: the unit of time is 's' in the file, but 'h' in units"),
        ({"c": "h"}, "odd.nc: units names 'c'"),
        ({"a": 1}, "odd.nc: the unit of a must be text"),
    ],
)
def test_files_are_not_contradicted(units, message):
    with pytest.raises(DatasetError, match=message):
        read_data("odd.nc", **exported("odd.nc", a="nm", time="s"), units=units)


def test_units_of_files_are_text():
    with pytest.raises(DatasetError, match="odd.nc: the unit of a must be text, .*; got "):
        read_data("odd.nc", **exported("odd.nc", a=3))


def test_units_survive_a_file():
    data = own_trajectories(units=UNLIKE)
    data.to_netcdf("plain.nc")
    assert read_data("plain.nc").identical(data)
