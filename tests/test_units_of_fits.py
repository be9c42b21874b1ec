"""Units on their way from the data through a fit, the questions to it, a simulation and a file."""

import numpy as np
import pytest

import systems
import workbench as wb
from workbench.dataset.variables import Units

QUICK = wb.LevenbergMarquardt(steps=25, screening=5)


class Hinge(systems.PotentialSystem):
    """A distance in nm and an angle in degrees."""

    state_space = (
        systems.State("r", "distance", "nm", box=(-1.5, 1.5)),
        systems.State("phi", "angle", "degree", box=(-60.0, 60.0)),
    )
    potential_unit = "kJ/mol"
    time_unit = "ps"

    def potential(self, x):
        return (x[..., 0] ** 2 - 1) ** 2 + (x[..., 1] / 40) ** 2


class Bond(systems.PotentialSystem):
    """A distance in nm."""

    state_space = (systems.State("r", "distance", "nm", box=(-1.5, 1.5)),)
    potential_unit = "kJ/mol"
    time_unit = "ps"

    def potential(self, x):
        return ((x**2 - 1) ** 2).sum(-1)


def saved(system, match, folder):
    """Return the file of a fit with every question and a simulation."""
    quantity = "trajectories" if match == "velocity" else "points"
    data = getattr(system, quantity)(60 if quantity == "points" else 12, seed=0)
    fit = wb.fit(wb.LSEICNN(system.dim, 2, (6, 6)), data, match=match, seed=0, members=2, restarts=1, optimiser=QUICK)
    model, box = fit.model, system.box
    found = wb.stationary_points(system, box)
    minima = found.x.values[(found.kind == "minimum").values]
    analysis = {
        "stationary_points": wb.stationary_points(model, box),
        "wells": wb.wells(model, box),
        "graph": wb.graph(system, box),
        "paths": wb.minimum_energy_path(system, *minima[:2], within=box),
        "basins": wb.basins(model, box, resolution=9),
        "rates": wb.rates(system, box, temperature=0.1),
        "summary": wb.summary(wb.stationary_points(fit.ensemble, box)),
    }
    run = wb.simulate(model, minima[:1], [0.0, 1.0])
    landscape = wb.grid({"": model, "true": system}, box, 5, ensemble=fit.ensemble, member=fit.best)
    return wb.load(wb.save(folder / "all.nc", fits=fit, landscape=landscape, analysis=analysis, simulation=run))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    cases = {"hinge": (Hinge(), "potential"), "bond": (Bond(), "potential"), "flow": (Bond(), "velocity")}
    return {name: saved(*case, tmp_path_factory.mktemp(name)) for name, case in cases.items()}


# unit by group and variable: of one state in nm; of a state in nm and one in degrees, where it differs
TABLE = {
    "data/x": ("nm", None),
    "data/potential": ("kJ/mol", "kJ/mol"),
    "data/gradient": ("kJ/mol/nm", None),
    "fits/fit/x_shift": ("nm", None),
    "fits/fit/x_scale": ("nm", None),
    "fits/fit/x_low": ("nm", None),
    "fits/fit/offset": ("kJ/mol", "kJ/mol"),
    "fits/fit/potential_scale": ("kJ/mol", "kJ/mol"),
    "fits/fit/V1": ("1", "1"),
    "fits/fit/rho": ("1", "1"),
    "fits/fit/history/loss": ("1", "1"),
    "fits/fit/history/elapsed": ("s", "s"),
    "fits/fit/restarts/restart_loss": ("1", "1"),
    "fits/fit/predictions/potential": ("kJ/mol", "kJ/mol"),
    "fits/fit/predictions/potential_residual": ("kJ/mol", "kJ/mol"),
    "fits/fit/predictions/potential_rmse": ("kJ/mol", "kJ/mol"),
    "fits/fit/predictions/potential_offset": ("kJ/mol", "kJ/mol"),
    "fits/fit/predictions/potential_r2": ("1", "1"),
    "fits/fit/predictions/potential_relative_rmse": ("1", "1"),
    "fits/fit/predictions/gradient": ("kJ/mol/nm", None),
    "fits/fit/predictions/gradient_rmse": ("kJ/mol/nm", None),
    "landscape/potential": ("kJ/mol", "kJ/mol"),
    "landscape/potential_true": ("kJ/mol", "kJ/mol"),
    "landscape/potential_std": ("kJ/mol", "kJ/mol"),
    "landscape/gradient": ("kJ/mol/nm", None),
    "landscape/gradient_std": ("kJ/mol/nm", None),
    "landscape/r": ("nm", "nm"),
    "analysis/stationary_points/x": ("nm", None),
    "analysis/stationary_points/potential": ("kJ/mol", "kJ/mol"),
    "analysis/stationary_points/eigenvalue": ("kJ/mol/nm^2", None),
    "analysis/wells/prominence": ("kJ/mol", "kJ/mol"),
    "analysis/wells/mode_weight": ("1", "1"),
    "analysis/graph/barrier": ("kJ/mol", "kJ/mol"),
    "analysis/paths/x": ("nm", None),
    "analysis/paths/distance": ("nm", None),
    "analysis/paths/potential": ("kJ/mol", "kJ/mol"),
    "analysis/paths/barrier": ("kJ/mol", "kJ/mol"),
    "analysis/basins/well_x": ("nm", None),
    "analysis/basins/well_potential": ("kJ/mol", "kJ/mol"),
    "analysis/basins/basin_fraction": ("1", "1"),
    "analysis/rates/rate": ("1/ps", "1/ps"),
    "analysis/rates/time": ("ps", "ps"),
    "analysis/summary/x": ("nm", None),
    "simulation/x": ("nm", None),
    "simulation/time": ("ps", "ps"),
}


@pytest.mark.parametrize("path", TABLE)
@pytest.mark.parametrize(("name", "column"), [("bond", 0), ("hinge", 1)])
def test_every_group_of_a_file_carries_units(files, name, column, path):
    assert files[name][path].attrs.get("units") == TABLE[path][column]


def test_states_of_unlike_units_are_labelled_in_every_group(files):
    for node in files["hinge"].tree.subtree:
        own = node.to_dataset(inherit=False)
        if "state" in own.dims and node.path != "/fits/fit/predictions":
            assert own["unit"].values.tolist() == ["nm", "degree"], node.path
        assert "mixed" not in {variable.attrs.get("units") for variable in own.variables.values()}
    assert "unlike units" in files["hinge"]["analysis/stationary_points/eigenvalue"].attrs["description"]


def test_numbers_without_dimension_alone_say_1(files):
    """What is written as "1" is a ratio, a weight of the scaled network, a count or a label of one."""
    allowed = ("fits/fit", "history", "restarts")
    ratios = ("relative", "_r2", "mode_weight", "basin_fraction", "temperature")
    for node in files["bond"].tree.subtree:
        if node.path.strip("/").endswith(allowed):
            continue
        for name, variable in node.to_dataset(inherit=False).data_vars.items():
            if variable.attrs.get("units") == "1":
                counts = variable.dtype.kind in "iu"
                assert counts or any(ratio in name for ratio in ratios), f"{node.path}/{name}"


def test_a_flow_gives_its_potential_the_unit_of_motion(files):
    """ẋ = −∇Ψ: where the data do not state the unit of Ψ, it is state²/time; here they do."""
    assert files["flow"]["fits/fit/offset"].attrs["units"] == "kJ/mol"
    runs = Bond().trajectories(12, seed=0)
    plain = wb.dataset.trajectories(
        runs.x.values, runs.time.values, velocity=runs.velocity.values, units={"x1": "nm", "time": "ps"}
    )
    fit = wb.fit(wb.LSEICNN(1, 2, (4,)), plain, match="velocity", seed=0, restarts=1, optimiser=QUICK)
    assert fit.model.units == Units(("nm",), potential="nm^2/ps", time="ps")
    assert wb.stationary_points(fit.model, [(-2, 2)]).eigenvalue.attrs["units"] == "1/ps"
    assert wb.predict(fit.model, plain).velocity.attrs["units"] == "nm/ps"


def test_a_fit_to_points_knows_the_time(files):
    model = files["bond"].models["fit"]
    assert model.units == Units(("nm",), "kJ/mol", "ps")
    assert files["bond"]["fits/fit"].attrs["time_unit"] == "ps"
    assert model.gauge == "that of the data"
    assert files["flow"].models["fit"].gauge == "zero at the lowest training sample"


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda model, data: wb.predict(model, data), "'nm' in the model, but 'angstrom' in the data"),
        (lambda model, data: wb.score(model, data), "'nm' in the model, but 'angstrom' in the data"),
        (
            lambda model, data: wb.fit(model, data, match="potential", seed=0, warm_start=True, optimiser=QUICK),
            "'nm' in the model, but 'angstrom' in the data",
        ),
        (lambda model, data: wb.WeightedSum([model, other(data)], [1, 1]), "'nm' in .* but 'angstrom' in"),
        (lambda model, data: wb.grid({"": model, "b": other(data)}, [(-1, 1)], 3), "'nm' in .* but 'angstrom' in"),
    ],
)
def test_units_that_contradict_each_other_are_refused(files, use, message):
    x = np.linspace(-15, 15, 30)
    data = wb.dataset.points(x, potential=x**2, states=["r"], units={"r": "angstrom"})
    with pytest.raises(wb.DatasetError, match=message):
        use(files["bond"].models["fit"], data)


def other(data):
    """Return a model that was trained in other units."""
    return wb.fit(wb.LSEICNN(1, 1, (3,)), data, match="potential", seed=0, restarts=1, optimiser=QUICK).model


def test_the_mobility_of_a_motion_is_stated(files):
    """ẋ = −∇Ψ in kJ/mol, nm and ps has the mobility 1 mol nm²/(kJ ps); a potential of a flow has none to state."""
    for path in ("simulation", "analysis/rates"):
        assert files["bond"][path].attrs["mobility"] == "1 mol nm^2/kJ/ps"
        assert files["hinge"][path].attrs["mobility"] == "1 mol nm^2/kJ/ps, 1 mol degree^2/kJ/ps"
    assert "mobility" not in wb.simulate(systems.get("gene_circuit"), [[1.0, 1.0]], [0.0, 1.0]).attrs
