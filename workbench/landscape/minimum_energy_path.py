r"""Minimum-energy paths: the way from well to well that is everywhere parallel to ∇Ψ, and the barriers on it.

A string of states from one well to the other is let down the gradient flow and spaced evenly again, over and over (the
simplified string method of E, Ren and Vanden-Eijnden); steps follow the local quadratic model, so stiff directions
do not slow it. It decides which way is taken. What counts is then made exact: every crest of the string is
polished into a saddle of index 1 by eigenvector following, and the path is the lines of steepest descent that leave
the saddles and end in the wells.
"""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, make_interp_spline
from torch import Tensor

from workbench.checks import require_integer
from workbench.errors import LandscapeError
from workbench.landscape.box import SAME, Box, distinct
from workbench.landscape.eigenvector_following import search
from workbench.landscape.graph import unstable_directions
from workbench.landscape.steepest_descent import descent_paths
from workbench.potentials.ensembles import each_member
from workbench.potentials.potential import Potential, require_potential, rows_of

__all__ = ["minimum_energy_path"]

STRING = 48  # images of the string
ROUNDS = 400  # more than a string that settles needs
SETTLED = 2e-4  # of its length: a string that moves less in a round has settled
NUDGE = 1e-4  # of the box: how far from a saddle its descents start
STEP = 0.02  # of the box, the longest along a descent
EDGE = 1e-12  # relative size of an eigenvalue that counts as zero


def minimum_energy_path(
    potential: Potential,
    start: ArrayLike,
    end: ArrayLike,
    *,
    via: ArrayLike | None = None,
    images: int = 101,
    within: Sequence[tuple[float, float]] | None = None,
    points: xr.Dataset | None = None,
) -> xr.Dataset:
    """Return the minimum-energy path between two wells of Ψ, the saddles on it, and the barrier both ways.

    `start` and `end`, shape (dim,), lie near minima, to which they are relaxed. The string begins as the straight line
    between them, or through the states `via`, shape (knot, dim): where there are several paths, that decides which is
    found. Lengths are measured in a box: `within`, or a cube about the two wells three times as wide as they are apart.

    The dataset holds x(image, state) and potential(image) at even distances on each descent, distance(image) from the
    start, stop(image) ("minimum", "saddle" or "" between), the highest point saddle(state) with saddle_potential,
    saddle_eigenvalue(state) and saddle_residual, and barrier(way), its height over the start ("forward") and over the
    end ("backward"). With `points`, as of `stationary_points`, mismatch is the distance from that saddle to the
    nearest of them. Members of an ensemble each have their path, along a leading dimension `member`.

    Two ends in one well, ends without a minimum near them, and crests that are no saddles (where Ψ has a kink or is
    flat, or of a string that did not settle) raise `LandscapeError`.

    >>> import systems
    >>> surface = systems.get("muller_brown")
    >>> path = minimum_energy_path(surface, (-0.56, 1.44), (0.62, 0.03))
    >>> path.barrier.values.round(2).tolist(), path.stop.values[path.stop != ""].tolist()
    ([106.03, 67.5], ['minimum', 'saddle', 'minimum', 'saddle', 'minimum'])
    """
    require_potential(potential)
    require_integer(9, images=images)
    knots = torch.cat([rows_of(potential, x, n) for x, n in ((start, "start"), (end, "end"))])
    if len(knots) != 2:
        raise ValueError(f"start and end are one state each, got {len(knots)} in all")
    box = _around(knots) if within is None else Box.of(potential, within)
    if via is not None:
        knots = torch.cat([knots[:1], rows_of(potential, via, "via"), knots[1:]])
    if potential.members is None:
        return _path(potential, knots, box, int(images), points)
    parts = []
    for k, member in enumerate(each_member(potential)):
        mine = points if points is None or "member" not in points.coords else _of_member(points, k)
        parts.append(_path(member, knots, box, int(images), mine))
    return xr.concat(parts, "member").assign_coords(member=np.arange(len(parts)))


def _of_member(points: xr.Dataset, k: int) -> xr.Dataset:
    return points.isel(point=(points["member"] == k).values)


def _around(ends: Tensor) -> Box:
    far = (ends[1] - ends[0]).norm()
    if not far > 0:
        raise LandscapeError(f"start and end are the same state, {ends[0].tolist()}; name two different wells")
    middle = ends.mean(0)
    return Box(middle - 1.5 * far, middle + 1.5 * far)


@torch.no_grad()
def _path(potential: Potential, knots: Tensor, box: Box, images: int, points: xr.Dataset | None) -> xr.Dataset:
    ends = _wells(potential, knots[[0, -1]], box)
    string = _settled(potential, torch.cat([ends[:1], knots[1:-1], ends[1:]]), box)
    saddles = _saddles(potential, string, box)
    legs = _legs(potential, saddles, ends, box)
    return _dataset(potential, legs, box, images, points)


def _wells(potential: Potential, near: Tensor, box: Box) -> Tensor:
    """Return the minima to which both ends relax, shape (2, dim)."""
    x = search(potential, near, box, 0)
    for given, well, name in zip(near, x, ("start", "end"), strict=True):
        where = f"near the {name} {given.tolist()}"
        if not torch.isfinite(well).all():
            raise LandscapeError(f"the potential is not finite {where}")
        bend = torch.linalg.eigvalsh(potential.hessian(well) * torch.outer(box.width, box.width))
        slope = (potential.gradient(well) * box.width).norm()
        if not box.contains(well, 0.5) and box.length(well - given) < 0.5:
            raise LandscapeError(f"the well {where}, at {well.tolist()}, is far outside the box of within=…")
        if not box.contains(well, 0.5) or slope > 1e-6 * bend.abs().max() or bend[0] < -EDGE * bend.abs().max():
            raise LandscapeError(
                f"there is no minimum {where}: the search ends at {well.tolist()}; take a state of a well, such as one "
                "of stationary_points(…)"
            )
    if box.length(x[1] - x[0]) <= SAME:
        raise LandscapeError(f"start and end lie in one well, {x[0].tolist()}; name two different wells")
    return x


def _settled(potential: Potential, knots: Tensor, box: Box) -> Tensor:
    """Return the string at rest, shape (STRING, dim), in states."""
    x = _even(knots, box, linear=True)
    for _ in range(ROUNDS):
        space = box.length(x[1:] - x[:-1]).sum() / (STRING - 1)
        g, H = potential.gradient(x), potential.hessian(x)
        if not (torch.isfinite(g).all() and torch.isfinite(H).all()):
            raise LandscapeError("the potential is not finite along the path; give a way around through via=…")
        values, vectors = torch.linalg.eigh(H)
        h = (space / box.length(g).clamp_min(torch.finfo(x.dtype).tiny)).unsqueeze(-1)
        h = h.minimum(1 / values.abs().amin(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny))
        z = h * values
        decay = torch.where(z.abs() < 1e-8, h, -torch.expm1(-z.clamp_min(-1.0)) / values)
        moved = x - (vectors @ (decay * (vectors.mT @ g.unsqueeze(-1))[..., 0]).unsqueeze(-1))[..., 0]
        moved[0], moved[-1] = x[0], x[-1]
        before, x = x, _even(moved, box)
        if box.length(x - before).max() <= SETTLED * space * (STRING - 1):
            break
    return x


def _even(x: Tensor, box: Box, *, linear: bool = False) -> Tensor:
    """Return STRING states at even distances along the line through x, shape (knot, dim)."""
    along = torch.cat([torch.zeros_like(x[:1, 0]), box.length(x[1:] - x[:-1]).cumsum(0)]).cpu().numpy()
    at = np.linspace(0, along[-1], STRING)
    curve = make_interp_spline(along, x.cpu().numpy(), k=1 if linear or len(x) < 4 else 3)
    return torch.as_tensor(curve(at)).to(x)


def _saddles(potential: Potential, string: Tensor, box: Box) -> Tensor:
    """Return the saddles into which the crests of the string are polished, in their order along it, (saddle, dim)."""
    along = CubicSpline(np.linspace(0, 1, STRING), potential.value(string).cpu().numpy())
    fine = np.linspace(0, 1, 20 * STRING)
    level = along(fine)
    crest = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])) + 1
    curve = make_interp_spline(np.linspace(0, 1, STRING), string.cpu().numpy(), k=3)
    x = search(potential, torch.as_tensor(curve(fine[crest])).to(string).reshape(-1, string.shape[1]), box, 1)
    x = x[torch.isfinite(x).all(-1)]
    bend = torch.linalg.eigvalsh(potential.hessian(x) * torch.outer(box.width, box.width)) if len(x) else x
    slope = (potential.gradient(x) * box.width).norm(dim=-1)
    x = x[((bend < 0).sum(-1) == 1) & (slope <= 1e-6 * bend.abs().amax(-1))] if len(x) else x
    if not len(x):
        raise LandscapeError(
            "no crest of the path is near a saddle: either the potential has a kink there or is flat, or the string "
            "did not settle; give states on the way through via=…"
        )
    return x[distinct(x, box)]


def _legs(potential: Potential, saddles: Tensor, ends: Tensor, box: Box) -> list[Tensor]:
    """Return the descents that lead from the first end to the second, each (step, dim) from stop to stop."""
    down = descent_paths(potential, unstable_directions(potential, saddles, box, NUDGE), box, longest=STEP)
    count = len(saddles)
    foot = torch.stack([way[-1] for way in down])
    stops = torch.cat([ends, foot[torch.isfinite(foot).all(-1)]])
    stops = stops[distinct(stops, box)]

    def stop_of(x: Tensor) -> int:
        return int(box.length(stops - x).argmin()) if torch.isfinite(x).all() else -1

    joins = [(stop_of(foot[k]), stop_of(foot[count + k])) for k in range(count)]
    heights = potential.value(saddles).tolist()
    route = _route(joins, heights)
    if route is None:
        raise LandscapeError(
            f"the {count} saddles on the path do not join its ends; let the string pass through other states, via=…"
        )
    legs = []
    for k, side in route:
        up, fall = (down[k + count * s] for s in (side, 1 - side))
        first, last = (stops[joins[k][s]] for s in (side, 1 - side))
        legs.append(torch.cat([first[None], up[:-1].flip(0), saddles[k : k + 1]]))
        legs.append(torch.cat([saddles[k : k + 1], fall[:-1], last[None]]))
    return legs


def _route(joins: Sequence[tuple[int, int]], heights: Sequence[float]) -> list[tuple[int, int]] | None:
    """Return the saddles, each with the side one comes from, on the lowest way from stop 0 to stop 1."""
    queue: list[tuple[float, int, list[tuple[int, int]]]] = [(-np.inf, 0, [])]
    seen = set()
    while queue:
        crest, here, route = heapq.heappop(queue)
        if here == 1:
            return route
        if here not in seen:
            seen.add(here)
            for k, sides in enumerate(joins):
                for side in (0, 1):
                    if sides[side] == here and sides[1 - side] >= 0:
                        step = (max(crest, heights[k]), sides[1 - side], [*route, (k, side)])
                        heapq.heappush(queue, step)
    return None


def _dataset(potential: Potential, legs: list[Tensor], box: Box, images: int, points: xr.Dataset | None) -> xr.Dataset:
    lengths = [float(box.length(leg[1:] - leg[:-1]).sum()) for leg in legs]
    shares = np.diff(np.round(np.cumsum([0.0, *lengths]) / sum(lengths) * (images - 1)).astype(int))
    parts, stop = [legs[0][:1].cpu().numpy()], ["minimum"]
    for number, (leg, count) in enumerate(zip(legs, np.maximum(shares, 1), strict=True)):
        along = torch.cat([torch.zeros_like(leg[:1, 0]), box.length(leg[1:] - leg[:-1]).cumsum(0)]).cpu().numpy()
        apart = np.minimum(np.diff(along)[:-1], along[-1] - along[1:-1]) > 1e-12 * along[-1]
        fresh = np.concatenate([[True], apart, [True]])
        states = CubicSpline(along[fresh], leg.cpu().numpy()[fresh])(np.linspace(0, along[-1], count + 1)[1:])
        states[-1] = leg[-1].cpu().numpy()
        parts.append(states)
        stop += [""] * (count - 1) + ["saddle" if number % 2 == 0 else "minimum"]
    x = np.concatenate(parts)
    level, stops = np.asarray(potential.value(x)), np.array(stop, dtype="U7")
    top = int(np.flatnonzero(stops == "saddle")[level[stops == "saddle"].argmax()])
    distance = np.concatenate([[0.0], np.linalg.norm(np.diff(x, axis=0), axis=-1).cumsum()])
    curvature = np.linalg.eigvalsh(potential.hessian(x[top]))
    columns: dict[str, Any] = {
        "x": (("image", "state"), x, "minimum-energy path"),
        "potential": ("image", level, "potential"),
        "distance": ("image", distance, "distance along the path"),
        "saddle": ("state", x[top], "highest saddle on the path"),
        "saddle_potential": ((), level[top], "potential of the highest saddle"),
        "saddle_eigenvalue": (
            "state",
            curvature,
            "eigenvalue of the Hessian there",
        ),
        "saddle_residual": ((), np.linalg.norm(potential.gradient(x[top])), "norm of the gradient there"),
        "barrier": (
            "way",
            level[top] - level[[0, -1]],
            "height of that saddle over the well it is climbed from",
        ),
    }
    if points is not None:
        apart = np.linalg.norm(points["x"].values - x[top], axis=-1)
        columns["mismatch"] = ((), apart.min(initial=np.inf), "distance of the saddle to the nearest stationary point")
    variables: dict[str, Any] = {
        name: (dims, values, {"long_name": text, "units": "1"}) for name, (dims, values, text) in columns.items()
    }
    variables["stop"] = ("image", stops, {"long_name": "kind of stationary point"})
    coords = {"image": np.arange(len(x)), "state": list(potential.states), "way": ["forward", "backward"]}
    return xr.Dataset(variables, coords=coords)
