r"""Minimum-energy paths between two minima: curves parallel to ∇Ψ, with the saddles and barriers on them.

Of all sequences of index-1 saddles that connect two minima, the path takes the one whose highest saddle is lowest (the
minimax path), over the saddle graph. Where the graph does not connect them, or a direct path is asked for, a string of
states between the minima is relaxed (see `string`); it only selects the path, and its own accuracy is not critical.
Each maximum of Ψ along the string is refined to a saddle of index 1 by eigenvector following. The path consists of the
two steepest-descent curves from each saddle to the minima.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline, make_interp_spline
from torch import Tensor

from workbench.checks import require_integer
from workbench.dataset.variables import state_labels, variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.answers import eigenvalues
from workbench.landscape.eigenvector_following import search
from workbench.landscape.families import model_at
from workbench.landscape.graph import graph, unstable_directions, warn_incomplete
from workbench.landscape.routes import lowest_route
from workbench.landscape.steepest_descent import descent_paths, minima_reached
from workbench.landscape.string import box_around, relaxed_string
from workbench.potentials.box import SAME_POINT, SEARCH_MARGIN, Box, distinct, landscape_in
from workbench.potentials.bridge import evaluated, require_potential, rows_of
from workbench.potentials.ensembles import over_members, points_of_member
from workbench.potentials.natural import Natural
from workbench.potentials.potential import Landscape, Potential, attributes_of, units_of

__all__ = ["minimum_energy_path"]

SADDLE_OFFSET = 1e-4  # in units of the box: largest distance from a saddle at which its descents start
LONGEST_PATH_STEP = 0.02  # in units of the box: longest step along a descent


def minimum_energy_path(
    potential: Potential,
    start: ArrayLike,
    end: ArrayLike,
    *,
    via: ArrayLike | None = None,
    direct: bool = False,
    images: int = 101,
    within: Sequence[tuple[float, float]] | None = None,
    points: xr.Dataset | None = None,
) -> xr.Dataset:
    """Compute the minimum-energy path between two minima of Ψ, with its saddles and barriers.

    The path is the lowest way between the minima, over several saddles if need be. A direct path relaxes from the
    straight line between them; where several such paths exist, guide it with `via`.

    Parameters
    ----------
    potential : Potential
        Landscape; each member of an ensemble has its own path.
    start, end : array_like
        States near two different minima, to which they are relaxed; shape (dim,).
    via : array_like, optional
        Intermediate states of the initial string of a direct path, in order, shape (knot, dim).
    direct : bool, default: False
        Whether the path is the direct one, though a lower way over other wells may exist.
    images : int, default: 101
        Number of states on the path, at least 9. There are a few more if a descent is too short to receive one of its
        own.
    within : sequence of (float, float), optional
        One (low, high) per state: the box that sets the unit of length. Descents may leave it by at most half a
        side. By default a cube centred between `start` and `end` with sides of three times their distance, or a box in
        proportion to the scales of the states where their curvatures show that these are unlike. The lowest way is
        sought among the saddles in the box.
    points : xarray.Dataset, optional
        Stationary points from `stationary_points`, by default computed: those over which the lowest way leads, and to
        which the highest saddle is compared.

    Returns
    -------
    xarray.Dataset
        The path along ``image``, with the coordinate ``stop(image)``, "minimum" or "saddle" at stationary points and ""
        between them; ensembles add a leading dimension ``member``. Variables, in the units that the potential knows:

        - ``x(image, state)`` and ``potential(image)``, evenly spaced along each descent;
        - ``distance(image)``, the length of the path from the start, without a unit if those of the states are unlike;
        - ``saddle(state)``, the highest saddle, with ``saddle_potential``, ``saddle_eigenvalue(state)`` of the Hessian
          and ``saddle_residual``, the norm of the gradient;
        - ``via(pass, state)``, all saddles in order, with ``via_potential(pass)`` and ``via_barrier(pass)``, the height
          of each above the minimum before it;
        - ``lowest``, boolean: whether it is the lowest way over all saddles found in the box;
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
        If both ends relax to the same minimum or to one continuous family of minima, no minimum is found near an end, Ψ
        is not finite along the string, no maximum of the string refines to a saddle (Ψ has a kink or is flat there, or
        the string did not converge), or the saddles found do not connect the two minima.

    Warns
    -----
    LandscapeWarning
        If saddles over which a lower way might lead are probably missing.

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
    knots = torch.cat([rows_of(potential, x, n) for x, n in ((start, "start"), (end, "end"))]).double()
    if len(knots) != 2:
        raise ValueError(f"start and end must be one state each, got {len(knots)} states in total")
    if via is not None:
        knots = torch.cat([knots[:1], rows_of(potential, via, "via").double(), knots[1:]])
    straight = direct or via is not None

    def path(one: Landscape, k: int | None) -> xr.Dataset:
        own = None if points is None else points_of_member(points, k)
        return _path(one, knots, box or box_around(one, knots[[0, -1]]), int(images), own, straight)

    return over_members(potential, path, {"stop": ""})


@torch.no_grad()
def _path(
    potential: Landscape, knots: Tensor, box: Box, images: int, points: xr.Dataset | None, straight: bool
) -> xr.Dataset:
    """Return the path of one member."""
    natural = Natural(potential, box)
    ends = _relaxed_ends(natural, natural.y(knots[[0, -1]]))
    saddles = None if straight else _lowest_saddles(natural, ends, points)
    lowest = saddles is not None
    if saddles is None:
        string = relaxed_string(natural, torch.cat([ends[:1], natural.y(knots[1:-1]), ends[1:]]))
        saddles = _saddles(natural, string)
    segments = _segments(natural, saddles, ends)
    found = _dataset(natural, *_images(natural, segments, images))
    found["lowest"] = variable((), lowest, "whether it is the lowest way over all saddles of the box")
    if points is not None:
        offset = np.linalg.norm(points["x"].values - found["saddle"].values, axis=-1)
        text = "distance from the highest saddle to the nearest stationary point"
        found["mismatch"] = variable((), offset.min(initial=np.inf), text, units_of(potential).of("state"))
    return found


def _relaxed_ends(natural: Natural, near: Tensor) -> Tensor:
    """Return the minima to which both ends relax, shape (2, dim), in natural units."""
    y = search(natural, near, 0)
    for given, minimum, name in zip(near, y, ("start", "end"), strict=True):
        where = f"near the {name} {natural.x(given).tolist()}"
        if not torch.isfinite(minimum).all():
            raise LandscapeError(f"the potential is not finite {where}; choose another state")
        model = model_at(natural, minimum[None])
        at, inside = natural.x(minimum).tolist(), natural.box.contains(minimum, SEARCH_MARGIN)
        if not inside and (minimum - given).norm() < 0.5:
            raise LandscapeError(f"the minimum {where}, at {at}, is far outside the box; enlarge within=…")
        if not inside:
            raise LandscapeError(
                f"there is no minimum {where}: the descent leaves the box, at {at}. The valley goes on outside, or the "
                "potential has no bottom; widen within=…, or pass a state inside a well"
            )
        if not (model.settled() & model.minimal).item():
            raise LandscapeError(
                f"there is no minimum {where}: the search ended at {at}; pass a state inside a well, such as a minimum "
                "from stationary_points(…)"
            )
    if len(_families(natural, y)) < 2:
        same = (y[1] - y[0]).norm() <= SAME_POINT
        if same:
            where = f"the same well, at {natural.x(y[0]).tolist()}"
        else:
            where = "one continuous family of minima, between which nothing has to be climbed"
        raise LandscapeError(f"start and end lie in {where}; choose two different wells")
    return y


def _families(natural: Natural, y: Tensor) -> Tensor:
    """Return the minima y, shape (row, dim), without those that coincide, or belong to one continuous family."""
    return minima_reached(natural, y)[1]


def _lowest_saddles(natural: Natural, ends: Tensor, points: xr.Dataset | None) -> Tensor | None:
    """Return the saddles on the lowest way over the saddle graph, shape (saddle, dim); None if it joins no ends."""
    within = torch.stack([natural.x(natural.box.low), natural.x(natural.box.high)], -1).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        try:
            found = graph(natural.potential, within, points=points)
        except LandscapeError:
            return None
    warn_incomplete(found)
    x = natural.rows(found["x"].values)
    well = found["index"].values == 0
    place = np.flatnonzero(well)
    if not len(place):
        return None
    label, _ = minima_reached(natural, ends, x[torch.as_tensor(place)])
    if not ((label >= 0) & (label < len(place))).all():
        return None
    first, last = place[label.numpy()].tolist()
    rows = np.flatnonzero(~well)
    joins, heights = found["joins"].values[rows].tolist(), found["potential"].values[rows].tolist()
    route = lowest_route(joins, heights, first, last)
    return None if route is None else x[torch.as_tensor(rows[[k for k, _ in route]])]


def _saddles(natural: Natural, string: Tensor) -> Tensor:
    """Return the saddles to which the maxima of the string refine, in their order along it, shape (saddle, dim)."""
    count = len(string)
    profile = CubicSpline(np.linspace(0, 1, count), evaluated(natural, string, 0).value.cpu().numpy())
    fine = np.linspace(0, 1, 20 * count)
    level = profile(fine)
    maxima = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])) + 1
    curve = make_interp_spline(np.linspace(0, 1, count), string.cpu().numpy(), k=3)
    y = search(natural, torch.as_tensor(curve(fine[maxima])).to(string).reshape(-1, string.shape[1]), 1)
    y = y[torch.isfinite(y).all(-1)]
    model = model_at(natural, y)
    y = y[((model.values < -model.zero).sum(-1) == 1) & model.settled()]
    if not len(y):
        raise LandscapeError(
            "no maximum along the path refines to a saddle: either the potential has a kink there or is flat, or the "
            "string did not converge; give intermediate states with via=…"
        )
    return y[distinct(y, natural.box)]


def _segments(natural: Natural, saddles: Tensor, ends: Tensor) -> list[Tensor]:
    """Return the segments of the path, alternately up to a saddle and down from it, each of shape (step, dim)."""
    distance = (torch.cdist(saddles, ends).amin(-1) / 100).clamp_max(SADDLE_OFFSET)
    starts = unstable_directions(natural, saddles, distance)
    descents = descent_paths(natural, starts, longest=LONGEST_PATH_STEP)
    count = len(saddles)
    bottom = torch.stack([descent[-1] for descent in descents])
    there = torch.isfinite(bottom).all(-1)
    label, _ = minima_reached(natural, torch.where(there[:, None], bottom, starts), _families(natural, ends))
    reached: list[int] = torch.where(there, label, -1).tolist()
    joins = [(reached[k], reached[count + k]) for k in range(count)]
    route = lowest_route(joins, evaluated(natural, saddles, 0).value.tolist(), 0, 1)
    if route is None:
        raise LandscapeError(
            f"the {count} saddle(s) found along the path do not connect start and end; give intermediate states with "
            "via=…"
        )
    segments = []
    for k, side in route:
        ascent, descent = (descents[k + count * s] for s in (side, 1 - side))
        segments.append(torch.cat([ascent.flip(0), saddles[k : k + 1]]))
        segments.append(torch.cat([saddles[k : k + 1], descent]))
    return segments


def _images(natural: Natural, segments: list[Tensor], images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spaced states on the segments, shape (image, dim), and what they are, "" between the ends."""
    segments = [segment * natural.sides for segment in segments]
    lengths = [float((segment[1:] - segment[:-1]).norm(dim=-1).sum()) for segment in segments]
    counts = np.diff(np.round(np.cumsum([0.0, *lengths]) / sum(lengths) * (images - 1)).astype(int))
    parts, stop = [segments[0][:1].cpu().numpy()], ["minimum"]
    for number, (segment, count) in enumerate(zip(segments, np.maximum(counts, 1), strict=True)):
        steps = (segment[1:] - segment[:-1]).norm(dim=-1)
        arc = torch.cat([torch.zeros_like(segment[:1, 0]), steps.cumsum(0)]).cpu().numpy()
        apart = np.minimum(np.diff(arc)[:-1], arc[-1] - arc[1:-1]) > 1e-7 * arc[-1]
        kept = np.concatenate([[True], apart, [True]])
        states = CubicSpline(arc[kept], segment.cpu().numpy()[kept])(np.linspace(0, arc[-1], count + 1)[1:])
        states[-1] = segment[-1].cpu().numpy()
        parts.append(states)
        stop += [""] * (count - 1) + ["saddle" if number % 2 == 0 else "minimum"]
    return np.concatenate(parts) / natural.sides.cpu().numpy(), np.array(stop, dtype="U7")


def _dataset(natural: Natural, y: np.ndarray, stop: np.ndarray) -> xr.Dataset:
    """Return the dataset of a path through the states y, shape (image, dim), with the stops, shape (image,)."""
    potential, x = natural.potential, natural.x(y)
    units, level = units_of(potential), np.asarray(potential.value(x))
    passes = np.flatnonzero(stop == "saddle")
    top = int(passes[level[passes].argmax()])
    before = [level[np.flatnonzero(stop[:k] == "minimum")[-1]] for k in passes]
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
        "via": variable(("pass", "state"), x[passes], "saddle on the path", length),
        "via_potential": variable("pass", level[passes], "potential at the saddle", energy),
        "via_barrier": variable("pass", level[passes] - before, "height above the minimum before", energy),
        "barrier": variable("way", height, "height of the highest saddle above the initial minimum", energy),
    }
    coords = {
        "image": np.arange(len(x)),
        "way": ["forward", "backward"],
        "pass": np.arange(len(passes)),
        **state_labels(potential.states, units),
    }
    coords["stop"] = variable("image", stop, "kind of stationary point")
    return xr.Dataset(variables, coords=coords, attrs=attributes_of(potential))
