"""Questions to a landscape: where it is stationary, and when it splits.

Every function takes any `Potential`, learned or exact, in any dimension, and returns an `xarray.Dataset`.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.errors import LandscapeError, LandscapeWarning
from workbench.landscape.box import FLAT, Box, distinct, sobol
from workbench.landscape.eigenvector_following import NEWTON, search
from workbench.potentials.ensembles import each_member, joined_members
from workbench.potentials.potential import Potential, require_potential, rows_of

__all__ = ["stationary_points"]

ASIDE = 0.01  # of the box: where there are points still about that far along a flat direction, they are a continuum


def stationary_points(
    potential: Potential,
    within: Sequence[tuple[float, float]],
    *,
    starts: int | ArrayLike = 256,
    also: ArrayLike | None = None,
    index: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-9,
) -> xr.Dataset:
    """Return the stationary points of Ψ inside a box: minima, saddles of every index, maxima.

    `within` is one (low, high) per state. `starts` is a number of Sobol points of the box, or an array with shape
    (start, dim); `also` holds further ones, such as the data. From every start three searches leave: Newton's, which
    finds any index, one that falls to minima, and one that climbs along the softest direction to saddles of index 1.
    With `index` only the points of that index are sought and returned, by following as many eigenvectors up: the way
    to all minima in many dimensions; degenerate ones are left out. A point counts when ‖∇Ψ‖ (in units of the box) is
    below `tolerance` times its median over the starts; points closer than 1e-4 of the box are one.

    The dataset is over `point`, sorted by index and potential: x(point, state), potential, gradient residual,
    eigenvalue(point, state) in ascending order, index (number of negative eigenvalues), kind ("minimum", "saddle",
    "maximum", or "degenerate" where an eigenvalue is zero next to the largest there or to the usual bend of the box),
    and inside_data where the potential knows the box of its data: points outside are
    extrapolation, and so are those of an exact system outside its domain. Ensembles gain the coordinate member.

    A box of the wrong shape raises `ValueError`; a potential that is flat over the box, or not finite at any start,
    `LandscapeError`. Starts where it is not finite, and points that are samples of a continuum, are told by a
    `LandscapeWarning`.

    >>> import systems
    >>> found = stationary_points(systems.get("gene_circuit", b=1.0), within=[(0, 2), (0, 2)])
    >>> found.kind.values.tolist(), found.x.values[2].round(6).tolist()
    (['minimum', 'minimum', 'saddle'], [0.813477, 0.813477])
    """
    require_potential(potential)
    box = Box.of(potential, within)
    if index is not None and not 0 <= index <= len(potential.states):
        raise ValueError(f"index must be between 0 and {len(potential.states)}, the number of states; got {index!r}")
    x0 = sobol(box, int(starts), seed) if isinstance(starts, int | np.integer) else rows_of(potential, starts, "starts")
    if also is not None:
        x0 = torch.cat([x0, rows_of(potential, also, "also")])
    if potential.members is None:
        return _stationary_points(potential, x0, box, index, tolerance)
    return joined_members([_stationary_points(one, x0, box, index, tolerance) for one in each_member(potential)])


@torch.no_grad()
def _stationary_points(potential: Potential, x0: Tensor, box: Box, index: int | None, tolerance: float) -> xr.Dataset:
    slopes = (potential.gradient(x0) * box.width).norm(dim=-1)
    finite = torch.isfinite(slopes) & torch.isfinite(potential.value(x0))
    _check_slopes(x0, slopes, finite)
    x0, scale = x0[finite], slopes[finite].median().clamp_min(torch.finfo(x0.dtype).tiny)
    bends = torch.linalg.matrix_norm(potential.hessian(x0))
    bend = bends[torch.isfinite(bends)].median() if torch.isfinite(bends).any() else bends.new_zeros(())
    climbs = [NEWTON, 0, 1] if index is None else [index]
    climb = torch.tensor(climbs, device=x0.device).repeat_interleave(len(x0))
    x = search(potential, x0.repeat(len(climbs), 1), box, climb)
    x = x[box.contains(x)]
    residual = (potential.gradient(x) * box.width).norm(dim=-1) / scale
    x = x[residual.argsort()][: int((residual <= tolerance).sum())]
    x = x[distinct(x, box)]
    _check_continuum(potential, x, box, tolerance * scale)
    found = _points(potential, x, bend)
    if index is None:
        return found
    found = found.isel(point=((found["index"] == index) & (found["kind"] != "degenerate")).values)
    return found.assign_coords(point=np.arange(found.sizes["point"]))


def _check_slopes(x0: Tensor, slopes: Tensor, finite: Tensor) -> None:
    lost = int((~finite).sum())
    if lost == len(x0):
        raise LandscapeError(
            f"the potential is not finite at any of the {lost} starts, such as {x0[0].tolist()}; check its formula, or "
            "give a box where it is defined"
        )
    if not slopes[finite].max() > 0:
        raise LandscapeError("the potential is flat over the box; a new model is, until it is fitted")
    if lost:
        first = x0[~finite][0].tolist()
        warnings.warn(
            f"the potential is not finite at {lost} of {len(x0)} starts, such as {first}; the search left them out",
            LandscapeWarning,
            stacklevel=4,
        )


def _check_continuum(potential: Potential, x: Tensor, box: Box, steepest: Tensor) -> None:
    """Warn of points with others some way along their flat direction, to which Newton's method finds back."""
    if not len(x):
        return
    values, vectors = torch.linalg.eigh(potential.hessian(x) * torch.outer(box.width, box.width))
    flattest = values.abs().argmin(-1)
    rows = torch.arange(len(x), device=x.device)
    along = vectors[rows, :, flattest] * box.width
    flat = values[rows, flattest].abs() <= FLAT * values.abs().amax(-1)
    on = flat.clone()
    for side in (ASIDE, -ASIDE):
        near = search(potential, x[flat] + side * along[flat], box, NEWTON)
        slope = (potential.gradient(near) * box.width).norm(dim=-1)
        on[flat] &= (slope <= 100 * steepest) & (box.length(near - x[flat]) > ASIDE / 2)
    if on.any():
        first = int(torch.nonzero(on)[0])
        warnings.warn(
            f"{int(on.sum())} of {len(x)} points are samples of a continuum: at {x[first].tolist()} the potential is "
            f"flat along {along[first].tolist()}",
            LandscapeWarning,
            stacklevel=4,
        )


def _points(potential: Potential, x: Tensor, bend: Tensor) -> xr.Dataset:
    """Return the dataset of the points x; an eigenvalue is zero next to the others, and to the usual bend."""
    value, gradient = potential.value(x), potential.gradient(x)
    eigenvalue = torch.linalg.eigvalsh(potential.hessian(x)) if len(x) else x
    largest = eigenvalue.abs().amax(-1, keepdim=True).maximum(bend) if len(x) else eigenvalue[:, :1]
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
