"""Symmetric tensors as six numbers: the order of their components, double contraction, n ⊗ n, full matrices.

A symmetric tensor A is the row (A₁₁, A₂₂, A₃₃, A₁₂, A₁₃, A₂₃): tensor components, not doubled, and not in Voigt order.
Then A : B = Σₖ SHEARₖ Aₖ Bₖ, because the shear components occur twice in the tensor.
"""

import numpy as np

__all__ = ["COLUMNS", "COMPONENTS", "FULL", "IDENTITY", "ROWS", "SHEAR", "dyad"]

COMPONENTS = ("11", "22", "33", "12", "13", "23")
SHEAR = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)  # how often each component occurs in the tensor
IDENTITY = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
ROWS = [int(label[0]) - 1 for label in COMPONENTS]
COLUMNS = [int(label[1]) - 1 for label in COMPONENTS]
FULL = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]  # the component at every place of the matrix


def dyad(n: np.ndarray) -> np.ndarray:
    """Return n ⊗ n, shape (6,), of a vector n with shape (3,).

    >>> dyad(np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9., 2., 3., 6.])
    """
    return n[ROWS] * n[COLUMNS]
