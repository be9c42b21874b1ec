"""Pieces of the crossings study: samples, the table of crossings, quadrature of the refinement, passages."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import studies
import systems
import workbench as wb
from studies.crossings import first_passages
from studies.crossings.metrics import crossings, of_crossings, of_points
from studies.crossings.study import near_data
from systems.muller_brown import MullerBrown
from workbench.dataset.variables import Units


def silent(done, total, text):
    pass


def test_samples_are_below_the_level_and_split():
    study = studies.get("crossings", samples=100, test=30, level=20.0)
    data = study._data(systems.get("muller_brown"), np.random.SeedSequence(3))
    assert float(data["potential"].max()) < 20
    labels, counts = np.unique(data["split"], return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == {"test": 30, "train": 80, "validation": 20}
    assert near_data(np.array([[-0.558, 1.442], [1.2, 2.0]]), data).tolist() == [True, False]
    with pytest.raises(ValueError, match="level = -140 keeps .* samples, fewer than 130"):
        study.model_copy(update={"level": -140.0})._data(systems.get("muller_brown"), np.random.SeedSequence(3))


def test_table_of_crossings():
    surface, scaled = systems.get("muller_brown"), systems.get("muller_brown", scale=1.02)
    true, near = (wb.rates(psi, psi.box, 1.2, starts=64) for psi in (surface, scaled))
    table = crossings(true, {0: true, 1: near, 2: None})
    assert list(zip(table["saddle"].values.tolist(), table["well"].values.tolist(), strict=True)) == [
        (3, 2),
        (3, 1),
        (4, 2),
        (4, 0),
    ]
    np.testing.assert_allclose(table["barrier_true"], [8.52, 35.92, 40.10, 106.03], atol=0.01)
    np.testing.assert_array_equal(table["barrier"][0], table["barrier_true"])
    np.testing.assert_allclose(table["barrier"][1], 1.02 * table["barrier_true"], rtol=1e-9)
    expected = 1.02 * table["rate_true"] * np.exp(-0.02 * table["barrier_true"] / 1.2)
    np.testing.assert_allclose(table["rate"][1], expected, rtol=1e-6)
    assert np.isnan(table["barrier"][2]).all()
    found = {n.name: n.value for n in of_crossings(table.isel(member=[0, 1]))}
    assert found["barrier_error"] == pytest.approx(0.02, rel=1e-6)
    assert found["lowest_barrier"] == pytest.approx(8.52 / 1.2, abs=0.01)
    assert np.isnan(next(n.value for n in of_crossings(table) if n.name == "barrier_error"))
    true["potential"].attrs["units"], true["time"].attrs["units"] = "kJ/mol", "ps"
    true.attrs |= {"potential_unit": "kJ/mol", "time_unit": "ps"}
    measured = crossings(true, {0: true})
    assert [measured[f"barrier{tail}"].attrs["units"] for tail in ("", "_true")] == ["kJ/mol"] * 2
    assert [measured[f"rate{tail}"].attrs["units"] for tail in ("", "_true")] == ["1/ps"] * 2
    assert measured.attrs["time_unit"] == "ps"


def test_landscape_carries_the_units_of_the_surface(monkeypatch):
    monkeypatch.setattr(MullerBrown, "units", Units(("nm", "Å"), potential="kJ/mol"))
    surface, study = systems.get("muller_brown"), studies.get("crossings", grid=3)
    data = surface.points(5, seed=0).assign_coords(split=("sample", ["train"] * 5))
    grid = study._landscape(surface, SimpleNamespace(model=surface, ensemble=None, best=0, data=data))
    assert grid["near_data"].dtype == bool
    assert "units" not in grid["near_data"].attrs
    assert [grid[name].attrs["units"] for name in ("x", "y")] == ["nm", "Å"]
    assert grid["potential_offset"].attrs["units"] == grid["potential"].attrs["units"] == "kJ/mol"


def test_truth_on_the_grid_has_the_zero_of_the_fit_near_the_samples():
    surface, study = systems.get("muller_brown"), studies.get("crossings", grid=5)
    data = surface.points(5, seed=0).assign_coords(split=("sample", ["train"] * 5))
    higher = wb.WeightedSum([surface], [2.0])
    grid = study._landscape(surface, SimpleNamespace(model=higher, ensemble=None, best=0, data=data))
    gap = (grid["potential"] - grid["potential_true"]).where(grid["near_data"])
    assert float(abs(gap.mean())) < 1e-10
    true = surface.value(np.stack(np.meshgrid(grid["x"], grid["y"], indexing="ij"), -1))
    np.testing.assert_allclose(grid["potential_true"] - grid["potential_offset"], true, atol=1e-10)
    assert "shared by truth and fit" in grid.attrs["gauge"]


def test_errors_of_positions_have_the_unit_of_the_states():
    surface = systems.get("muller_brown")
    points = wb.stationary_points(surface, surface.box, starts=64)
    points["x"].attrs["units"] = "nm"
    both = [points.assign_coords(source=("point", [s] * 5), member=("point", [0] * 5)) for s in ("truth", "fit")]
    told = {n.name: n.unit for n in of_points(xr.concat(both, "point"))}
    assert (told["well_error"], told["wells_most"]) == ("nm", "1")


def test_refinement_shows_order_two():
    found = first_passages.refinement(3, silent)
    order = np.log2(found["error"].values[:-1] / found["error"].values[1:])
    np.testing.assert_allclose(order, 2, atol=0.25)
    assert abs(order[-1] - 2) < abs(order[0] - 2)


def test_passages_hold_the_exact_time():
    found = first_passages.passage(2.0, 128, 150.0, np.random.SeedSequence(5), silent)
    well = systems.get("asymmetric_quartic")
    exact = wb.first_passage_exact(well, 1.239089026314166, -1.514089026314166, 0.28328801 / 2)
    assert float(found["exact"]) == pytest.approx(exact, rel=1e-5)
    assert float(found["interval"][0]) < exact < float(found["interval"][1])
