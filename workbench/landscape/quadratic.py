r"""The quadratic model of a potential about a state, in natural units, and what counts as zero in it.

With ∇²Ψ = V Λ Vᵀ and c = Vᵀ∇Ψ, the components of the gradient along the eigenvectors, Newton's step is −c/λ along each.
Numbers are compared with the largest |λ| s², with s the side of the box along the eigenvector, never with an absolute
one. A component of the gradient times s is known to about (1e-14 + 8δ) max|λ| s², where δ is the resolution of x (see
`workbench.potentials.natural`): below that it is noise.

Where the states have unlike scales, an eigenvalue may be smaller than the rounding error of the largest. Jacobi's
rotations find small eigenvalues of such graded matrices to high relative accuracy, and are used there.

References
----------
J. Demmel, K. Veselić, SIAM J. Matrix Anal. Appl. 13, 1204-1245 (1992), doi:10.1137/0613074.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["SETTLED_NOISE", "QuadraticModel", "eigh", "quadratic_model", "times"]

ROUNDING = 1e-14  # relative to the largest curvature: rounding error of a component of the gradient
RESOLUTIONS = 8.0  # how many times the resolution of x the error of Newton's step may be
ZERO_EIGENVALUE = 1e-8  # relative to the largest curvature there: smaller ones count as zero
SETTLED_STEP, SETTLED_NOISE = 1e-6, 1e4  # Newton's step in sides, and multiple of the noise, at the end of a search
UNLIKE = 1e3  # ratio of the natural lengths of two states beyond which Jacobi's method is used
MOST_SWEEPS = 30


@dataclass(frozen=True)
class QuadraticModel:
    """Eigenvalues in ascending order, eigenvectors, components of the gradient, and the sides of the box along them.

    Shapes are (row, dim), (row, dim, dim), (row, dim) and (row, dim); `precision` is the relative error of a component.
    """

    values: Tensor
    vectors: Tensor
    components: Tensor
    side: Tensor
    precision: Tensor

    @property
    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.values, self.vectors, self.components, self.side

    @property
    def largest(self) -> Tensor:
        """Largest |λ| times the square of the side along its eigenvector, shape (row, 1)."""
        return (self.values.abs() * self.side**2).amax(-1, keepdim=True)

    @property
    def noise(self) -> Tensor:
        """Error of the components of the gradient, shape (row, dim)."""
        return self.precision * self.largest / self.side

    @property
    def zero(self) -> Tensor:
        """|λ| below which an eigenvalue counts as zero, shape (row, dim)."""
        return ZERO_EIGENVALUE * self.largest / self.side**2

    @property
    def flat(self) -> Tensor:
        """Whether an eigenvalue counts as zero, shape (row, dim)."""
        return self.values.abs() <= self.zero

    @property
    def minimal(self) -> Tensor:
        """Whether no eigenvalue is negative, shape (row,); those that count as zero are not."""
        return (self.values >= -self.zero).all(-1)

    def softest(self, count: Tensor) -> Tensor:
        """Return which are the `count` eigenvectors with the smallest |λ|, shape (row, dim); count has shape (row,)."""
        return self.values.abs().argsort(-1).argsort(-1) < count[:, None]

    def newton(self) -> Tensor:
        """Return −c/|λ| along the eigenvectors, shape (row, dim); zero where c is noise."""
        size = self.values.abs().maximum(0.1 * self.zero)
        return torch.where(self.components.abs() <= self.noise, 0.0, -self.components / size)

    def stationary(self, step: float, slack: float = 1.0) -> Tensor:
        """Return whether Newton's step is at most `step` sides along every eigenvector, or `slack` × noise: (row,)."""
        bound = torch.maximum(step * self.side * self.values.abs(), slack * self.noise)
        return (self.components.abs() <= bound).all(-1)

    def settled(self) -> Tensor:
        """Return whether a search or descent may have ended here: `stationary`, with room for its error, (row,)."""
        return self.stationary(SETTLED_STEP, SETTLED_NOISE)

    def at(self, rows: Tensor) -> "QuadraticModel":
        """Return the model at some of its states."""
        values, vectors, components, side = (one[rows] for one in self._tensors)
        return QuadraticModel(values, vectors, components, side, self.precision)

    def joined(self, other: "QuadraticModel") -> "QuadraticModel":
        """Return the model at its own states, then at those of another."""
        pairs = zip(self._tensors, other._tensors, strict=True)
        values, vectors, components, side = (torch.cat(pair) for pair in pairs)
        return QuadraticModel(values, vectors, components, side, self.precision)


def quadratic_model(
    gradient: Tensor, hessian: Tensor, resolution: Tensor, sides: Tensor | None = None
) -> QuadraticModel:
    """Return the quadratic model.

    Parameters
    ----------
    gradient, hessian : torch.Tensor
        ∇Ψ, shape (row, dim), and ∇²Ψ, (row, dim, dim), in natural units.
    resolution : torch.Tensor
        Resolution of the states in units of the sides of the box, shape (dim,).
    sides : torch.Tensor, optional
        Sides of the box in the units of the derivatives, shape (dim,); by default 1.

    Returns
    -------
    QuadraticModel
    """
    values, vectors = eigh(hessian, sides)
    side = torch.ones_like(values) if sides is None else 1 / (vectors / sides[:, None]).norm(dim=-2)
    precision = ROUNDING + RESOLUTIONS * resolution.max()
    return QuadraticModel(values, vectors, times(vectors.mT, gradient), side, precision)


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the products of matrices (row, n, dim) and vectors (row, dim), shape (row, n)."""
    return (matrix @ vector.unsqueeze(-1))[..., 0]


def eigh(matrix: Tensor, sides: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return eigenvalues in ascending order, (row, dim), and eigenvectors, (row, dim, dim), of symmetric matrices.

    Jacobi's method is used where the states, whose natural lengths are `sides`, have unlike scales.

    Examples
    --------
    >>> graded = torch.tensor([[[1e30, 1.0], [1.0, 2e-30]]], dtype=torch.float64)
    >>> [f"{value:.6g}" for value in eigh(graded, torch.tensor([1.0, 1e30]))[0][0].tolist()]
    ['1e-30', '1e+30']
    """
    if sides is None or not sides.max() > UNLIKE * sides.min():
        return torch.linalg.eigh(matrix)
    values, vectors = _jacobi(matrix.detach().cpu().numpy())
    return torch.as_tensor(values).to(matrix), torch.as_tensor(vectors).to(matrix)


def _jacobi(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `eigh` does, by Jacobi's rotations."""
    a, dim = matrix.copy(), matrix.shape[-1]
    v = np.broadcast_to(np.eye(dim), a.shape).copy()
    with np.errstate(all="ignore"):
        for _ in range(MOST_SWEEPS):
            turned = False
            for p in range(dim - 1):
                for q in range(p + 1, dim):
                    apq, app, aqq = a[:, p, q], a[:, p, p], a[:, q, q]
                    due = np.abs(apq) > 1e-16 * np.sqrt(np.abs(app)) * np.sqrt(np.abs(aqq))
                    if not due.any():
                        continue
                    turned = True
                    theta = (aqq - app) / (2 * apq)
                    t = np.where(theta >= 0, 1.0, -1.0) / (np.abs(theta) + np.hypot(1.0, theta))
                    t = np.where(due & np.isfinite(t), t, 0.0)
                    cosine = 1 / np.hypot(1.0, t)
                    _rotate(a, v, p, q, t, cosine, due)
            if not turned:
                break
    values = np.diagonal(a, axis1=-2, axis2=-1)
    order = values.argsort(-1)
    return np.take_along_axis(values, order, -1), np.take_along_axis(v, order[:, None], -1)


def _rotate(a: np.ndarray, v: np.ndarray, p: int, q: int, t: np.ndarray, cosine: np.ndarray, due: np.ndarray) -> None:
    """Rotate matrices a and vectors v, both (row, dim, dim), in place, so that a_pq becomes zero where it is due."""
    sine, apq = t * cosine, a[:, p, q].copy()
    app, aqq = a[:, p, p] - t * apq, a[:, q, q] + t * apq
    c, s = cosine[:, None], sine[:, None]
    for rows in (a.swapaxes(1, 2), a, v.swapaxes(1, 2)):  # columns of a, its rows, columns of v
        rows[:, p], rows[:, q] = c * rows[:, p] - s * rows[:, q], s * rows[:, p] + c * rows[:, q]
    a[:, p, p], a[:, q, q] = app, aqq
    a[:, p, q] = a[:, q, p] = np.where(due, 0.0, apq)
