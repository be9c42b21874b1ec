"""What answers of a landscape say about themselves: units, the zero of the potential, names; and plain classes."""

import numpy as np
import pytest
import torch
import xarray as xr

import workbench as wb
from workbench.dataset.variables import Units
from workbench.errors import DatasetError
from workbench.potentials.bridge import require_potential
from workbench.potentials.ensembles import stacked
from workbench.potentials.potential import gauge_of, units_of

BOX = [(-1.6, 1.6), (-1.0, 1.2)]
ALIKE = Units(("nm", "nm"), potential="kJ/mol", time="ps")
UNLIKE = Units(("nm", "degree"), potential="kJ/mol", time="ps")


class Tensors:
    """(x² − 1)² + a x + y², three methods that take tensors alone."""

    def __init__(self, tilt=0.2):
        self.tilt = tilt

    def value(self, x):
        return (x[..., 0].square() - 1).square() + self.tilt * x[..., 0] + x[..., 1].square()

    def gradient(self, x):
        u, v = x.unbind(-1)
        return torch.stack([4 * u * (u**2 - 1) + self.tilt, 2 * v], -1)

    def hessian(self, x):
        return torch.diag_embed(torch.stack([12 * x[..., 0] ** 2 - 4, torch.full_like(x[..., 0], 2)], -1))


class Arrays(Tensors):
    """The same in NumPy: arrays are returned."""

    def value(self, x):
        return super().value(torch.as_tensor(x)).numpy()

    def gradient(self, x):
        return super().gradient(torch.as_tensor(x)).numpy()

    def hessian(self, x):
        return super().hessian(torch.as_tensor(x)).numpy()


class Several(Tensors):
    """Three members of different tilt, also without names."""

    members = 3
    tilts = (0.1, 0.2, 0.3)

    def member(self, k):
        return Tensors(self.tilts[k])


class Known(Tensors):
    """The same with names, units and a zero of its own."""

    states, members, gauge = ("r", "phi"), None, "zero at the ruler"

    def __init__(self, units, tilt=0.2):
        super().__init__(tilt)
        self.units = units

    def value(self, x):
        return super().value(torch.as_tensor(x))

    def gradient(self, x):
        return super().gradient(torch.as_tensor(x))

    def hessian(self, x):
        return super().hessian(torch.as_tensor(x))


def answers(potential):
    """Return the answers to all questions about one landscape."""
    points = wb.stationary_points(potential, BOX, starts=32)
    blend = wb.Blend(potential, potential, wb.Ramp(0.0, 1.0)) if hasattr(potential, "states") else None
    family = blend or (lambda b: potential)
    found = {
        "points": points,
        "wells": wb.wells(potential, BOX, starts=32),
        "graph": wb.graph(potential, BOX, points=points),
        "rates": wb.rates(potential, BOX, 0.05, starts=32),
        "path": wb.minimum_energy_path(potential, (-1, 0), (1, 0), images=9, points=points),
        "basins": wb.basins(potential, BOX, resolution=4),
        "starts": wb.basins(potential, BOX, starts=[[-1.0, 0.1], [1.0, 0.1]]),
        "branches": wb.branches(family, BOX, seeds=2, starts=16, step=0.2),
    }
    if blend is not None:
        found["splitting"] = wb.splitting(blend, BOX, scan=2, starts=8)
    if potential.__class__ is not Several:
        found["grid"] = wb.grid(potential, BOX, points=3)
    return found


EXPECTED = {
    "points": {"x": "nm", "potential": "kJ/mol", "residual": "kJ/mol/nm", "eigenvalue": "kJ/mol/nm^2", "index": "1"},
    "wells": {"prominence": "kJ/mol"},
    "graph": {"joins": "1", "barrier": "kJ/mol"},
    "rates": {"rate": "1/ps", "time": "ps"},
    "path": {"x": "nm", "potential": "kJ/mol", "distance": "nm", "saddle": "nm", "saddle_potential": "kJ/mol",
             "saddle_eigenvalue": "kJ/mol/nm^2", "saddle_residual": "kJ/mol/nm", "barrier": "kJ/mol", "mismatch": "nm"},
    "basins": {"label": "1", "well_x": "nm", "well_potential": "kJ/mol", "basin_fraction": "1", "separatrix": "nm",
               "between": "1", "r": "nm", "phi": "nm"},
    "starts": {"x": "nm"},
    "branches": {"x": "nm", "b": "1", "potential": "kJ/mol", "eigenvalue": "kJ/mol/nm^2", "index": "1",
                 "bifurcation_x": "nm", "bifurcation_b": "1", "bifurcation_branch": "1"},
    "splitting": {"b": "1", "time": "ps", "minima": "1", "b_scanned": "1"},
    "grid": {"potential": "kJ/mol", "gradient": "kJ/mol/nm", "r": "nm", "phi": "nm"},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
def test_every_variable_has_the_unit_that_follows_from_those_of_the_landscape():
    for question, found in answers(Known(ALIKE)).items():
        said = {name: found[name].attrs.get("units") for name in EXPECTED[question]}
        assert said == EXPECTED[question], question
        stated = {name: found.attrs[name] for name in ("gauge", "potential_unit", "time_unit")}
        assert stated == {"gauge": "zero at the ruler", "potential_unit": "kJ/mol", "time_unit": "ps"}, question
        assert "unit" not in found.coords
        texts = [name for name in found.variables if found[name].dtype.kind == "U"]
        assert all("units" not in found[name].attrs for name in texts)
        assert set(texts) <= set(found.coords), "labels are coordinates"


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
def test_quantities_over_states_of_unlike_units_have_none():
    of_all_states = {"nm", "kJ/mol/nm", "kJ/mol/nm^2"}
    for question, found in answers(Known(UNLIKE)).items():
        for name, unit in EXPECTED[question].items():
            if name in Known.states:
                assert found[name].attrs["units"] == dict(zip(Known.states, UNLIKE.states, strict=True))[name]
            else:
                assert found[name].attrs.get("units") == (None if unit in of_all_states else unit), (question, name)
        if "state" in found.dims:
            assert found["unit"].values.tolist() == ["nm", "degree"], question
        for name in {"eigenvalue", "saddle_eigenvalue"} & set(found):
            assert found[name].attrs["description"].endswith("whose states have unlike units")


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
@pytest.mark.parametrize("landscape", [Tensors(), Arrays(), Several()], ids=lambda one: type(one).__name__)
def test_three_methods_suffice_for_every_question(landscape):
    known, counted = answers(Known(Units())), {"1": "only what is dimensionless by its meaning"}
    for question, found in answers(landscape).items():
        if "state" in found.dims:
            assert found["state"].values.tolist() == ["x1", "x2"]
        assert found.attrs["gauge"] == "that of its formula"
        assert {found[name].attrs.get("units", "1") for name in found.variables} == set(counted)
        assert "units" not in found[next(n for n in found if "potential" in n)].attrs
        if landscape.__class__ is Several:
            assert len(np.unique(found["member"])) == 3
            continue
        for name, values in known[question].items():
            if values.dtype.kind == "f" and question != "branches":
                np.testing.assert_allclose(found[name].values, values.values, rtol=1e-12, atol=1e-12)
    with pytest.raises(TypeError, match="Tensors does not name its states: give it an attribute `states`"):
        wb.Blend(Tensors(), Tensors(), wb.Ramp(0.0, 1.0))


def test_what_a_class_without_names_can_do_is_kept():
    class Able(Tensors):
        units, gauge = ALIKE, "zero at the mast"

        def inside_data(self, x):
            return np.asarray(x)[..., 0] < 0

        def mode_weights(self, x):
            return np.full((*np.shape(x)[:-1], 2), 0.5)

    found = wb.wells(Able(), BOX, starts=32)
    assert found["inside_data"].dtype == bool
    np.testing.assert_array_equal(found["inside_data"], found["x"][:, 0] < 0)
    assert found["mode_weight"].values.tolist() == [0.5, 0.5]
    assert found["potential"].attrs["units"] == "kJ/mol"
    assert found.attrs["gauge"] == "zero at the mast"
    named = require_potential(Tensors(), ["a", "b"])
    assert named.states == ("a", "b")
    assert isinstance(named.value(np.zeros((3, 2))), np.ndarray)
    assert isinstance(named.value(torch.zeros(3, 2)), torch.Tensor)

    class Unnumbered(Tensors):
        states = ("u", "v")

    assert require_potential(Unnumbered()).states == ("u", "v")


def test_summary_keeps_units_and_zero_of_the_points():
    class Pair(Known):
        members = 2

        def member(self, k):
            return Known(self.units, 0.1 + 0.1 * k)

    both = wb.summary(wb.stationary_points(Pair(ALIKE), BOX, starts=32))
    units = {
        name: both[name].attrs["units"] for name in ("x", "x_std", "above", "potential_std", "eigenvalue", "which")
    }
    assert list(units.values()) == ["nm", "nm", "kJ/mol", "kJ/mol", "kJ/mol/nm^2", "1"]
    assert both.attrs["gauge"] == "zero at the ruler"
    apart = wb.summary(wb.stationary_points(Pair(UNLIKE), BOX, starts=32))
    assert "units" not in apart["x_std"].attrs
    assert apart["unit"].values.tolist() == ["nm", "degree"]
    np.testing.assert_array_equal(apart["x_std"], both["x_std"])


def test_a_sum_has_the_units_and_the_zero_of_its_terms():
    part = Known(Units(("nm", None), time="ps"))
    both = wb.WeightedSum([part, Known(Units(("nm", "nm"), potential="eV")), Tensors()], [1.0, 1.0, 2.0])
    assert units_of(both) == Units(("nm", "nm"), "eV", "ps")
    assert gauge_of(both) == "zero at the ruler (term 1); zero at the ruler (term 2); that of its formula (term 3)"
    assert gauge_of(wb.WeightedSum([part, part], [1.0, 2.0])) == "zero at the ruler"
    formula_first = wb.WeightedSum([Tensors(), part], [1.0, 1.0])
    assert gauge_of(formula_first) == "zero at the ruler (term 2); that of its formula (term 1)"
    with pytest.raises(DatasetError, match="unit of potential is 'eV' in term 2, but 'kJ/mol' in term 3"):
        wb.WeightedSum([part, Known(Units(potential="eV")), Known(ALIKE)], [1.0, 1.0, 1.0])
    blend = wb.Blend(Known(ALIKE), part, wb.Ramp(0.0, 1.0))
    assert units_of(blend) == ALIKE
    assert gauge_of(blend) == "zero at the ruler"
    with pytest.raises(DatasetError, match="unit of state 1 is 'nm' in term 1, but 'm' in term 2"):
        wb.Blend(part, Known(Units(("m", "m"))), wb.Ramp(0.0, 1.0))


def test_a_symmetry_relates_states_of_one_unit():
    quarter = [[0.0, -1.0], [1.0, 0.0]]
    symmetric = wb.Symmetrised(Known(ALIKE), [(1, 0)])
    assert units_of(symmetric) == ALIKE
    assert gauge_of(symmetric) == "zero at the ruler before averaging"
    assert gauge_of(wb.Symmetrised(Tensors(), [(1, 0)])) == "that of its formula"
    for generator in ((1, 0), quarter):
        with pytest.raises(ValueError, match="exchanges or mixes r in nm and phi in degree: a symmetry relates"):
            wb.Symmetrised(Known(UNLIKE), [generator])
    with pytest.raises(ValueError, match="r in nm and phi in an unknown unit"):
        wb.Symmetrised(Known(Units(("nm", None))), [(1, 0)])
    wb.Symmetrised(Known(Units((None, None))), [(1, 0)])
    wb.Symmetrised(Known(UNLIKE), [np.diag([1.0, -1.0])])  # reflects one state


def test_stacked_answers_keep_labels_and_integers():
    parts = [
        xr.Dataset({"count": ("image", np.arange(n))}, {"image": np.arange(n), "stop": ("image", ["saddle"] * n)})
        for n in (3, 2)
    ]
    both = stacked(parts, "member", {"stop": "", "count": -1})
    assert both["count"].dtype.kind == "i"
    assert both["count"].values[1].tolist() == [0, 1, -1]
    assert both["stop"].values[1].tolist() == ["saddle", "saddle", ""]
    assert stacked(parts[:1] * 2, "member")["stop"].dims == ("member", "image")
