"""Grids: the spread of an ensemble, one zero for fit and truth, and the checks of their arguments."""

import numpy as np
import pytest
import torch
from conftest import random_model
from test_answers import ALIKE, UNLIKE, Known

import systems
import workbench as wb
from workbench.dataset.variables import Units
from workbench.errors import DatasetError

BOX = [(0.0, 2.0)] * 2
CIRCUIT = systems.get("gene_circuit")


def test_spread_is_that_of_the_members_without_their_constants():
    ensemble = random_model(0, members=4)
    grid = wb.grid(ensemble.member(2), BOX, points=5, ensemble=ensemble, member=2)
    assert grid.attrs["member"] == 2
    x = np.stack(np.meshgrid(grid["x1"], grid["x2"], indexing="ij"), -1).reshape(-1, 2)
    level = ensemble.value(x)
    expected = (level - level.mean(-1, keepdims=True)).std(0, ddof=1).reshape(5, 5)
    np.testing.assert_allclose(grid["potential_std"], expected, rtol=1e-12)
    np.testing.assert_allclose(grid["gradient_std"], ensemble.gradient(x).std(0, ddof=1).reshape(5, 5, 2), rtol=1e-12)
    np.testing.assert_array_equal(grid["potential"], ensemble.member(2).value(x).reshape(5, 5))
    assert "each less its mean over the grid" in grid["potential_std"].attrs["long_name"]
    assert grid["gradient_std"].dims == ("x1", "x2", "state")
    shifted = random_model(0, members=4)
    shifted.offset += 5 * torch.arange(4)
    again = wb.grid(shifted.member(2), BOX, points=5, ensemble=shifted)
    np.testing.assert_allclose(again["potential_std"], expected, rtol=1e-9)
    assert "member" not in again.attrs


def test_one_member_has_no_spread():
    ensemble = random_model(0, members=1)
    grid = wb.grid({"fit": ensemble.member(0)}, BOX, points=3, ensemble=ensemble, member=0)
    assert list(grid) == ["potential_fit", "gradient_fit"]
    assert grid.attrs["member"] == 0


def test_fit_and_truth_share_the_zero_of_a_fit_of_gradients():
    fit = Known(ALIKE)
    truth = Known(Units(), tilt=0.3)
    truth.gauge = "that of the textbook"
    alone = wb.grid(truth, BOX, points=5)
    both = wb.grid({"": fit, "true": truth}, BOX, points=5)
    shift = both["potential_true"].attrs["shift"]
    np.testing.assert_allclose(both["potential_true"], alone["potential"] + shift, rtol=1e-14)
    assert float((both["potential"] - both["potential_true"]).mean()) == pytest.approx(0, abs=1e-13)
    assert "shift" not in both["potential"].attrs
    assert both["potential_true"].attrs["units"] == "kJ/mol"
    assert both.attrs["gauge"] == fit.gauge
    np.testing.assert_array_equal(both["gradient_true"], alone["gradient"])
    stated = wb.grid({"": truth, "fit": fit}, BOX, points=5)
    assert "shift" not in stated["potential_fit"].attrs
    assert stated.attrs["gauge"] == "that of the textbook"
    assert wb.grid(CIRCUIT, BOX, points=3).attrs["gauge"] == "that of its formula"


def test_shift_ignores_points_where_a_potential_is_not_finite():
    class Holed(Known):
        def value(self, x):
            return super().value(x).where(super().value(x) < 1.0, np.nan)

    both = wb.grid({"": Known(ALIKE, tilt=0.0), "true": Holed(ALIKE, tilt=0.0)}, BOX, points=5)
    assert both["potential_true"].attrs["shift"] == 0
    assert np.isnan(both["potential_true"]).any()


def test_what_does_not_fit_is_refused():
    ensemble = random_model(0, members=2)
    with pytest.raises(ValueError, match=r"within must be 2 pairs \(low, high\) with low < high"):
        wb.grid(CIRCUIT, [(0, 2), (2, 2)])
    with pytest.raises(ValueError, match="points must be an integer >= 2, got 1"):
        wb.grid(CIRCUIT, BOX, points=1)
    with pytest.raises(ValueError, match="points must be an integer >= 2, got 5.0"):
        wb.grid(CIRCUIT, BOX, points=5.0)
    with pytest.raises(ValueError, match="at most 4,000,000 points in all; got 3000 for each of 2 states"):
        wb.grid(CIRCUIT, BOX, points=3000)
    with pytest.raises(ValueError, match="a potential without members, got one with 2: pass one member"):
        wb.grid(ensemble, BOX)
    with pytest.raises(ValueError, match="the potential is not member 1 of the 2 members"):
        wb.grid(ensemble.member(0), BOX, points=3, ensemble=ensemble, member=1)
    with pytest.raises(ValueError, match="the potential is not member 2 of the 2 members"):
        wb.grid(ensemble.member(0), BOX, points=3, ensemble=ensemble, member=2)
    with pytest.raises(ValueError, match="ensemble must have members and the states x1, x2"):
        wb.grid(ensemble.member(0), BOX, points=3, ensemble=ensemble.member(0))
    with pytest.raises(ValueError, match="must have the same states"):
        wb.grid({"": CIRCUIT, "true": Known(ALIKE)}, BOX)
    with pytest.raises(TypeError, match="expected a potential"):
        wb.grid(lambda x: x, BOX)
    with pytest.raises(TypeError, match="expected a potential"):
        wb.grid({}, BOX)
    with pytest.raises(DatasetError, match="unit of state 2 is 'nm' in the potential '', but 'degree' in .*'true'"):
        wb.grid({"": Known(ALIKE), "true": Known(UNLIKE)}, BOX)
