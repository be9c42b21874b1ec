"""Invariants: closed forms against matrix products, automatic differentiation and the symmetry group."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from workbench.dataset.tensors import SHEAR
from workbench.materials.invariants import Invariants, product

FULL = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]
ROWS, COLUMNS = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
AXIS = (1.0, 2.0, -2.0)
BOTH = pytest.mark.parametrize("invariants", [Invariants(), Invariants(axis=AXIS)], ids=["isotropic", "with axis"])
E, D = torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, (2, 4, 7, 6)))


def turned(T, R):
    return (R @ T.numpy()[..., FULL] @ R.T)[..., ROWS, COLUMNS]


def test_values_are_those_of_matrices():
    T, U, n = E[..., FULL], D[..., FULL], torch.tensor(AXIS, dtype=torch.float64) / 3
    M = torch.outer(n, n)

    def trace(A):
        return A.diagonal(dim1=-2, dim2=-1).sum(-1)

    single = [trace(T), trace(T @ T), trace(T @ T @ T), trace(T @ M), trace(T @ T @ M)]
    joint = [trace(T @ U), trace(T @ T @ U), trace(T @ U @ U), trace(T @ U @ M)]
    torch.testing.assert_close(Invariants(axis=AXIS).value(E), torch.stack(single, -1))
    torch.testing.assert_close(Invariants(axis=AXIS).joint(E, D), torch.stack(joint, -1))
    torch.testing.assert_close(Invariants().value(E), torch.stack(single[:3], -1))
    torch.testing.assert_close(Invariants().joint(E, D), torch.stack(joint[:3], -1))
    torch.testing.assert_close(product(E, D)[..., FULL], (T @ U + U @ T) / 2)


@BOTH
def test_derivatives_are_autodiff(invariants):
    shear = E.new_tensor(SHEAR)
    at, by = E.clone().requires_grad_(), D.clone().requires_grad_()
    for k in range(len(invariants.names)):
        (gradient,) = torch.autograd.grad(invariants.value(at)[..., k].sum(), at)
        torch.testing.assert_close(invariants.gradient(E)[..., k, :], gradient / shear)
    for k in range(len(invariants.joint_names)):
        gradients = torch.autograd.grad(invariants.joint(at, by)[..., k].sum(), (at, by))
        torch.testing.assert_close(invariants.joint_gradient(E, D)[..., k, :], torch.stack(gradients) / shear)


@BOTH
def test_one_strain_goes_with_many_rates(invariants):
    one = E[0, 0]
    torch.testing.assert_close(invariants.joint(one, D), invariants.joint(one.expand_as(D), D))
    torch.testing.assert_close(invariants.joint_gradient(one, D), invariants.joint_gradient(one.expand_as(D), D))


@BOTH
def test_symmetry_is_that_of_the_material(invariants):
    n = np.array(AXIS) / 3
    about, any_other = Rotation.from_rotvec(0.7 * n).as_matrix(), Rotation.from_rotvec([0.3, 0.2, 0.9]).as_matrix()
    kept = [about, -np.eye(3)] + ([any_other] if invariants.axis is None else [])
    for R in kept:
        np.testing.assert_allclose(invariants.value(turned(E, R)), invariants.value(E), atol=1e-13)
        np.testing.assert_allclose(
            invariants.joint(torch.as_tensor(turned(E, R)), torch.as_tensor(turned(D, R))),
            invariants.joint(E, D),
            atol=1e-13,
        )
    if invariants.axis is not None:
        gap = invariants.value(turned(E, any_other)) - invariants.value(E).numpy()
        np.testing.assert_allclose(gap[..., :3], 0, atol=1e-13)
        assert np.abs(gap[..., 3:]).max() > 0.1


@BOTH
def test_linear_invariants_are_linear(invariants):
    places = list(invariants.linear)
    between = invariants.value(0.3 * E + 0.7 * D)[..., places]
    torch.testing.assert_close(between, 0.3 * invariants.value(E)[..., places] + 0.7 * invariants.value(D)[..., places])


def test_isotropic_invariants_are_power_sums_of_eigenvalues():
    eigenvalues = np.linalg.eigvalsh(E.numpy()[..., FULL])
    powers = np.stack([(eigenvalues**p).sum(-1) for p in (1, 2, 3)], -1)
    np.testing.assert_allclose(Invariants().value(E), powers, atol=1e-13)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="axis must be a direction, three finite numbers that are not all zero"):
        Invariants(axis=(0, 0, 0))
    with pytest.raises(ValueError, match=r"expected \(…, 6\) with the states"):
        Invariants().value(np.zeros((3, 3)))
