"""Symmetric tensors as six components: their order, double contraction, dyads and full matrices.

A symmetric tensor A is stored as (A₁₁, A₂₂, A₃₃, A₁₂, A₁₃, A₂₃). Shear entries are tensor components, not doubled, and
the order is not that of Voigt. Hence A : B = Σₖ SHEARₖ Aₖ Bₖ, as each shear component occurs twice in the tensor.
"""

import numpy as np

__all__ = ["COLUMNS", "COMPONENTS", "FULL", "IDENTITY", "ROWS", "SHEAR", "dyad"]

COMPONENTS = ("11", "22", "33", "12", "13", "23")
SHEAR = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)  # multiplicity of each component in the tensor
IDENTITY = (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)
ROWS = [int(label[0]) - 1 for label in COMPONENTS]
COLUMNS = [int(label[1]) - 1 for label in COMPONENTS]
FULL = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]  # the component at each position of the matrix


def dyad(n: np.ndarray) -> np.ndarray:
    """Return the dyad n ⊗ n, shape (6,), of a vector n of shape (3,).

    >>> dyad(np.array([1.0, 2.0, 3.0]))
    array([1., 4., 9., 2., 3., 6.])
    """
    return n[ROWS] * n[COLUMNS]
