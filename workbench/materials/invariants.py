"""Invariants of strain, of its rate, and of both together, on which a material of a given symmetry may depend.

A function of a strain E that is isotropic depends on E through three invariants. With a preferred axis n (transverse
isotropy, M = n ⊗ n) there are five:

    tr E,   tr E²,   tr E³,       and   E:M,   E²:M                   with derivatives   I, 2E, 3E²,   M, EM + ME.

A function of a strain E and its rate D depends on the invariants of each and on the joint invariants

    tr ED,   tr E²D,   tr ED²,    and   tr EDM                 with derivatives   D, ED + DE, D², (DM + MD)/2   by E,
                                                               and               E, E², ED + DE, (EM + ME)/2   by D.

tr E²D² would complete the set (Boehler 1979); it is omitted, as in Jones et al. (2025).

Tensors are symmetric and given by the six components 11, 22, 33, 12, 13, 23 along the last axis, shear components not
doubled. A derivative ∂I/∂E is a symmetric tensor in the same components, dI = ∂I/∂E : dE, so that a stress is
Σ ∂Ψ/∂I ∂I/∂E. (The derivative with respect to one shear component, which moves two entries of the tensor, is twice as
large.)
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.dataset.tensors import COLUMNS, COMPONENTS, FULL, IDENTITY, ROWS, SHEAR, dyad
from workbench.potentials.bridge import tensor_or_array
from workbench.potentials.stored import storable_value

__all__ = ["Invariants", "contract", "product"]


def contract(A: Tensor, B: Tensor) -> Tensor:
    """Return the double contraction A:B, shape (…), of symmetric tensors with shape (…, 6)."""
    return (A * B * A.new_tensor(SHEAR)).sum(-1)


def product(A: Tensor, B: Tensor) -> Tensor:
    """Return the symmetric product (AB + BA)/2, shape (…, 6), of symmetric tensors with shape (…, 6).

    >>> e12 = torch.tensor([0.0, 0, 0, 1, 0, 0])
    >>> product(e12, e12)
    tensor([1., 1., 0., 0., 0., 0.])
    """
    AB = A[..., FULL] @ B[..., FULL]
    return (AB[..., ROWS, COLUMNS] + AB[..., COLUMNS, ROWS]) / 2


@storable_value
@dataclass(frozen=True)
class Invariants:
    """Invariants of strain for an isotropic or a transversely isotropic material.

    Methods take arrays or tensors and return the same.

    Parameters
    ----------
    axis : tuple of three float, optional
        Preferred direction n; it is normalised. None (default) is an isotropic material.

    Attributes
    ----------
    states : tuple of str
        Names of the components of strain, "11", "22", "33", "12", "13", "23".

    Raises
    ------
    ValueError
        If `axis` is not a nonzero vector of three finite numbers.

    Examples
    --------
    >>> E = np.array([0.1, 0.2, 0.0, 0.3, 0.0, 0.0])
    >>> Invariants().names, Invariants().value(E).round(6)
    (('trE', 'trE2', 'trE3'), array([0.3 , 0.23, 0.09]))
    >>> Invariants(axis=(1, 0, 0)).names[3:], Invariants(axis=(1, 0, 0)).value(E)[3:].round(6)
    (('E:M', 'E2:M'), array([0.1, 0.1]))

    References
    ----------
    - J. P. Boehler, A simple derivation of representations for non-polynomial constitutive equations in some cases of
      anisotropy, Z. Angew. Math. Mech. 59, 157–167 (1979)
    - R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
      locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Eqs 29–31
    """

    axis: tuple[float, float, float] | None = None

    states = COMPONENTS

    def __post_init__(self) -> None:
        if self.axis is not None:
            n = np.asarray(self.axis, dtype=np.float64)
            if n.shape != (3,) or not (np.isfinite(n).all() and n.any()):
                raise ValueError(
                    f"axis must be a direction, three finite numbers that are not all zero; got {self.axis!r}"
                )
            length = np.linalg.norm(n)  # a unit vector is kept to the last bit
            object.__setattr__(self, "axis", tuple((n if abs(length - 1) < 1e-14 else n / length).tolist()))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the invariants of one tensor."""
        return ("trE", "trE2", "trE3") if self.axis is None else ("trE", "trE2", "trE3", "E:M", "E2:M")

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joint invariants of two tensors."""
        return ("trED", "trE2D", "trED2") if self.axis is None else ("trED", "trE2D", "trED2", "trEDM")

    @property
    def linear(self) -> tuple[int, ...]:
        """Indices of the invariants that are linear in E, and therefore monotone along straight lines."""
        return (0,) if self.axis is None else (0, 3)

    @tensor_or_array
    def value(self, E: Tensor) -> Tensor:
        """Return the invariants, shape (…, invariant), of E with shape (…, 6)."""
        E2 = product(E, E)
        columns = [E[..., :3].sum(-1), E2[..., :3].sum(-1), contract(E, E2)]
        if self.axis is not None:
            M = self._structure(E)
            columns += [contract(E, M), contract(E2, M)]
        return torch.stack(columns, -1)

    @tensor_or_array
    def gradient(self, E: Tensor) -> Tensor:
        """Return the derivatives as symmetric tensors, shape (…, invariant, 6), at E with shape (…, 6)."""
        rows = [self._identity(E).expand_as(E), 2 * E, 3 * product(E, E)]
        if self.axis is not None:
            M = self._structure(E).expand_as(E)
            rows += [M, 2 * product(E, M)]
        return torch.stack(rows, -2)

    @tensor_or_array
    def joint(self, E: Tensor, D: Tensor) -> Tensor:
        """Return the joint invariants, shape (…, joint invariant), of E and D with shape (…, 6)."""
        D = torch.as_tensor(D).to(E)
        ED = product(E, D)
        columns = [contract(E, D), contract(E, ED), contract(ED, D)]
        if self.axis is not None:
            columns.append(contract(ED, self._structure(E)))
        return torch.stack(columns, -1)

    @tensor_or_array
    def joint_gradient(self, E: Tensor, D: Tensor) -> Tensor:
        """Return their derivatives with respect to E and D as symmetric tensors, shape (2, …, joint invariant, 6)."""
        E, D = torch.broadcast_tensors(E, torch.as_tensor(D).to(E))
        twice = 2 * product(E, D)
        by_E, by_D = [D, twice, product(D, D)], [E, product(E, E), twice]
        if self.axis is not None:
            M = self._structure(E)
            by_E.append(product(D, M))
            by_D.append(product(E, M))
        return torch.stack([torch.stack(by_E, -2), torch.stack(by_D, -2)])

    def _structure(self, like: Tensor) -> Tensor:
        """Return the structure tensor M = n ⊗ n, shape (6,)."""
        return like.new_tensor(dyad(np.array(self.axis)))

    @staticmethod
    def _identity(like: Tensor) -> Tensor:
        """Return the identity tensor, shape (6,)."""
        return like.new_tensor(IDENTITY)
