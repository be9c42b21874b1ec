r"""Curves of stationary points u = (x, b) of a family Ψ_b: the derivatives needed on them, and Newton's method.

The curves solve ∇Ψ_b(x) = 0. Their tangent t is the null vector of the Jacobian [∇²Ψ | ∂_b∇Ψ]. The derivative ∂_b∇Ψ
is that of the family where it has one, as a blend does, and otherwise a central difference. All vectors and derivatives
are scaled: x in units of the box and b in units of its range. Potentials that remember their last state
(`Remembering`) evaluate it once for all that is asked there.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from workbench.potentials.box import Box
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential

__all__ = ["SAME_SOLUTION", "Array", "Curves", "Family"]

B_INCREMENT = 1e-4  # of the range of b, for the difference quotient ∂_b
SAME_SOLUTION = 1e-5  # in scaled units: points closer than this are identified
NEAREST_STEPS = 3  # of a path, in which a point on its curve is looked for
FULL_RANK = 1e-7  # relative: smaller singular values of the Jacobian count as zero
SOFT = 0.05  # relative: curvatures below may vanish nearby
NEWTON_TOLERANCE = 1e-10  # in scaled units: a Newton step as short as this ends the iteration

Array = np.ndarray
Family = Callable[[float], Potential]


class Curves:
    """Scaled derivatives of Ψ_b, in units of its spread, at u = (y, c), shape (dim + 1,).

    y is x in units of the box, c is b in units of its range.

    Parameters
    ----------
    family : callable
        Function of b that returns a potential without members.
    box : Box
        Unit of x.
    between : tuple of (float, float)
        Range of b, its lowest and highest value.
    by_b : Landscape, optional
        ∂_bΨ, where it is known and the same for all b; by default a difference quotient.
    """

    def __init__(
        self,
        family: Callable[[float], Landscape],
        box: Box,
        between: tuple[float, float],
        by_b: Landscape | None = None,
    ) -> None:
        self.low, self.width = box.low.cpu().numpy().astype(float), box.width.cpu().numpy().astype(float)
        self.start, self.span = between[0], between[1] - between[0]
        ends = [Natural(family(b), box) for b in (between[0], between[0] + self.span / 2, between[1])]
        self.spread = max(one.spread for one in ends)  # of Ψ, its unit
        of_b = np.finfo(float).eps * max(abs(between[0]), abs(between[1]), self.span) / self.span
        self.resolution = max(of_b, *(float(one.resolution.max()) for one in ends))
        self.tolerance = max(NEWTON_TOLERANCE, 8 * self.resolution)
        self._jacobians: dict[bytes, Array] = {}
        self._levels: dict[bytes, float] = {}
        self.at = lru_cache(maxsize=16)(lambda c: family(self.b(c)))
        self.by_b = by_b

    def x(self, u: Array) -> Array:
        """Return the unscaled x of u, shape (…, dim + 1), as an array of shape (…, dim)."""
        return self.low + self.width * u[..., :-1]

    def b(self, c: float) -> float:
        """Return the unscaled b."""
        return float(self.start + self.span * c)

    @torch.no_grad()
    def gradient(self, u: Array) -> Array:
        """Return ∇Ψ, shape (dim,)."""
        return np.asarray(self.at(u[-1]).gradient(self.x(u)), dtype=float) * (self.width / self.spread)

    @torch.no_grad()
    def hessian(self, u: Array) -> Array:
        """Return ∇²Ψ, shape (dim, dim)."""
        hessian = np.asarray(self.at(u[-1]).evaluate(self.x(u), 2).hessian, dtype=float)
        return hessian * (self.width / self.spread)[:, None] * self.width

    @torch.no_grad()
    def gradient_by_b(self, u: Array) -> Array:
        """Return ∂_b∇Ψ, shape (dim,)."""
        if self.by_b is not None:
            return np.asarray(self.by_b.gradient(self.x(u)), dtype=float) * (self.width * self.span / self.spread)
        middle = min(max(u[-1], B_INCREMENT), 1 - B_INCREMENT)  # within the range
        below, above = (self.gradient(np.append(u[:-1], middle + side * B_INCREMENT)) for side in (-1, 1))
        slope = (above - below) / (2 * B_INCREMENT)
        if middle == u[-1]:
            return slope
        centre = self.gradient(np.append(u[:-1], middle))
        return slope + (u[-1] - middle) * (above - 2 * centre + below) / B_INCREMENT**2

    def potential(self, u: Array) -> float:
        """Return Ψ, in its own units."""
        self.jacobian(u)
        return self._levels[u.tobytes()]

    def jacobian(self, u: Array) -> Array:
        """Return [∇²Ψ | ∂_b∇Ψ], shape (dim, dim + 1)."""
        key = u.tobytes()
        if key not in self._jacobians:
            self._jacobians[key] = np.column_stack([self.hessian(u), self.gradient_by_b(u)])
            self._levels[key] = float(self.at(u[-1]).value(self.x(u)))
        return self._jacobians[key]

    def tangent(self, u: Array) -> Array:
        """Return the unit null vector of the Jacobian, shape (dim + 1,), with arbitrary sign."""
        return np.linalg.svd(self.jacobian(u))[2][-1]

    def is_soft(self, u: Array) -> bool:
        """Return whether the Hessian at u has an eigenvalue that is much smaller than the largest, or than 1."""
        size = np.abs(np.linalg.eigvalsh(self.jacobian(u)[:, :-1]))
        return bool(size.min() < SOFT * max(size.max(), 1.0))

    def has_one_tangent(self, u: Array) -> bool:
        """Return whether the Jacobian at u has full rank; where branches meet it has not."""
        size = np.linalg.svd(self.jacobian(u), compute_uv=False)
        return bool(size[-1] > (FULL_RANK + 100 * self.resolution) * max(size[0], 1.0))

    def passes(self, path: Array, u: Array) -> bool:
        """Return whether the curve along a path, shape (point, dim + 1), passes through u, shape (dim + 1,).

        It does if a point of the path is u, or if the path, corrected in a plane across it through u, comes to u.
        """
        same = SAME_SOLUTION + 100 * self.resolution
        if np.linalg.norm(path - u, axis=-1).min() < same:
            return True
        steps = np.diff(path, axis=0)
        lengths = np.linalg.norm(steps, axis=-1)
        start, steps, lengths = path[:-1][lengths > 0], steps[lengths > 0], lengths[lengths > 0]
        along = steps / lengths[:, None]
        at = ((u - start) * along).sum(-1)
        distance = np.linalg.norm(start + np.clip(at, 0, lengths)[:, None] * along - u, axis=-1)
        for k in distance.argsort()[:NEAREST_STEPS]:
            exact = self.corrected(start[k] + at[k] * along[k], along[k]) if distance[k] <= lengths[k] else None
            if exact is not None and np.linalg.norm(exact[0] - u) < same:
                return True
        return False

    def corrected(self, u: Array, t: Array) -> tuple[Array, int] | None:
        """Return the solution in the plane through u normal to t, and the number of Newton steps; None on failure.

        The Jacobian is evaluated again only where the last step shrank by less than a factor of five.
        """
        predicted, previous, size = u, np.inf, np.inf
        for k in range(1, 16):
            if not -1e-9 <= u[-1] <= 1 + 1e-9:
                return None
            if k == 1 or size > 0.2 * previous:
                jacobian = np.vstack([self.jacobian(u), t])
            residual = np.append(self.gradient(u), t @ (u - predicted))
            if not (np.isfinite(residual).all() and np.isfinite(jacobian).all()):
                return None
            previous = size
            step = np.linalg.lstsq(jacobian, residual, rcond=None)[0]
            u, size = u - step, float(np.linalg.norm(step))
            if size < self.tolerance:
                return u, k
        return None
