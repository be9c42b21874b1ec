"""Symmetry of landscapes and of the data from which they are learned."""

import numpy as np
import pytest

import systems
import workbench as wb
from workbench.potentials import symmetry

CRYSTAL = systems.get("mechanochemical")


def test_group_is_closed():
    maps = np.array(symmetry.group(7, CRYSTAL.symmetry))
    assert len(maps) == 24
    products = np.einsum("aij,bjk->abik", maps, maps).reshape(-1, 49)
    assert len(np.unique(np.vstack([products, maps.reshape(-1, 49)]).round(9), axis=0)) == 24


def test_equivalent_samples_have_the_values_of_the_exact_system():
    data = CRYSTAL.points(12, seed=1)
    data = wb.dataset.points(
        data["x"],
        potential=data["potential"],
        gradient=data["gradient"],
        split=["train"] * 9 + ["validation"] * 2 + ["test"],
        states=CRYSTAL.states,
    )
    more = wb.augmented(data, CRYSTAL.symmetry, count=5, seed=0)
    assert (more["split"] == "train").sum() == 45
    assert (more["split"] != "train").sum() == 3
    np.testing.assert_allclose(more["potential"], CRYSTAL.value(more["x"].values), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(more["gradient"], CRYSTAL.gradient(more["x"].values), rtol=1e-10, atol=1e-12)
    everything = wb.augmented(data, CRYSTAL.symmetry)
    train = everything["x"].values[(everything["split"] == "train").values].reshape(24, 9, 7)
    assert all(len(np.unique(train[:, k].round(12), axis=0)) == 24 for k in range(9))
    assert more.identical(wb.augmented(data, CRYSTAL.symmetry, count=5, seed=0))


def test_noise_levels_and_weights_of_components_are_transformed():
    data = wb.dataset.points([[1.0, 2.0]], gradient=[[3.0, 4.0]], sigma=[[0.1, 0.2]], weight=[[1.0, 5.0]])
    both = wb.augmented(data, [(1, 0)])
    np.testing.assert_allclose(both["sigma"], [[0.1, 0.2], [0.2, 0.1]])
    np.testing.assert_allclose(both["weight"], [[1.0, 5.0], [5.0, 1.0]])
    half = wb.augmented(data, [np.array([[1, -1], [1, 1]]) / 2**0.5], count=2, seed=2)
    angle = np.arctan2(*half["x"].values[1][::-1]) - np.arctan2(2, 1)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(half["gradient"].values[1], rotation @ [3.0, 4.0])
    np.testing.assert_allclose(half["sigma"].values[1] ** 2, np.diag(rotation @ np.diag([0.01, 0.04]) @ rotation.T))


def test_errors_say_what_is_wrong():
    data = CRYSTAL.points(3, seed=0)
    with pytest.raises(ValueError, match="between 1 and 24"):
        wb.augmented(data, CRYSTAL.symmetry, count=25)
    with pytest.raises(ValueError, match="expected a permutation"):
        wb.augmented(data, [(0, 1, 2)])
