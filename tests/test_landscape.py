"""Stationary points and splits against closed forms, in one to six dimensions."""

import numpy as np
import pytest
import torch

import systems
import workbench as wb
from systems import PotentialSystem, State

BOX = [(0.0, 2.0)] * 2


class Quartics(PotentialSystem):
    """Σ (xᵢ² − 1)²: minima at ±1, maxima at 0 in each coordinate, so 3^dim stationary points."""

    state_space = tuple(State(f"x{i}", box=(-1.6, 1.6)) for i in range(4))

    def potential(self, x):
        return ((x**2 - 1) ** 2).sum(-1)


class MuellerBrown(PotentialSystem):
    """The classic test surface; its stationary points are published."""

    state_space = (State("x", box=(-1.5, 1.2)), State("y", box=(-0.2, 2.0)))

    def potential(self, x):
        terms = [
            (-200, -1, 0, -10, 1, 0),
            (-100, -1, 0, -10, 0, 0.5),
            (-170, -6.5, 11, -6.5, -0.5, 1.5),
            (15, 0.7, 0.6, 0.7, -1, 1),
        ]
        u, v = x[..., 0], x[..., 1]
        return sum(
            A * torch.exp(a * (u - p) ** 2 + b * (u - p) * (v - q) + c * (v - q) ** 2) for A, a, b, c, p, q in terms
        )


def test_gene_circuit_points(circuit):
    found = wb.stationary_points(circuit, within=BOX)
    assert list(found["kind"].values) == ["minimum", "minimum", "saddle"]
    expected = [
        (0.405621017867140, 1.543999494460613),
        (1.543999494460613, 0.405621017867140),
        (0.813476835294111,) * 2,
    ]
    np.testing.assert_allclose(found["x"].values, expected, atol=1e-10)
    np.testing.assert_allclose(found["eigenvalue"].values, np.linalg.eigvalsh(circuit.hessian(expected)), rtol=1e-8)
    assert found["residual"].max() < 1e-10
    barrier = float(found["potential"][2] - found["potential"][0])
    assert barrier == pytest.approx(0.154710562700, abs=1e-10)
    assert set(wb.stationary_points(circuit, within=[(-0.5, 2.0)] * 2)["kind"].values) >= {"minimum", "saddle"}


def test_every_point_of_a_separable_landscape_in_4d():
    found = wb.stationary_points(Quartics(), within=Quartics().box, starts=2048)
    assert found.sizes["point"] == 3**4
    np.testing.assert_allclose(np.abs(found["x"].values).round(9) % 1, 0, atol=1e-8)
    index = (np.abs(found["x"].values) < 0.5).sum(-1)
    np.testing.assert_array_equal(found["index"].values, index)
    assert (found["kind"] == "minimum").sum() == 16
    assert (found["kind"] == "maximum").sum() == 1


def test_mueller_brown():
    found = wb.stationary_points(MuellerBrown(), within=MuellerBrown().box)
    minima = found["x"].values[(found["kind"] == "minimum").values]
    saddles = found["x"].values[(found["kind"] == "saddle").values]
    np.testing.assert_allclose(minima, [(-0.558, 1.442), (0.623, 0.028), (-0.050, 0.467)], atol=1e-3)
    np.testing.assert_allclose(saddles, [(0.212, 0.293), (-0.822, 0.624)], atol=1e-3)
    np.testing.assert_allclose(found["potential"].values[:3], [-146.700, -108.167, -80.768], atol=1e-3)


def test_members_are_told_apart(small_fit):
    found = wb.stationary_points(small_fit.ensemble, within=BOX)
    assert set(found["member"].values) == {0, 1}
    alone = wb.stationary_points(small_fit.ensemble.member(1), within=BOX)
    np.testing.assert_allclose(found["x"].values[(found["member"] == 1).values], alone["x"].values, atol=1e-8)
    assert found["inside_data"].dtype == np.int8


def test_degenerate_and_absent_points():
    class Flat(PotentialSystem):
        state_space = (State("x", box=(-1, 1)), State("y", box=(-1, 1)))

        def potential(self, x):
            return x[..., 0] ** 2 + x[..., 1] ** 4

    found = wb.stationary_points(Flat(), within=[(-1, 1)] * 2)
    assert "degenerate" in found["kind"].values
    assert np.abs(found["x"].values).max() < 0.01
    with pytest.raises(ValueError, match="flat over the box; a new model is, until it is fitted"):
        wb.stationary_points(wb.LSEICNN(dim=2, modes=2), within=[(-1, 1)] * 2)
    none = wb.stationary_points(systems.get("gene_circuit", b=1.0), within=[(1.6, 2.0)] * 2)
    assert none.sizes["point"] == 0
    assert none["kind"].dtype.kind == "U"


def test_split_of_the_exact_blend():
    weak, strong = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
    blend = wb.Blend(weak, strong, wb.Logistic(rate=0.7, start=0.01))
    split = wb.splitting(blend, within=BOX)
    assert 0 <= float(split["b"]) - (0.359530158212139 - 0.1) / 0.9 <= 1.5e-4
    assert float(split["time"]) == pytest.approx(5.2740, abs=1e-3)
    assert split["minima"].values[0] == 1
    assert split["minima"].values[-1] == 2
    never = wb.splitting(wb.Blend(weak, weak, wb.Ramp(0.0, 1.0)), within=BOX, scan=3)
    assert np.isnan(never["b"])
    assert np.isnan(never["time"])
    at_once = wb.splitting(wb.Blend(strong, strong, wb.Ramp(0.0, 1.0)), within=BOX, scan=3)
    assert float(at_once["b"]) == float(at_once["time"]) == 0


def test_bad_boxes_are_refused(circuit):
    with pytest.raises(ValueError, match=r"within must be 2 pairs \(low, high\)"):
        wb.stationary_points(circuit, within=[(0, 2)])
    with pytest.raises(ValueError, match="low < high"):
        wb.stationary_points(circuit, within=[(0, 2), (2, 0)])
    with pytest.raises(ValueError, match="starts must be at least 1"):
        wb.stationary_points(circuit, within=BOX, starts=0)
