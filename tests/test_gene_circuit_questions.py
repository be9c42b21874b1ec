"""What the gene-circuit study asks: exact answers of the exact circuit, and members that cannot answer."""

import numpy as np
import pytest
import xarray as xr

import systems
import workbench as wb
from studies.gene_circuit import metrics
from studies.gene_circuit.questions import ask, first_split
from workbench.errors import LandscapeWarning

PITCHFORK = (0.359530158 - 0.1) / 0.9


def silent(done, total, text):
    pass


def blend_of(first, second):
    return wb.Blend(first, second, wb.Logistic(rate=0.7, start=0.01))


@pytest.fixture(scope="module")
def answers():
    true = blend_of(systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0))
    return {name: ask(name, true, 7, silent) for name in ("paths", "basins", "branches")}


def test_truth_meets_its_bounds(answers):
    path = answers["paths"]
    asked = {"paths/truth": path, "paths/fit": path.expand_dims(member=1), "paths/symmetrised": xr.Dataset()}
    found = {n.name: n.value for n in metrics.of_paths(asked)}
    assert found["path_barrier_truth"] == pytest.approx(0.154710562700, abs=1e-8)
    assert found["path_crest_truth"] < 1e-6
    assert found["path_barrier_error_fit"] < 1e-9
    assert np.isnan(found["path_barrier_error_symmetrised"])  # no path: a bound that is missed
    assert first_split(answers["branches"]) == pytest.approx([PITCHFORK], abs=1e-6)
    assert answers["branches"]["bifurcation_kind"].values.tolist() == ["pitchfork"]


def test_basins_of_the_truth_are_the_halves(answers):
    label, axis = answers["basins"]["label"].values, answers["basins"]["x1"].values
    gap = axis[:, None] - axis
    np.testing.assert_array_equal(label[gap < 0], 0)  # x1 < x2 falls to the first well given
    np.testing.assert_array_equal(label[gap > 0], 1)
    found = {
        n.name: n.value
        for n in metrics.of_basins({f"basins/{s}": answers["basins"] for s in ("truth", "fit", "symmetrised")})
    }
    assert found["basin_grid_share_fit"] == 1
    assert found["separatrix_error_fit"] < 1e-3


def test_split_of_members_is_their_first_bifurcation():
    found = xr.Dataset(
        {"bifurcation_b": ("bifurcation", [0.5, 0.3, 0.4])},
        coords={"member": ("point", [0, 1, 1, 2]), "bifurcation_member": ("bifurcation", [0, 2, 2])},
    )
    np.testing.assert_array_equal(first_split(found), [0.5, np.nan, 0.3])


class Pair:
    """Two circuits as an ensemble: the second has one well only."""

    members, states = 2, ("x1", "x2")

    def value(self, x):
        return NotImplemented

    gradient = hessian = value

    def member(self, k):
        return systems.get("gene_circuit", b=(1.0, 0.1)[k])


def test_a_member_without_two_wells_is_told_and_left_out():
    with pytest.warns(LandscapeWarning, match="member 1 has no path between the wells"):
        found = ask("paths", blend_of(Pair(), Pair()), 7, silent)
    assert found["member"].values.tolist() == [0]
    assert float(found["barrier"][0, 0]) == pytest.approx(0.154710562700, abs=1e-8)
