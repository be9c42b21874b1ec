r"""Symmetry under a finite group of orthogonal maps: of a landscape, and of the data it is learned from.

If Ψ(G x) = Ψ(x) for every G of a group, then ∇Ψ(G x) = G ∇Ψ(x), and one sample is worth as many as it has images.

    Symmetrised(Ψ, generators)      the mean of Ψ(G x) over the group: exactly invariant, whatever Ψ is
    augmented(data, generators)        the samples a fit learns from, and their images, as further samples

The first repairs what a fit could not know, the second tells it. Ψ₀ in Ψ(G x) stays a soft minimum of convex modes;
their mean over the group is not one any more, though it is convex wherever all images are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from workbench import dataset
from workbench.potentials.ensembles import member_of
from workbench.potentials.potential import Potential, check_domain, require_potential, tensor_or_array

__all__ = ["Symmetrised", "group", "augmented"]


class Symmetrised:
    """The mean of Ψ(G x) over a finite group of linear maps G: exactly invariant under the group.

    `generators` are permutations such as (1, 0), which exchanges two coordinates, (G x)ᵢ = x[g[i]], or orthogonal
    matrices, shape (dim, dim); the group they generate is used. Convexity of a mode survives; modes and their images
    are averaged, so wells on a symmetry axis may move, and those off it come in equal sets.

    >>> import systems
    >>> lopsided = systems.get("gene_circuit", p1=1.2)
    >>> fair = Symmetrised(lopsided, [(1, 0)])
    >>> bool(fair.value([0.4, 1.5]) == fair.value([1.5, 0.4]))
    True
    """

    def __init__(self, potential: Potential, generators: Sequence[Any]) -> None:
        require_potential(potential)
        self.potential, self.group = potential, group(len(potential.states), generators)

    states = property(lambda self: self.potential.states, doc="Names of the components of x.")
    members = property(lambda self: self.potential.members, doc="Members of the potential, None if it has none.")
    dtype = property(lambda self: getattr(self.potential, "dtype", torch.float64), doc="Type of its numbers.")
    device = property(lambda self: getattr(self.potential, "device", None), doc="Where its numbers live.")

    def check_domain(self, x: Any) -> None:
        """Raise where the potential refuses x or one of its images."""
        for g in self.group:
            check_domain([self.potential], np.asarray(x) @ g.T)

    def member(self, index: int) -> "Symmetrised":
        """Return one member, symmetrised."""
        return Symmetrised(member_of(self.potential, index), self.group)

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return the mean of Ψ(G x), shape (…)."""
        return self._mean(x, lambda g: self.potential.value(x @ g.T))

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return the mean of Gᵀ ∇Ψ(G x), shape (…, dim)."""
        return self._mean(x, lambda g: self.potential.gradient(x @ g.T) @ g)

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return the mean of Gᵀ ∇²Ψ(G x) G, shape (…, dim, dim)."""
        return self._mean(x, lambda g: g.T @ self.potential.hessian(x @ g.T) @ g)

    def _mean(self, x: Tensor, image: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.stack([image(torch.as_tensor(g).to(x)) for g in self.group]).sum(0) / len(self.group)


def augmented(data: xr.Dataset, generators: Sequence[Any], *, count: int | None = None, seed: Any = 0) -> xr.Dataset:
    """Return points with images of those marked "train" (of all, where nothing is marked) added as further samples.

    Every image is G x with the same potential and with G ∇Ψ and G ẋ; noise levels and weights of single components go
    along. `count` images of each sample, itself among them, are drawn without repetition; None takes the whole group.
    Samples for validation and test stay alone, so that nothing is judged on what it was taught.

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
        raise ValueError(f"count must be between 1 and {len(maps)}, the size of the group, got {count!r}")
    marked = data["split"].values == "train" if "split" in data.coords else np.ones(data.sizes["sample"], bool)
    learned = data.isel(sample=marked)
    rng = np.random.default_rng(dataset.seed_sequence(seed))
    others = 1 + np.argsort(rng.random((learned.sizes["sample"], len(maps) - 1)), axis=1)
    parts = [data]
    for k in range(count - 1):
        G, image = maps[others[:, k]], learned.copy()
        for name, values in learned.data_vars.items():
            if "state" in values.dims:
                image[name] = values.copy(data=_image(G, str(name), values.values))
        parts.append(image)
    joined = xr.concat(parts, "sample")
    return joined.assign_coords(sample=np.arange(joined.sizes["sample"]))


def _image(G: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    """Return G v for every sample, shape (sample, state); noise levels of components as variances, weights likewise."""
    if name.startswith("sigma"):
        return np.einsum("sij,sj->si", G**2, values**2) ** 0.5
    return np.einsum("sij,sj->si", G**2 if name.startswith("weight") else G, values)


def group(dim: int, generators: Sequence[Any], largest: int = 1000) -> list[np.ndarray]:
    """Return the group of orthogonal matrices, shape (dim, dim), that the generators generate, identity first.

    >>> len(group(3, [(1, 2, 0), (1, 0, 2)]))
    6
    """
    steps = [_matrix(dim, g) for g in generators]
    maps, fresh = np.eye(dim)[None], [np.eye(dim)]
    while fresh:
        candidates, fresh = [step @ h for h in fresh for step in steps], []
        for candidate in candidates:
            if not (np.abs(maps - candidate) < 1e-9).all((1, 2)).any():
                maps, fresh = np.concatenate([maps, candidate[None]]), [*fresh, candidate]
        if len(maps) > largest:
            raise ValueError(f"the generators generate more than {largest} maps: a finite group is needed")
    return list(maps)


def _matrix(dim: int, generator: Any) -> np.ndarray:
    """Return a permutation of coordinates, or an orthogonal matrix, as a matrix."""
    g = np.asarray(generator, dtype=np.float64)
    if g.shape == (dim,):
        if sorted(g) != list(range(dim)):
            raise ValueError(f"{generator} is no permutation of the coordinates {tuple(range(dim))}")
        return np.eye(dim)[g.astype(int)]
    if g.shape != (dim, dim) or not np.allclose(g @ g.T, np.eye(dim), atol=1e-9):
        raise ValueError(f"expected a permutation or an orthogonal matrix of {dim} coordinates, got {generator}")
    return g
