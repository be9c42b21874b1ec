"""Questions to a landscape: where it is stationary, and when it splits.

Every function takes any `Potential`, learned or exact, in any dimension, and returns an `xarray.Dataset`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.stats import qmc
from torch import Tensor

from workbench.potentials import Blend, Potential, require_potential, tensor_options

__all__ = ["splitting", "stationary_points"]

STEPS = 40  # far more than a search that arrives needs
LONGEST = 0.2  # of the box, a step
CLOSE = 1e-10  # of the box, a step of Newton's that leaves nothing to gain
SAME = 1e-4  # of the box: closer points are one
FLAT = 1e-8  # relative size of an eigenvalue that counts as zero


def stationary_points(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    starts: int | ArrayLike = 256,
    seed: int = 0,
    tolerance: float = 1e-9,
) -> xr.Dataset:
    """Return the stationary points of Ψ inside a box: minima, saddles of every index, maxima.

    `within` is one (low, high) per state. From every start two searches leave: Newton's, which finds any index, and
    Newton's with the eigenvalues of the Hessian made positive, which falls to minima. `starts` is a number of Sobol
    points of the box, or an array with shape (start, dim). A point counts when ‖∇Ψ‖ (in units of the box) is below
    `tolerance` times its median over the starts; points closer than 1e-4 of the box are one.

    The dataset is over `point`, sorted by index and potential: x(point, state), potential, gradient residual,
    eigenvalue(point, state) in ascending order, index (number of negative eigenvalues), kind ("minimum", "saddle",
    "maximum", "degenerate"), and inside_data where the potential knows the box of its data: points outside are
    extrapolation, and so are those of an exact system outside its domain. Ensembles gain the coordinate member.

    >>> import systems
    >>> found = stationary_points(systems.get("gene_circuit", b=1.0), within=[(0, 2), (0, 2)])
    >>> found.kind.values.tolist(), found.x.values[2].round(6).tolist()
    (['minimum', 'minimum', 'saddle'], [0.813477, 0.813477])
    """
    require_potential(potential)
    low, high = _box(potential, within)
    if isinstance(starts, int | np.integer):
        if starts < 1:
            raise ValueError(f"starts must be at least 1, got {starts}")
        power = max(0, int(np.ceil(np.log2(starts))))
        unit = qmc.Sobol(len(low), rng=np.random.default_rng(seed)).random_base2(power)[:starts]
        x0 = low + (high - low) * unit
    else:
        x0 = np.atleast_2d(np.asarray(starts, dtype=np.float64))
    if potential.members is None:
        return _search(potential, x0, low, high, tolerance)
    members = [potential.member(k) for k in range(potential.members)]  # type: ignore[attr-defined]
    return joined_members([_search(member, x0, low, high, tolerance) for member in members])


def joined_members(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the points found on each member of an ensemble over one dimension `point`, labelled by `member`."""
    labelled = [one.assign_coords(member=("point", np.full(one.sizes["point"], k))) for k, one in enumerate(found)]
    joined = xr.concat(labelled, "point")
    return joined.assign_coords(point=np.arange(joined.sizes["point"]))


def splitting(
    blend: Blend,
    within: Sequence[tuple[float, float]],
    *,
    minima: int = 2,
    tolerance: float = 1e-4,
    scan: int = 11,
    starts: int = 64,
) -> xr.Dataset:
    """Return the smallest b in [0, 1] at which Ψ_b has (at least) that many minima in the box, and when that is.

    The number of minima is counted at `scan` values of b, then bisected to `tolerance` in b. The result holds `b` (NaN
    if it never happens), `time` (NaN if the schedule never takes that b) and the counts, minima(b_scanned).
    """
    if blend.members is not None:
        raise ValueError(
            "the members of an ensemble split at different times; ask each, such as fit.ensemble.member(0)"
        )
    grid = np.linspace(0, 1, scan)

    def count(b: float) -> int:
        points = stationary_points(blend.at(b=b), within, starts=starts)
        return int((points["kind"] == "minimum").sum())

    counts = np.array([count(b) for b in grid])
    split = _bisect(lambda b: count(b) >= minima, grid, counts >= minima, tolerance)
    return xr.Dataset(
        {
            "b": ((), split, {"long_name": f"smallest b with {minima} minima", "units": "1"}),
            "time": ((), blend.schedule.when(split), {"long_name": "time of the split", "units": "1"}),
            "minima": ("b_scanned", counts, {"long_name": "number of minima", "units": "1"}),
        },
        coords={"b_scanned": grid},
        attrs={"tolerance": tolerance},
    )


def _bisect(happens: Any, grid: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    if not known.any():
        return float("nan")
    first = int(np.argmax(known))
    if first == 0:
        return float(grid[0])
    before, after = grid[first - 1], grid[first]
    while after - before > tolerance:
        middle = (before + after) / 2
        before, after = (before, middle) if happens(middle) else (middle, after)
    return float(after)


def _box(potential: Potential, within: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    box = np.asarray(within, dtype=np.float64)
    dim = len(potential.states)
    if box.shape != (dim, 2) or not (np.isfinite(box).all() and (box[:, 0] < box[:, 1]).all()):
        raise ValueError(
            f"within must be {dim} pairs (low, high) with low < high, one for each of {potential.states}; got {within}"
        )
    return box[:, 0], box[:, 1]


@torch.no_grad()
def _search(potential: Potential, x0: np.ndarray, low: np.ndarray, high: np.ndarray, tolerance: float) -> xr.Dataset:
    """Run both searches from all starts at once, in coordinates in which the box has unit sides."""
    like = tensor_options(potential)
    width, corner = torch.as_tensor(high - low, **like), torch.as_tensor(low, **like)
    x = torch.tensor(x0, **like)
    unit = (x - corner) / width
    slopes = (potential.gradient(x) * width).norm(dim=-1)
    if not slopes.max() > 0:
        raise ValueError("the potential is flat over the box; a new model is, until it is fitted")
    scale = slopes.median().clamp_min(torch.finfo(x.dtype).tiny)
    y = torch.cat([unit, unit])
    falling = torch.arange(len(y), device=y.device) < len(unit)
    active = torch.arange(len(y), device=y.device)
    for _ in range(STEPS):
        step = newton_step(potential, corner + width * y[active], width, falling=falling[active])
        y[active] += step
        moving = (step.norm(dim=-1) > CLOSE) & ((y[active] - 0.5).abs().amax(-1) < 1.0)
        active = active[moving]
        if len(active) == 0:
            break
    residual = (potential.gradient(corner + width * y) * width).norm(dim=-1) / scale
    inside = ((y >= -SAME) & (y <= 1 + SAME)).all(-1)
    good = torch.nonzero(inside & (residual <= tolerance))[:, 0]
    good = good[residual[good].argsort()]
    return _points(potential, (corner + width * _distinct(y[good])))


def newton_step(
    potential: Potential, x: Tensor, width: Tensor, *, falling: Tensor | bool = True, longest: float = LONGEST
) -> Tensor:
    """Return −H⁻¹g in box units, shape (row, dim), no longer than `longest`.

    With |H| where `falling`, shape (row,): such a step is down on any landscape, and comes to rest at a minimum.
    """
    g = potential.gradient(x) * width
    values, vectors = torch.linalg.eigh(potential.hessian(x) * torch.outer(width, width))
    floor = 1e-12 * values.abs().amax(-1, keepdim=True) + torch.finfo(x.dtype).tiny
    size = values.abs().clamp_min(floor)
    down = torch.as_tensor(falling, device=x.device).reshape(-1, 1)
    curvature = torch.where(down | (values >= 0), size, -size)
    step = -((vectors.mT @ g.unsqueeze(-1))[..., 0] / curvature).unsqueeze(-2) @ vectors.mT
    step = step[..., 0, :]
    return step * (longest / step.norm(dim=-1, keepdim=True).clamp_min(longest))


def _distinct(y: Tensor) -> Tensor:
    """Return the points that are not within `SAME` of one before them."""
    kept: list[Tensor] = []
    for row in y:
        if all((row - other).norm() > SAME for other in kept):
            kept.append(row)
    return torch.stack(kept) if kept else y[:0]


def _points(potential: Potential, x: Tensor) -> xr.Dataset:
    value, gradient = potential.value(x), potential.gradient(x)
    eigenvalue = torch.linalg.eigvalsh(potential.hessian(x)) if len(x) else x
    largest = eigenvalue.abs().amax(-1, keepdim=True) if len(x) else eigenvalue[:, :1]
    flat = (eigenvalue.abs() <= FLAT * largest).any(-1)
    index = (eigenvalue < 0).sum(-1)
    kind = np.where(index.cpu() == 0, "minimum", np.where(index.cpu() == x.shape[1], "maximum", "saddle"))
    kind = np.where(flat.cpu(), "degenerate", kind).astype("U10")
    arrays = {"x": x, "potential": value, "eigenvalue": eigenvalue, "index": index, "residual": gradient.norm(dim=-1)}
    numbers = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
    order = np.lexsort((*numbers["x"].T[::-1], numbers["potential"].round(9), numbers["index"]))
    dims = {"x": ("point", "state"), "eigenvalue": ("point", "state")}
    variables: dict[str, Any] = {
        name: (dims.get(name, ("point",)), values[order], {"long_name": _MEANING[name], "units": "1"})
        for name, values in numbers.items()
    }
    variables["kind"] = ("point", kind[order], {"long_name": "kind of stationary point"})
    inside = getattr(potential, "inside_data", None)
    if inside is not None:
        flags = inside(x).cpu().numpy()[order].astype(np.int8)
        variables["inside_data"] = ("point", flags, {"long_name": "inside the box of the data", "units": "1"})
    coords = {"point": np.arange(len(order)), "state": list(potential.states)}
    return xr.Dataset(variables, coords=coords)


_MEANING = {
    "x": "stationary point",
    "potential": "potential",
    "eigenvalue": "eigenvalue of the Hessian, in ascending order along state",
    "index": "number of negative eigenvalues",
    "residual": "norm of the gradient",
}
