r"""Symmetry under a finite group of orthogonal maps G: of a landscape, and of the data from which it is learned.

If Ψ(G x) = Ψ(x) for every G of the group, then ∇Ψ(G x) = G ∇Ψ(x), so each sample determines its symmetry-equivalent
samples at all G x.

    Symmetrised(Ψ, generators)     the mean of Ψ(G x) over the group, exactly invariant for any Ψ
    augmented(data, generators)    the training samples together with their symmetry-equivalent samples

Augmentation makes a fit approximately invariant; symmetrisation makes any landscape exactly invariant. If Ψ is a soft
minimum of convex modes, so is each Ψ(G x). Their mean over the group is not, but it is convex wherever all Ψ(G x) are.
"""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.dataset.variables import Units
from workbench.evaluation import Evaluation, require_order
from workbench.potentials.box import box_of
from workbench.potentials.bridge import arrays_too, require_potential, tensor_options
from workbench.potentials.ensembles import member_of
from workbench.potentials.functions import constant
from workbench.potentials.potential import Potential, arbitrary_constant, check_domain, gauge_of, units_of

__all__ = ["Symmetrised", "group", "augmented"]


class Symmetrised:
    """Average of a potential over a finite group, exactly invariant under it.

        Ψ̄(x) = (1/|𝒢|) Σ_{G ∈ 𝒢} Ψ(G x),      ∇Ψ̄ = mean of Gᵀ ∇Ψ(G x),      ∇²Ψ̄ = mean of Gᵀ ∇²Ψ(G x) G.

    Every evaluation costs one evaluation of Ψ per group element. Wells off the fixed subspaces of the group occur in
    equivalent sets of equal depth; averaging may shift or merge wells of an asymmetric Ψ.

    Parameters
    ----------
    potential : Potential
        Ψ, a plain potential or an ensemble.
    generators : sequence
        Generators of the group, each a permutation g of the coordinates, (G x)ᵢ = x[g[i]], such as (1, 0), which
        exchanges two coordinates, or an orthogonal matrix G, shape (dim, dim).

    Attributes
    ----------
    group : list of numpy.ndarray
        All elements of the group, shape (dim, dim) each, identity first.

    Raises
    ------
    TypeError
        If `potential` is not a potential.
    ValueError
        If a generator is neither a permutation nor an orthogonal matrix, the group has more than 1000 elements, or a
        generator exchanges or mixes states whose units are not the same.

    Examples
    --------
    >>> import systems
    >>> asymmetric = systems.get("gene_circuit", p1=1.2)
    >>> symmetric = Symmetrised(asymmetric, [(1, 0)])
    >>> bool(symmetric.value([0.4, 1.5]) == symmetric.value([1.5, 0.4]))
    True
    """

    def __init__(self, potential: Potential, generators: Sequence[Any]) -> None:
        self.potential = require_potential(
            potential, max((np.size(g, 0) for g in generators if np.ndim(g)), default=None)
        )
        self.group = group(len(self.potential.states), generators)
        self._check_units()

    def _check_units(self) -> None:
        """Raise `ValueError` if an element of the group exchanges or mixes states whose units are not the same."""
        states, units = self.potential.states, self.units.states
        for pair in np.argwhere(np.triu(np.any([np.abs(g) > 1e-9 for g in self.group], axis=0))):
            if len({units[k] for k in pair}) > 1:
                told = " and ".join(f"{states[k]} in {units[k] or 'an unknown unit'}" for k in pair)
                raise ValueError(f"the group exchanges or mixes {told}: a symmetry relates states of one unit")

    states = property(lambda self: self.potential.states, doc="Names of the state variables.")
    members = property(lambda self: self.potential.members, doc="Number of members; None if plain.")
    dtype = property(lambda self: tensor_options(self.potential)["dtype"], doc="Floating-point type.")
    device = property(lambda self: tensor_options(self.potential)["device"], doc="Device of the computation.")

    @property
    def units(self) -> Units:
        """Units of the states, the potential and time."""
        return units_of(self.potential)

    @property
    def box(self) -> list[tuple[float, float]]:
        """Smallest box that holds all images of that of the potential, one (low, high) per state; NaN without one."""
        low, high = (bound.numpy() for bound in box_of(self.potential))
        centres, halves = zip(*((g @ (low + high) / 2, np.abs(g) @ (high - low) / 2) for g in self.group), strict=True)
        centre, half = np.array(centres), np.array(halves)
        return list(zip((centre - half).min(0).tolist(), (centre + half).max(0).tolist(), strict=True))

    @property
    def gauge(self) -> str:
        """Where the potential is zero, in words; an average has an arbitrary constant if its potential has one."""
        return gauge_of(self.potential) + (" before averaging" if arbitrary_constant(self.potential) else "")

    def check_domain(self, x: Any) -> None:
        """Raise if x, shape (…, dim), or one of its equivalent states G x lies outside the domain of the potential."""
        for g in self.group:
            check_domain([self.potential], np.asarray(x) @ g.T)

    def member(self, index: int) -> "Symmetrised":
        """Return one member of an ensemble, symmetrised."""
        return Symmetrised(member_of(self.potential, index), self.group)

    @arrays_too
    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ̄(x) and its derivatives up to an order, from one evaluation of Ψ per element of the group."""
        turned = (_value, _gradient, _hessian)[: require_order(order) + 1]
        terms = [(self.potential.evaluate(_image(x, g), order), g) for g in self.group]
        return Evaluation(*(self._mean([turn(one[k], g) for one, g in terms]) for k, turn in enumerate(turned)))

    @arrays_too
    def value(self, x: Any) -> Any:
        """Return the mean of Ψ(G x) over the group, shape (…), for x of shape (…, dim)."""
        return self._mean([_value(self.potential.value(_image(x, g)), g) for g in self.group])

    @arrays_too
    def gradient(self, x: Any) -> Any:
        """Return the mean of Gᵀ ∇Ψ(G x) over the group, shape (…, dim), for x of shape (…, dim)."""
        return self._mean([_gradient(self.potential.gradient(_image(x, g)), g) for g in self.group])

    @arrays_too
    def hessian(self, x: Any) -> Any:
        """Return the mean of Gᵀ ∇²Ψ(G x) G over the group, shape (…, dim, dim), for x of shape (…, dim)."""
        return self._mean([_hessian(self.potential.hessian(_image(x, g)), g) for g in self.group])

    def _mean(self, terms: Sequence[Any]) -> Any:
        """Return the mean of the terms of all elements of the group."""
        return reduce(operator.add, terms) / len(self.group)


def _image(x: Any, g: np.ndarray) -> Any:
    """Return G x, shape (…, dim)."""
    return x @ constant(g.T, x)


def _value(value: Any, g: np.ndarray) -> Any:  # noqa: ARG001
    """Return Ψ(G x) as a function of x: itself."""
    return value


def _gradient(gradient: Any, g: np.ndarray) -> Any:
    """Return Gᵀ ∇Ψ(G x), shape (…, dim)."""
    return gradient @ constant(g, gradient)


def _hessian(hessian: Any, g: np.ndarray) -> Any:
    """Return Gᵀ ∇²Ψ(G x) G, shape (…, dim, dim)."""
    return constant(g.T, hessian) @ hessian @ constant(g, hessian)


def augmented(data: xr.Dataset, generators: Sequence[Any], *, count: int | None = None, seed: Any = 0) -> xr.Dataset:
    """Return the data with the symmetry-equivalent samples of the training samples appended.

    A sample (x, Ψ, ∇Ψ, ẋ) becomes (G x, Ψ, G ∇Ψ, G ẋ). Noise levels and weights given per component are transformed
    as well: variances become the diagonal of G diag(σ²) Gᵀ. Validation and test samples are not augmented, to avoid
    leakage. Data without a coordinate `split` are augmented entirely; assign the split first, because a random split
    made afterwards may separate a point from its equivalents.

    Parameters
    ----------
    data : xarray.Dataset
        Points or trajectories; trajectories are first flattened to points.
    generators : sequence
        Generators of the group, as for `Symmetrised`.
    count : int, optional
        Number of copies of each training sample, itself included, from 1 to the order of the group; the others are
        drawn at random, without repetition of a group element. By default the whole group is used.
    seed : int, numpy.random.SeedSequence or None, optional
        Seed of the draws; None draws a fresh one.

    Returns
    -------
    xarray.Dataset
        Points: all samples of `data`, followed by the added samples, with the variables of `data`, such as
        ``x(sample, state)``, ``potential(sample)`` and ``gradient(sample, state)``.

    Raises
    ------
    DatasetError
        If `data` are not valid points or trajectories.
    ValueError
        If a generator is neither a permutation nor an orthogonal matrix, the group has more than 1000 elements, or
        `count` or `seed` is invalid.

    Examples
    --------
    >>> import workbench as wb
    >>> one = wb.dataset.points([[0.0, 2.0]], gradient=[[1.0, 3.0]])
    >>> augmented(one, [(1, 0)]).gradient.values
    array([[1., 3.],
           [3., 1.]])
    """
    data = dataset.flat(dataset.check(data))
    maps = np.array(group(data.sizes["state"], generators))
    count = len(maps) if count is None else count
    if not 1 <= count <= len(maps):
        raise ValueError(f"count must be between 1 and {len(maps)}, the order of the group, got {count!r}")
    in_training = data["split"].values == "train" if "split" in data.coords else np.ones(data.sizes["sample"], bool)
    train = data.isel(sample=in_training)
    rng = np.random.default_rng(dataset.seed_sequence(seed))
    others = 1 + np.argsort(rng.random((train.sizes["sample"], len(maps) - 1)), axis=1)
    parts = [data]
    for k in range(count - 1):
        G, equivalent = maps[others[:, k]], train.copy()
        for name, values in train.data_vars.items():
            if "state" in values.dims:
                equivalent[name] = values.copy(data=_transformed(G, str(name), values.values))
        parts.append(equivalent)
    joined = xr.concat(parts, "sample")
    return joined.assign_coords(sample=np.arange(joined.sizes["sample"]))


def _transformed(G: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    """Return G v for every sample, shape (sample, state); variances σ² and weights transform with G² elementwise."""
    if name.startswith("sigma"):
        return np.einsum("sij,sj->si", G**2, values**2) ** 0.5
    return np.einsum("sij,sj->si", G**2 if name.startswith("weight") else G, values)


def group(dim: int, generators: Sequence[Any], largest: int = 1000) -> list[np.ndarray]:
    """Return all elements of the group that the generators generate, shape (dim, dim) each, identity first.

    >>> len(group(3, [(1, 2, 0), (1, 0, 2)]))
    6
    """
    matrices = [_matrix(dim, g) for g in generators]
    maps, fresh = np.eye(dim)[None], [np.eye(dim)]
    while fresh:
        candidates, fresh = [generator @ element for element in fresh for generator in matrices], []
        for candidate in candidates:
            if not (np.abs(maps - candidate) < 1e-9).all((1, 2)).any():
                maps, fresh = np.concatenate([maps, candidate[None]]), [*fresh, candidate]
        if len(maps) > largest:
            raise ValueError(f"the generators produce more than {largest} maps: a finite group is needed")
    return list(maps)


def _matrix(dim: int, generator: Any) -> np.ndarray:
    """Return a permutation of the coordinates or an orthogonal matrix as a matrix, shape (dim, dim)."""
    g = np.asarray(generator, dtype=np.float64)
    if g.shape == (dim,):
        if sorted(g) != list(range(dim)):
            raise ValueError(f"{generator} is not a permutation of the coordinates {tuple(range(dim))}")
        return np.eye(dim)[g.astype(int)]
    if g.shape != (dim, dim) or not np.allclose(g @ g.T, np.eye(dim), atol=1e-9):
        raise ValueError(f"expected a permutation or an orthogonal matrix of {dim} coordinates, got {generator}")
    return g
