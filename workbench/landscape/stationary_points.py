r"""Stationary points of a potential, ∇Ψ(x) = 0: minima, saddles of every index, and maxima.

Batched searches start from many points; their end points are kept where the gradient is small enough, and points that
coincide are merged. Every point that is returned is stationary to the given tolerance. A finite number of starting
points cannot guarantee that none is missed. All functions of this package take any `Potential`, learned or exact, in
any dimension, and return an `xarray.Dataset`.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from workbench.dataset.variables import state_labels, variable
from workbench.errors import LandscapeError, LandscapeWarning
from workbench.evaluation import Evaluation
from workbench.landscape.answers import stationary
from workbench.landscape.eigenvector_following import NEWTON, search
from workbench.landscape.reuse import remembered
from workbench.potentials.box import ZERO_EIGENVALUE, Box, distinct, landscape_in, sobol
from workbench.potentials.bridge import evaluated, gradient_at, rows_of
from workbench.potentials.ensembles import over_members
from workbench.potentials.potential import Landscape, Potential, Sampled, attributes_of, units_of

__all__ = ["stationary_points"]

FAMILY_PROBE = 0.01  # in units of the box: a flat direction is probed at this distance for further stationary points


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
    """Find the stationary points of Ψ inside a box: minima, saddles of every index, maxima.

    Three searches leave every starting point: Newton's method, which converges to any index, a descent to minima, and
    eigenvector following along the lowest eigenvector to saddles of index 1. If `index` is given, one search follows
    that many eigenvectors uphill, and only nondegenerate points of that index are returned; this is the efficient way
    to find all minima in many dimensions.

    Parameters
    ----------
    potential : Potential
        Any potential. The members of an ensemble are analysed one by one.
    within : sequence of (float, float)
        Box to search, one pair (low, high) per state.
    starts : int or array_like
        Number of Sobol points of the box to start from, or the starting points, shape (start, dim).
    also : array_like, optional
        Further starting points, such as the data, shape (start, dim).
    index : int, optional
        Number of negative Hessian eigenvalues of the points to find; by default points of every index.
    seed : int
        Seed of the Sobol points.
    tolerance : float
        A point is stationary if ‖∇Ψ‖, in units of the box, is at most `tolerance` times its median over the starting
        points. Points closer than 1e-4 of the box are merged.

    Returns
    -------
    xarray.Dataset
        The points along ``point``, sorted by index, then by potential, with the coordinate ``kind(point)``, "minimum",
        "saddle" or "maximum"; "degenerate" where an eigenvalue is zero relative to the largest one there or to the
        typical norm of the Hessian in the box. Ensembles have the coordinate ``member(point)``, states of unlike units
        the coordinate ``unit(state)``. Variables, in the units that the potential knows:

        - ``x(point, state)`` and ``potential(point)``;
        - ``residual(point)``, the norm of the gradient, without a unit if those of the states are unlike;
        - ``eigenvalue(point, state)``, the eigenvalues of the Hessian in ascending order, likewise;
        - ``index(point)``, the number of negative eigenvalues;
        - ``inside_data(point)``, boolean, for potentials that know the box of their data: false marks an
          extrapolation. (An exact system, too, is extrapolated outside its domain of definition.)

        The attribute ``gauge`` states where the potential is zero.

    Raises
    ------
    ValueError
        If the box, `starts`, `also` or `index` is not as described.
    LandscapeError
        If the potential is constant over the box, or not finite at any starting point.
    TypeError
        If `potential` is not a potential, or changes in time.

    Warns
    -----
    LandscapeWarning
        If points belong to a continuous family of stationary points, so that the result depends on the starting
        points, or if the potential is not finite at some starting points.

    References
    ----------
    C. J. Cerjan, W. H. Miller, J. Chem. Phys. 75, 2800-2806 (1981), doi:10.1063/1.442352.

    I. M. Sobol', USSR Comput. Math. Math. Phys. 7, 86-112 (1967), doi:10.1016/0041-5553(67)90144-9.

    Examples
    --------
    >>> import systems
    >>> found = stationary_points(systems.get("gene_circuit", b=1.0), within=[(0, 2), (0, 2)])
    >>> found.kind.values.tolist(), found.x.values[2].round(6).tolist()
    (['minimum', 'minimum', 'saddle'], [0.813477, 0.813477])
    """
    potential, box = landscape_in(potential, within)
    if index is not None and not 0 <= index <= len(potential.states):
        raise ValueError(f"index must be between 0 and {len(potential.states)}, the number of states; got {index!r}")
    x0 = sobol(box, int(starts), seed) if isinstance(starts, int | np.integer) else rows_of(potential, starts, "starts")
    if also is not None:
        x0 = torch.cat([x0, rows_of(potential, also, "also")])
    return over_members(potential, lambda one, _: _stationary_points(one, x0, box, index, tolerance))


@remembered
@torch.no_grad()
def _stationary_points(potential: Landscape, x0: Tensor, box: Box, index: int | None, tolerance: float) -> xr.Dataset:
    """Return the dataset of one member, by searches from x0, shape (start, dim)."""
    level, gradient, hessian = evaluated(potential, x0, 2)
    norms = (gradient * box.width).norm(dim=-1)
    finite = torch.isfinite(norms) & torch.isfinite(level)
    _check_gradients(x0, norms, finite)
    x0, scale = x0[finite], norms[finite].median().clamp_min(torch.finfo(x0.dtype).tiny)
    curvatures = torch.linalg.matrix_norm(hessian[finite])
    usable = torch.isfinite(curvatures)
    curvature = curvatures[usable].median() if usable.any() else curvatures.new_zeros(())
    climbs = [NEWTON, 0, 1] if index is None else [index]
    climb = torch.tensor(climbs, device=x0.device).repeat_interleave(len(x0))
    x = search(potential, x0.repeat(len(climbs), 1), box, climb)
    x = x[box.contains(x)]
    residual = (gradient_at(potential, x) * box.width).norm(dim=-1) / scale
    x = x[residual.argsort()][: int((residual <= tolerance).sum())]
    x = x[distinct(x, box)]
    psi = evaluated(potential, x, 2)
    _check_continuous_family(potential, x, psi.hessian, box, tolerance * scale)
    found = _points(potential, x, psi, curvature)
    if index is None:
        return found
    found = found.isel(point=((found["index"] == index) & (found["kind"] != "degenerate")).values)
    return found.assign_coords(point=np.arange(found.sizes["point"]))


def _check_gradients(x0: Tensor, norms: Tensor, finite: Tensor) -> None:
    """Raise or warn unless the potential is finite at x0, shape (start, dim), with a gradient somewhere."""
    lost = int((~finite).sum())
    if lost == len(x0):
        raise LandscapeError(
            f"the potential is not finite at any of the {lost} starting points, such as {x0[0].tolist()}; check its "
            "formula, or choose a box where it is defined"
        )
    if not norms[finite].max() > 0:
        raise LandscapeError(
            "the potential is flat over the box: its gradient is zero at every starting point; fit a new model first"
        )
    if lost:
        first = x0[~finite][0].tolist()
        warnings.warn(
            f"the potential is not finite at {lost} of {len(x0)} starting points, such as {first}; they are left out",
            LandscapeWarning,
            stacklevel=8,
        )


def _check_continuous_family(potential: Landscape, x: Tensor, hessian: Tensor, box: Box, largest: Tensor) -> None:
    """Warn of points, shape (point, dim), with further stationary points near them along their flat direction.

    `hessian` is that of the points, shape (point, dim, dim). The neighbours are found by Newton's method from a
    displaced point; `largest` bounds the gradient norm of a stationary point, in units of the box.
    """
    if not len(x):
        return
    values, vectors = torch.linalg.eigh(hessian * torch.outer(box.width, box.width))
    flattest = values.abs().argmin(-1)
    rows = torch.arange(len(x), device=x.device)
    direction = vectors[rows, :, flattest] * box.width
    flat = values[rows, flattest].abs() <= ZERO_EIGENVALUE * values.abs().amax(-1)
    in_family = flat.clone()
    for offset in (FAMILY_PROBE, -FAMILY_PROBE):
        near = search(potential, x[flat] + offset * direction[flat], box, NEWTON)
        norm = (gradient_at(potential, near) * box.width).norm(dim=-1)
        in_family[flat] &= (norm <= 100 * largest) & (box.length(near - x[flat]) > FAMILY_PROBE / 2)
    if in_family.any():
        first = int(torch.nonzero(in_family)[0])
        warnings.warn(
            f"{int(in_family.sum())} of {len(x)} stationary point(s) belong to a continuous family, sampled according "
            f"to the starting points: at {x[first].tolist()} the potential is flat along {direction[first].tolist()}",
            LandscapeWarning,
            stacklevel=8,
        )


def _points(potential: Landscape, x: Tensor, psi: Evaluation, curvature: Tensor) -> xr.Dataset:
    """Return the dataset of the points x, shape (point, dim), given Ψ there and the typical Hessian norm, shape ()."""
    units, tensors = units_of(potential), {"x": x, "potential": psi.value}
    eigenvalue = torch.linalg.eigvalsh(psi.hessian) if len(x) else x
    largest = eigenvalue.abs().amax(-1, keepdim=True).maximum(curvature) if len(x) else eigenvalue[:, :1]
    flat = (eigenvalue.abs() <= ZERO_EIGENVALUE * largest).any(-1)
    tensors |= {"eigenvalue": eigenvalue, "degenerate": flat}
    found = stationary(**{name: tensor.cpu().numpy() for name, tensor in tensors.items()}, units=units)
    residual = psi.gradient.norm(dim=-1).cpu().numpy()
    found["residual"] = variable("point", residual, "norm of the gradient", units.of("gradient"))
    if isinstance(potential, Sampled):
        inside = np.asarray(potential.inside_data(x.cpu().numpy()), dtype=bool)
        found["inside_data"] = variable("point", inside, "inside the box of the data")
    order = np.lexsort((*found["x"].values.T[::-1], found["potential"].values.round(9), found["index"].values))
    found = found.isel(point=order).assign_coords(point=np.arange(len(order)), **state_labels(potential.states, units))
    return found.assign_attrs(attributes_of(potential))
