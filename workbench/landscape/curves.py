r"""Curves of stationary points u = (x, b): what ∇Ψ_b(x) = 0 and its derivatives are on them, and Newton's method.

The tangent t is the null vector of [∇²Ψ | ∂_b∇Ψ]; ∂_b∇Ψ is a central difference, exact where Ψ is affine in b, as a
blend is. x is measured in units of the box and b in units of its range.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from workbench.landscape.box import Box
from workbench.potentials.potential import Potential

__all__ = ["Array", "Curves", "Family"]

DIFFERENCE = 1e-4  # of the range of b, for ∂_b
CLOSE = 1e-10  # a step of Newton's method that leaves nothing to gain

Array = np.ndarray
Family = Callable[[float], Potential]


class Curves:
    """∇Ψ, ∇²Ψ and ∂_b∇Ψ at u = (y, c), shape (dim + 1,): y in units of the box, c in units of the range of b."""

    def __init__(self, family: Family, box: Box, between: tuple[float, float]) -> None:
        self.low, self.width = box.low.cpu().numpy().astype(float), box.width.cpu().numpy().astype(float)
        self.start, self.span = between[0], between[1] - between[0]
        self.known: dict[bytes, Array] = {}
        self.at = lru_cache(maxsize=16)(lambda c: family(self.b(c)))

    def x(self, u: Array) -> Array:
        """Return x, shape (…, dim), in its own units."""
        return self.low + self.width * u[..., :-1]

    def b(self, c: float) -> float:
        """Return b in its own units."""
        return float(self.start + self.span * c)

    @torch.no_grad()
    def slope(self, u: Array) -> Array:
        """Return ∇Ψ, shape (dim,)."""
        return np.asarray(self.at(u[-1]).gradient(self.x(u))) * self.width

    @torch.no_grad()
    def bend(self, u: Array) -> Array:
        """Return ∇²Ψ, shape (dim, dim)."""
        return np.asarray(self.at(u[-1]).hessian(self.x(u))) * np.outer(self.width, self.width)

    def drift(self, u: Array) -> Array:
        """Return ∂_b∇Ψ, shape (dim,)."""
        before, after = max(0.0, u[-1] - DIFFERENCE), min(1.0, u[-1] + DIFFERENCE)
        return (self.slope(np.append(u[:-1], after)) - self.slope(np.append(u[:-1], before))) / (after - before)

    def jacobian(self, u: Array) -> Array:
        """Return [∇²Ψ | ∂_b∇Ψ], shape (dim, dim + 1)."""
        key = u.tobytes()
        if key not in self.known:
            self.known[key] = np.column_stack([self.bend(u), self.drift(u)])
        return self.known[key]

    def tangent(self, u: Array) -> Array:
        """Return the null vector of the Jacobian, shape (dim + 1,), of either sign."""
        return np.linalg.svd(self.jacobian(u))[2][-1]

    def corrected(self, u: Array, t: Array) -> tuple[Array, int] | None:
        """Return the solution on the plane through u across t, and the steps of Newton's method; None if it fails.

        The Jacobian of the last step serves as long as steps shrink well.
        """
        foot, before, size = u, np.inf, np.inf
        for k in range(1, 16):
            if not -1e-9 <= u[-1] <= 1 + 1e-9:
                return None
            residual = np.append(self.slope(u), t @ (u - foot))
            if not np.isfinite(residual).all():
                return None
            if k == 1 or size > 0.2 * before:  # the first time, or where the last steps shrank badly
                jacobian = np.vstack([self.jacobian(u), t])
                if not np.isfinite(jacobian).all():
                    return None
            before = size
            move = np.linalg.lstsq(jacobian, residual, rcond=None)[0]
            u, size = u - move, float(np.linalg.norm(move))
            if size < CLOSE:
                return u, k
        return None
