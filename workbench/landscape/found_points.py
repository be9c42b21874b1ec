r"""Stationary points as searches find them: coinciding ones merged, families represented, all counted.

A point is kept where Newton's step is short or made of rounding errors. Of a continuous family of points one is kept
(see `families`); points that only end in a flat valley are left out; degenerate points are one if all states between
them are stationary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from workbench.landscape.completeness import ENOUGH, coverage, missing
from workbench.landscape.eigenvector_following import search
from workbench.landscape.families import isolated_zeros, model_at, representatives, zero_modes
from workbench.landscape.quadratic import QuadraticModel, eigh
from workbench.potentials.box import SAME_POINT
from workbench.potentials.bridge import evaluated
from workbench.potentials.natural import Natural

__all__ = ["FoundPoints"]

SLACK = 100.0  # how many times the noise of the gradient a component at a stationary point may be
MOSTLY = 0.5  # probability to find a known point below which further searches are hopeless
FLAT_REGION = 1e-6  # of the depth of the deepest minimum: a smaller change of Ψ over the box counts as none
LONGEST_BRIDGE = 0.2  # in units of the box: degenerate points closer than this may be one, if all between is stationary
WIDE, WIDEST = 100, 0.01  # of representatives of families, in `SAME_POINT`s; in units of the box: points farther apart


class FoundPoints:
    """Stationary points as they are found: where, how often, and the quadratic model about each.

    Parameters
    ----------
    natural : Natural
        The potential.
    tolerance : float
        Longest step of Newton's method, in units of the box, at a stationary point.

    Attributes
    ----------
    y : torch.Tensor
        The points in natural units, shape (point, dim).
    found : torch.Tensor
        How often each was found, shape (point,).
    model : QuadraticModel
        Quadratic models about them.
    zero : torch.Tensor
        Which eigenvectors are zero modes of a continuous family, shape (point, dim).
    degenerate : torch.Tensor
        Where another eigenvalue is zero, shape (point,).
    valleys : torch.Tensor
        States that were left out as the edges of flat valleys, shape (state, dim).
    """

    def __init__(self, natural: Natural, tolerance: float) -> None:
        self.natural, self.tolerance = natural, tolerance
        dim = len(natural.states)
        self.y = torch.zeros((0, dim), dtype=torch.float64, device=natural.device)
        self.found, self.zero, self.degenerate = self.y[:, 0].long(), self.y.bool(), self.y[:, 0].bool()
        self.valleys = self.y
        self.model: QuadraticModel = model_at(natural, self.y)

    def add(self, searches: Sequence[tuple[Tensor, int]]) -> None:
        """Search from states, shape (start, dim), climbing along so many eigenvectors, and keep what is new."""
        y0 = torch.cat([start for start, _ in searches])
        climb = torch.tensor([climb for _, climb in searches], device=y0.device)
        y = search(self.natural, y0, climb.repeat_interleave(torch.tensor([len(start) for start, _ in searches])))
        y = y[torch.isfinite(y).all(-1) & self.natural.box.contains(y)]
        model = model_at(self.natural, y)
        kept = model.stationary(self.tolerance, SLACK) & (model.largest[:, 0] > 0)
        y, model = y[kept], model.at(kept)
        best = (model.components / model.largest).norm(dim=-1).argsort()
        y, model = y[best], model.at(best)
        first, count = _grouped(y, model)
        self._join(y[first], count, model.at(first))

    def _join(self, y: Tensor, count: Tensor, model: QuadraticModel) -> None:
        """Join distinct points and how often each was found to those known."""
        natural = self.natural
        zero, edge = zero_modes(natural, y, model, SLACK)
        inner = ~edge.any(-1)
        self.valleys = torch.cat([self.valleys, y[~inner]])
        y, count, zero, model = y[inner], count[inner], zero[inner], model.at(inner)
        moved = zero.any(-1)
        if moved.any():
            kept = torch.ones_like(moved)
            y[moved], kept[moved] = representatives(natural, y[moved], zero.sum(-1)[moved])
            self.valleys = torch.cat([self.valleys, y[~kept]])
            kept &= natural.box.contains(y)
            y, count, zero = y[kept], count[kept], zero[kept]
            model = model_at(natural, y)
            zero = model.softest(zero.sum(-1))
        degenerate = (model.flat & ~zero).any(-1)
        softest = ~zero.any(-1) & ~degenerate
        degenerate[softest] = isolated_zeros(natural, y[softest], model.at(softest))
        y, count = torch.cat([self.y, y]), torch.cat([self.found, count])
        zero, degenerate = torch.cat([self.zero, zero]), torch.cat([self.degenerate, degenerate])
        model = self.model.joined(model)
        first, counts = _grouped(y, model, count, wide=zero.any(-1))
        first, counts = self._bridged(y, first, counts, degenerate)
        self.y, self.found, self.model = y[first], counts, model.at(first)
        self.zero, self.degenerate = zero[first], degenerate[first]

    def _bridged(self, y: Tensor, first: Tensor, counts: Tensor, degenerate: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows and counts without degenerate points that are joined to others by stationary states."""
        kept = torch.ones_like(first, dtype=torch.bool)
        place = torch.nonzero(degenerate[first])[:, 0]
        for k in place.tolist():
            others = place[kept[place] & (place > k)] if kept[k] else place[:0]
            step = y[first[others]] - y[first[k]]
            others, step = (a[step.norm(dim=-1) < LONGEST_BRIDGE] for a in (others, step))
            for fraction in (0.25, 0.5, 0.75):
                if len(others):
                    between = model_at(self.natural, y[first[k]] + fraction * step)
                    same = between.stationary(100 * SAME_POINT, SLACK**2) | (between.largest[:, 0] == 0)
                    others, step = others[same], step[same]
            kept[others] = False
            counts[k] += counts[others].sum()
        return first[kept], counts[kept]

    @property
    def index(self) -> Tensor:
        """Number of negative eigenvalues of each point, shape (point,); zero ones count as none."""
        return ((self.model.values < 0) & ~self.model.flat & ~self.zero).sum(-1)

    def of_index(self, index: int) -> Tensor:
        """Return which points are of an index and not degenerate, shape (point,)."""
        return (self.index == index) & ~self.degenerate

    def missing(self, index: int) -> float:
        """Return the estimated number of points of an index that were not found."""
        return missing(self.found[self.of_index(index)].cpu().numpy())

    def incomplete(self, indices: Sequence[int]) -> bool:
        """Return whether points of some of the indices are missing, and searches mostly find known ones."""
        own = [self.found[self.of_index(k)].cpu().numpy() for k in indices]
        return any(missing(found) >= ENOUGH and coverage(found) > MOSTLY for found in own)

    def flat_part(self, y0: Tensor) -> float:
        """Return the part of the starting points, shape (start, dim), about which Ψ does not change."""
        level, gradient, _ = evaluated(self.natural, torch.cat([y0, self.y[self.of_index(0)]]), 1)
        below = level[: len(y0)].median() - level[len(y0) :]
        depth = float(below.clamp_min(0).max()) if len(below) else 0.0
        return float((gradient[: len(y0)].norm(dim=-1) <= FLAT_REGION * depth).double().mean())

    def eigenvalues(self) -> np.ndarray:
        """Return the eigenvalues of ∇²Ψ in the units of x and Ψ, shape (point, dim)."""
        natural, model, unit = self.natural, self.model, self.natural.unit
        if not len(self.y) or bool((unit == unit[0]).all()):
            return (model.values * natural.spread / unit[0] ** 2).cpu().numpy()
        largest = unit.max()
        hessian = evaluated(natural, self.y, 2).hessian * torch.outer(largest / unit, largest / unit)
        return (eigh(hessian, unit)[0] * (natural.spread / largest**2)).cpu().numpy()


def _grouped(
    y: Tensor, model: QuadraticModel, count: Tensor | None = None, wide: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the first row of each group of coinciding points, and how often they were found in all, both (group,).

    Points coincide if they differ by at most `SAME_POINT`, or by less than Newton's step can tell, along every
    eigenvector at the first of them; those with `wide` by at most a hundred times that.
    """
    count = torch.ones_like(y[:, 0], dtype=torch.long) if count is None else count
    remaining, first, counts = torch.arange(len(y), device=y.device), [], []
    while len(remaining):
        k = remaining[0]
        near = SAME_POINT * (WIDE if wide is not None and wide[k] else 1)
        reach = (SLACK * model.noise[k] / model.values[k].abs().maximum(model.zero[k])).clamp(near, WIDEST)
        same = ((y[remaining] - y[k]) @ model.vectors[k]).abs().le(reach).all(-1)
        first.append(k)
        counts.append(count[remaining[same]].sum())
        remaining = remaining[~same]
    return (torch.stack(first), torch.stack(counts)) if first else (remaining, remaining)
