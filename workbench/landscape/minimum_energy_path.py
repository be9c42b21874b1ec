r"""Minimum-energy paths between two minima: curves parallel to ∇Ψ, with the saddles and barriers on them.

A string of states between the minima moves down the gradient flow and is then redistributed to equal distances, until
it no longer changes (the simplified string method of E, Ren and Vanden-Eijnden, 2007). Each state follows the flow of
its local quadratic model, so that stiff directions do not limit the step. The string only selects the path; its own
accuracy is not critical. Each maximum of Ψ along the string is refined to a saddle of index 1 by eigenvector following,
and the path consists of the two steepest-descent curves from each saddle to the minima. Of all sequences of saddles
that connect the two minima, the path takes the one whose highest saddle is lowest.
"""

import heapq
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, make_interp_spline
from torch import Tensor

from workbench.checks import require_integer
from workbench.dataset.variables import state_labels, variable
from workbench.errors import LandscapeError
from workbench.landscape.answers import eigenvalues
from workbench.landscape.eigenvector_following import search
from workbench.landscape.graph import unstable_directions
from workbench.landscape.steepest_descent import descent_paths
from workbench.potentials.box import SAME_POINT, Box, distinct, landscape_in
from workbench.potentials.bridge import evaluated, require_potential, rows_of
from workbench.potentials.ensembles import over_members, points_of_member
from workbench.potentials.potential import Landscape, Potential, attributes_of, units_of

__all__ = ["minimum_energy_path"]

STRING_IMAGES = 48
STRING_ITERATIONS = 400  # more than a string that converges needs
STRING_TOLERANCE = 2e-4  # of the length of the string: a smaller displacement per iteration counts as converged
SADDLE_OFFSET = 1e-4  # in units of the box: distance from a saddle at which its descents start
LONGEST_PATH_STEP = 0.02  # in units of the box: longest step along a descent
EIGENVALUE_ROUNDING = 1e-12  # relative to the largest eigenvalue: one above minus this counts as non-negative


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
    """Compute the minimum-energy path between two minima of Ψ, with its saddles and barriers.

    Where several paths join the two minima, the initial string decides which one is found; guide it with `via`.

    Parameters
    ----------
    potential : Potential
        Landscape; each member of an ensemble has its own path.
    start, end : array_like
        States near two different minima, to which they are relaxed; shape (dim,).
    via : array_like, optional
        Intermediate states of the initial string, in order, shape (knot, dim); by default the string is the straight
        line between the minima.
    images : int, default: 101
        Number of states on the path, at least 9. There are a few more if a descent is too short to receive one of its
        own.
    within : sequence of (float, float), optional
        One (low, high) per state: the box that sets the unit of length. Descents may leave it by at most half a
        side. By default a cube centred between `start` and `end` with sides of three times their distance.
    points : xarray.Dataset, optional
        Stationary points from `stationary_points`, to which the highest saddle is compared.

    Returns
    -------
    xarray.Dataset
        The path along ``image``, with the coordinate ``stop(image)``, "minimum" or "saddle" at stationary points and ""
        between them; ensembles add a leading dimension ``member``. Variables, in the units that the potential knows:

        - ``x(image, state)`` and ``potential(image)``, evenly spaced along each descent;
        - ``distance(image)``, the length of the path from the start, without a unit if those of the states are unlike;
        - ``saddle(state)``, the highest saddle, with ``saddle_potential``, ``saddle_eigenvalue(state)`` of the Hessian
          and ``saddle_residual``, the norm of the gradient;
        - ``barrier(way)``, the height of that saddle above the start ("forward") and the end ("backward");
        - ``mismatch``, only with `points`: the distance from that saddle to the nearest of them.

        The attribute ``gauge`` states where the potential is zero.

    Raises
    ------
    TypeError
        If `potential` is not a potential, or changes in time.
    ValueError
        If the shape of `start`, `end`, `via` or `within` is wrong, a state is not finite, or `images` is too small.
    LandscapeError
        If both ends relax to the same minimum, no minimum is found near an end, Ψ is not finite along the string, no
        maximum of the string refines to a saddle (Ψ has a kink or is flat there, or the string did not converge), or
        the saddles found do not connect the two minima.

    References
    ----------
    W. E, W. Ren, E. Vanden-Eijnden, Phys. Rev. B 66, 052301 (2002), doi:10.1103/PhysRevB.66.052301.

    W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 126, 164103 (2007), doi:10.1063/1.2720838.

    C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800-2806 (1981), doi:10.1063/1.442352.

    Examples
    --------
    >>> import systems
    >>> surface = systems.get("muller_brown")
    >>> path = minimum_energy_path(surface, (-0.56, 1.44), (0.62, 0.03))
    >>> path.barrier.values.round(2).tolist(), path.stop.values[path.stop != ""].tolist()
    ([106.03, 67.5], ['minimum', 'saddle', 'minimum', 'saddle', 'minimum'])
    """
    box: Box | None = None
    if within is not None:
        potential, box = landscape_in(potential, within)
    potential = require_potential(potential, np.shape(np.atleast_1d(start))[-1])
    require_integer(9, images=images)
    knots = torch.cat([rows_of(potential, x, n) for x, n in ((start, "start"), (end, "end"))])
    if len(knots) != 2:
        raise ValueError(f"start and end must be one state each, got {len(knots)} states in total")
    box = box or _box_around(knots)
    if via is not None:
        knots = torch.cat([knots[:1], rows_of(potential, via, "via"), knots[1:]])

    def path(one: Landscape, k: int | None) -> xr.Dataset:
        return _path(one, knots, box, int(images), None if points is None else points_of_member(points, k))

    return over_members(potential, path, {"stop": ""})


def _box_around(ends: Tensor) -> Box:
    """Return the default box about the two ends, shape (2, dim)."""
    distance = (ends[1] - ends[0]).norm()
    if not distance > 0:
        raise LandscapeError(f"start and end are the same state, {ends[0].tolist()}; choose two different wells")
    middle = ends.mean(0)
    return Box(middle - 1.5 * distance, middle + 1.5 * distance)


@torch.no_grad()
def _path(potential: Landscape, knots: Tensor, box: Box, images: int, points: xr.Dataset | None) -> xr.Dataset:
    ends = _relaxed_ends(potential, knots[[0, -1]], box)
    string = _relaxed_string(potential, torch.cat([ends[:1], knots[1:-1], ends[1:]]), box)
    saddles = _saddles(potential, string, box)
    segments = _segments(potential, saddles, ends, box)
    found = _dataset(potential, *_images(segments, box, images))
    if points is not None:
        offset = np.linalg.norm(points["x"].values - found["saddle"].values, axis=-1)
        text = "distance from the highest saddle to the nearest stationary point"
        found["mismatch"] = variable((), offset.min(initial=np.inf), text, units_of(potential).of("state"))
    return found


def _relaxed_ends(potential: Landscape, near: Tensor, box: Box) -> Tensor:
    """Return the minima to which both ends relax, shape (2, dim)."""
    x = search(potential, near, box, 0)
    for given, minimum, name in zip(near, x, ("start", "end"), strict=True):
        where = f"near the {name} {given.tolist()}"
        if not torch.isfinite(minimum).all():
            raise LandscapeError(f"the potential is not finite {where}; choose another state")
        _, g, H = evaluated(potential, minimum, 2)
        curvature = torch.linalg.eigvalsh(H * torch.outer(box.width, box.width))
        largest, gradient = curvature.abs().max(), (g * box.width).norm()
        inside = box.contains(minimum, 0.5)
        if not inside and box.length(minimum - given) < 0.5:
            raise LandscapeError(
                f"the minimum {where}, at {minimum.tolist()}, is far outside the box; enlarge within=…"
            )
        if not inside or gradient > 1e-6 * largest or curvature[0] < -EIGENVALUE_ROUNDING * largest:
            raise LandscapeError(
                f"there is no minimum {where}: the search ended at {minimum.tolist()}; pass a state inside a well, "
                "such as a minimum from stationary_points(…)"
            )
    if box.length(x[1] - x[0]) <= SAME_POINT:
        raise LandscapeError(f"start and end lie in the same well, at {x[0].tolist()}; choose two different wells")
    return x


def _relaxed_string(potential: Landscape, knots: Tensor, box: Box) -> Tensor:
    """Return the relaxed string that began as the line through the knots, shape (STRING_IMAGES, dim)."""
    x = _redistributed(knots, box, linear=True)
    for _ in range(STRING_ITERATIONS):
        spacing = box.length(x[1:] - x[:-1]).sum() / (STRING_IMAGES - 1)
        _, g, H = evaluated(potential, x, 2)
        if not (torch.isfinite(g).all() and torch.isfinite(H).all()):
            raise LandscapeError("the potential is not finite along the path; give intermediate states with via=…")
        values, vectors = torch.linalg.eigh(H)
        h = (spacing / box.length(g).clamp_min(torch.finfo(x.dtype).tiny)).unsqueeze(-1)
        h = h.minimum(1 / values.abs().amin(-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny))
        z = h * values
        decay = torch.where(z.abs() < 1e-8, h, -torch.expm1(-z.clamp_min(-1.0)) / values)
        moved = x - (vectors @ (decay * (vectors.mT @ g.unsqueeze(-1))[..., 0]).unsqueeze(-1))[..., 0]
        moved[0], moved[-1] = x[0], x[-1]
        previous, x = x, _redistributed(moved, box)
        if box.length(x - previous).max() <= STRING_TOLERANCE * spacing * (STRING_IMAGES - 1):
            break
    return x


def _redistributed(x: Tensor, box: Box, *, linear: bool = False) -> Tensor:
    """Return STRING_IMAGES states at equal distances along the curve through x, shape (knot, dim)."""
    arc = torch.cat([torch.zeros_like(x[:1, 0]), box.length(x[1:] - x[:-1]).cumsum(0)]).cpu().numpy()
    at = np.linspace(0, arc[-1], STRING_IMAGES)
    curve = make_interp_spline(arc, x.cpu().numpy(), k=1 if linear or len(x) < 4 else 3)
    return torch.as_tensor(curve(at)).to(x)


def _saddles(potential: Landscape, string: Tensor, box: Box) -> Tensor:
    """Return the saddles to which the maxima of the string refine, in their order along it, shape (saddle, dim)."""
    profile = CubicSpline(np.linspace(0, 1, STRING_IMAGES), potential.value(string).cpu().numpy())
    fine = np.linspace(0, 1, 20 * STRING_IMAGES)
    level = profile(fine)
    maxima = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])) + 1
    curve = make_interp_spline(np.linspace(0, 1, STRING_IMAGES), string.cpu().numpy(), k=3)
    x = search(potential, torch.as_tensor(curve(fine[maxima])).to(string).reshape(-1, string.shape[1]), box, 1)
    x = x[torch.isfinite(x).all(-1)]
    _, g, H = evaluated(potential, x, 2)
    curvature = torch.linalg.eigvalsh(H * torch.outer(box.width, box.width)) if len(x) else x
    gradient = (g * box.width).norm(dim=-1)
    x = x[((curvature < 0).sum(-1) == 1) & (gradient <= 1e-6 * curvature.abs().amax(-1))] if len(x) else x
    if not len(x):
        raise LandscapeError(
            "no maximum along the path refines to a saddle: either the potential has a kink there or is flat, or the "
            "string did not converge; give intermediate states with via=…"
        )
    return x[distinct(x, box)]


def _segments(potential: Landscape, saddles: Tensor, ends: Tensor, box: Box) -> list[Tensor]:
    """Return the segments of the path, alternately up to a saddle and down from it, each of shape (step, dim)."""
    starts = unstable_directions(potential, saddles, box, SADDLE_OFFSET)
    descents = descent_paths(potential, starts, box, longest=LONGEST_PATH_STEP)
    count = len(saddles)
    bottom = torch.stack([descent[-1] for descent in descents])
    minima = torch.cat([ends, bottom[torch.isfinite(bottom).all(-1)]])
    minima = minima[distinct(minima, box)]

    def minimum_at(x: Tensor) -> int:
        return int(box.length(minima - x).argmin()) if torch.isfinite(x).all() else -1

    joins = [(minimum_at(bottom[k]), minimum_at(bottom[count + k])) for k in range(count)]
    route = _route(joins, potential.value(saddles).tolist())
    if route is None:
        raise LandscapeError(
            f"the {count} saddle(s) found along the path do not connect start and end; give intermediate states with "
            "via=…"
        )
    segments = []
    for k, side in route:
        ascent, descent = (descents[k + count * s] for s in (side, 1 - side))
        first, last = (minima[joins[k][s]] for s in (side, 1 - side))
        segments.append(torch.cat([first[None], ascent[:-1].flip(0), saddles[k : k + 1]]))
        segments.append(torch.cat([saddles[k : k + 1], descent[:-1], last[None]]))
    return segments


def _route(joins: Sequence[tuple[int, int]], heights: Sequence[float]) -> list[tuple[int, int]] | None:
    """Return the (saddle, side of entry) pairs from minimum 0 to minimum 1 with the lowest maximum; None if none."""
    queue: list[tuple[float, int, list[tuple[int, int]]]] = [(-np.inf, 0, [])]
    visited = set()
    while queue:
        highest, here, route = heapq.heappop(queue)
        if here == 1:
            return route
        if here not in visited:
            visited.add(here)
            for k, joined in enumerate(joins):
                for side in (0, 1):
                    if joined[side] == here and joined[1 - side] >= 0:
                        step = (max(highest, heights[k]), joined[1 - side], [*route, (k, side)])
                        heapq.heappush(queue, step)
    return None


def _images(segments: list[Tensor], box: Box, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spaced states on the segments, shape (image, dim), and what they are, "" between the ends."""
    lengths = [float(box.length(segment[1:] - segment[:-1]).sum()) for segment in segments]
    counts = np.diff(np.round(np.cumsum([0.0, *lengths]) / sum(lengths) * (images - 1)).astype(int))
    parts, stop = [segments[0][:1].cpu().numpy()], ["minimum"]
    for number, (segment, count) in enumerate(zip(segments, np.maximum(counts, 1), strict=True)):
        steps = box.length(segment[1:] - segment[:-1])
        arc = torch.cat([torch.zeros_like(segment[:1, 0]), steps.cumsum(0)]).cpu().numpy()
        apart = np.minimum(np.diff(arc)[:-1], arc[-1] - arc[1:-1]) > 1e-12 * arc[-1]
        kept = np.concatenate([[True], apart, [True]])
        states = CubicSpline(arc[kept], segment.cpu().numpy()[kept])(np.linspace(0, arc[-1], count + 1)[1:])
        states[-1] = segment[-1].cpu().numpy()
        parts.append(states)
        stop += [""] * (count - 1) + ["saddle" if number % 2 == 0 else "minimum"]
    return np.concatenate(parts), np.array(stop, dtype="U7")


def _dataset(potential: Landscape, x: np.ndarray, stop: np.ndarray) -> xr.Dataset:
    """Return the dataset of a path through the states x, shape (image, dim), with the stops, shape (image,)."""
    units, level = units_of(potential), np.asarray(potential.value(x))
    top = int(np.flatnonzero(stop == "saddle")[level[stop == "saddle"].argmax()])
    distance = np.concatenate([[0.0], np.linalg.norm(np.diff(x, axis=0), axis=-1).cumsum()])
    _, gradient, hessian = potential.evaluate(x[top], 2)
    curvature, slope, height = np.linalg.eigvalsh(hessian), np.linalg.norm(gradient), level[top] - level[[0, -1]]
    length, energy, at = units.of("state"), units.of("potential"), "at the highest saddle"
    variables = {
        "x": variable(("image", "state"), x, "minimum-energy path", length),
        "potential": variable("image", level, "potential", energy),
        "distance": variable("image", distance, "distance along the path", length),
        "saddle": variable("state", x[top], "highest saddle on the path", length),
        "saddle_potential": variable((), level[top], f"potential {at}", energy),
        "saddle_eigenvalue": eigenvalues("state", curvature, units, f"eigenvalue of the Hessian {at}"),
        "saddle_residual": variable((), slope, f"norm of the gradient {at}", units.of("gradient")),
        "barrier": variable("way", height, "height of the highest saddle above the initial minimum", energy),
    }
    coords = {"image": np.arange(len(x)), "way": ["forward", "backward"], **state_labels(potential.states, units)}
    coords["stop"] = variable("image", stop, "kind of stationary point")
    return xr.Dataset(variables, coords=coords, attrs=attributes_of(potential))
