r"""Match "density": the negative log-likelihood of samples, with the normalisation inside the loss (Eqs 20–22).

    L(θ) = Σ_g π_g [ mean over samples of group g of Ψ + log Z_g + β KL(q_g ‖ uniform) ],      log q = −Ψ − log Z,

in nats, one group for each condition (each time, say), or one in all; π_g is the group's share of the samples. With
J = ∂Ψ/∂θ at the nodes of the quadrature

    ∇L = E_data[J] − E_q[J] + β Cov_q(Ψ, J),       H = (1 + β) Cov_q(J),

and H, for β = 0 the Fisher information, is the second derivative of log Z but for the curvature of Ψ in θ: damped steps
with it are natural-gradient steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap

from workbench import dataset
from workbench.errors import DatasetError
from workbench.losses.normal_equations import Primal, gram_of
from workbench.losses.problem import Problem
from workbench.potentials.density import Density
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.support import Support

__all__ = ["Likelihood", "Samples", "kernel_potential", "normalise"]


@dataclass(frozen=True)
class Samples:
    """What the likelihood needs: x (sample, dim) with weights that sum to 1, and nodes (group, node, dim).

    `log_weight` (node,) are the logarithms of the quadrature weights, `share` (group,) the groups' shares.
    """

    x: Tensor
    weight: Tensor
    nodes: Tensor
    log_weight: Tensor
    share: Tensor

    @classmethod
    def of(cls, samples: xr.Dataset, support: Support, like: Tensor) -> "Samples":
        """Collect from flat data whose states are those of the model."""
        states, every = list(samples["state"].values), samples.sizes["sample"]
        weight = samples["weight"].values if "weight" in samples else np.ones(every)
        x, which = np.unique(samples["x"].values, axis=0, return_inverse=True)  # equal samples count as one, weighted
        weight = np.bincount(which.ravel(), weights=weight) / weight.sum()
        at = [states.index(name) for name in support.states]
        given = [k for k in range(len(states)) if k not in at]
        conditions, group = np.unique(x[:, given], axis=0, return_inverse=True)
        y, quadrature = support.quadrature(support.nodes)
        nodes = np.empty((len(conditions), len(y), len(states)))
        nodes[..., at] = y
        nodes[..., given] = conditions[:, None]
        share = np.bincount(group.ravel(), weights=weight)
        arrays = (x, weight, nodes, np.log(quadrature), share)
        return cls(*(torch.tensor(values).to(like) for values in arrays))


class Likelihood(Problem):
    """The loss of samples on a support; `prior` is β, `validation` the samples that are held out."""

    CHUNK = 2**22  # entries of the Jacobian made at a time

    def __init__(self, model: LSEICNN, samples: Samples, validation: Samples, prior: float = 0.0) -> None:
        super().__init__(model)
        self.samples, self.validation, self.prior = samples, validation, prior

    @classmethod
    def of(cls, model: LSEICNN, parts: Mapping[str, xr.Dataset], prior: float) -> "Likelihood":
        """Return the problem of a model on its support, from flat data in the parts "train" and "validation"."""
        if model.support is None:
            raise ValueError("a likelihood needs a model with a support")
        train, validation = (Samples.of(parts[name], model.support, model.u) for name in ("train", "validation"))
        return cls(model, train, validation, prior)

    def evaluate(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return Ψ at the samples, shape (sample,), and at the nodes, shape (group, node)."""
        return self._values(theta, self.samples)

    def terms(self, seen: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return the negative log-likelihood and β KL(q ‖ uniform), in nats."""
        terms = {"likelihood": _likelihood(*seen, self.samples)}
        if self.prior:
            psi, share = seen[1], self.samples.share
            log_z = torch.logsumexp(self.samples.log_weight - psi, -1)
            q = torch.softmax(self.samples.log_weight - psi, -1)
            volume = torch.logsumexp(self.samples.log_weight, -1)
            terms["prior"] = self.prior * float(share @ (volume - log_z - (q * psi).sum(-1)))
        return terms

    def held_out(self, theta: Tensor) -> float:
        """Return the negative log-likelihood of the held-out samples."""
        return _likelihood(*self._values(theta, self.validation), self.validation)

    def linearise(self, theta: Tensor, seen: tuple[Tensor, Tensor]) -> Primal:
        """Return half of gradient and Fisher information at θ."""
        gram, gradient = theta.new_zeros(len(theta), len(theta)), self._of_samples(theta)
        for at, J in self._jacobians(theta):
            psi, share = seen[1][at], self.samples.share[at]
            q = torch.softmax(self.samples.log_weight - psi, -1)
            centred = J - (q.unsqueeze(-1) * J).sum(1, keepdim=True)
            away = psi - (q * psi).sum(-1, keepdim=True)
            pull = share.unsqueeze(-1) * q * (self.prior * away)
            gradient -= torch.einsum("g,gn,gnp->p", share, q, J) - torch.einsum("gn,gnp->p", pull, centred)
            scale = ((1 + self.prior) * share.unsqueeze(-1) * q).sqrt().unsqueeze(-1)
            gram += gram_of((scale * centred).reshape(-1, len(theta)))
        return Primal(gram / 2, gradient / 2)

    def bad_term(self, seen: Any) -> str:
        """Say that it is the potential that is not finite."""
        finite = all(bool(torch.isfinite(part).all()) for part in seen)
        return "its derivative by the weights is not finite" if finite else "the potential predicted is not finite"

    def resolution(self, loss: float) -> float:
        """Return a ten-thousandth of a nat."""
        return 1e-4

    def small(self, loss: float, tolerance: float) -> bool:
        """Return False: a likelihood has no zero to be near."""
        return False

    def formatted(self, loss: float) -> str:
        """Return the loss in nats."""
        return f"{loss:.4f} nats"

    def _values(self, theta: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            both = torch.cat([samples.x, samples.nodes.reshape(-1, samples.x.shape[-1])])
            psi = self.apply(theta, both, "value")
        return psi[: len(samples.x)], psi[len(samples.x) :].reshape(samples.nodes.shape[:2])

    def _of_samples(self, theta: Tensor) -> Tensor:
        """Return E_data[J], shape (parameter,)."""
        theta = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.samples.weight @ self.apply(theta, self.samples.x, "value"), theta)
        return gradient

    def _jacobians(self, theta: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield ∂Ψ/∂θ at the nodes of some groups at a time, shape (group, node, parameter)."""
        single = vmap(jacrev(lambda t, x: self.apply(t, x[None], "value")[0]), in_dims=(None, 0))
        groups, nodes, dim = self.samples.nodes.shape
        step = max(1, self.CHUNK // (nodes * len(theta)))
        for start in range(0, groups, step):
            at = slice(start, start + step)
            rows = self.samples.nodes[at].reshape(-1, dim)
            yield at, single(theta, rows).detach().reshape(-1, nodes, len(theta))


def _likelihood(psi: Tensor, nodes: Tensor, samples: Samples) -> float:
    return float(samples.weight @ psi + samples.share @ torch.logsumexp(samples.log_weight - nodes, -1))


def kernel_potential(x: np.ndarray) -> np.ndarray:
    """Return −log of a kernel estimate with Scott's width at its own samples, shape (sample,): where fits start.

    Samples that do not vary are all alike, and get 0.
    """
    from scipy.stats import gaussian_kde

    varying = x[:, np.ptp(x, axis=0) > 0]
    if len(x) <= varying.shape[1] + 1 or varying.shape[1] == 0:
        return np.zeros(len(x))
    try:
        return -gaussian_kde(varying.T).logpdf(varying.T)
    except np.linalg.LinAlgError:
        return np.zeros(len(x))


def normalise(model: LSEICNN) -> None:
    """Choose the offset of a model without conditions so that Z = 1: its potential is then −log q."""
    density = Density(model)
    if not density.conditions:
        with torch.no_grad():
            model.offset += torch.tensor(density.log_normaliser(np.empty(0))).to(model.offset)


def on_support(model: LSEICNN, data: xr.Dataset, support: Support | None, prior: float) -> tuple[LSEICNN, xr.Dataset]:
    """Return the model on its support, and the data as points in its states; refuse what cannot be."""
    if support is None:
        raise ValueError("match='density' needs a support, such as support=wb.Support({'x1': (-3, 3)})")
    if not (0 <= prior < np.inf):
        raise ValueError(f"prior must be finite and >= 0, got {prior!r}")
    if "time" in model.states and "time" in data.dims:
        data = dataset.timed(data)
    if data.sizes["state"] != model.dim:
        raise DatasetError(f"the data have {data.sizes['state']} states, the model dim = {model.dim}")
    model = model.like(members=model.members)
    if model.states == tuple(f"x{i + 1}" for i in range(model.dim)):
        model.states = tuple(map(str, data["state"].values))
    data = dataset.with_states(data, model.states)
    missing = set(support.states) - set(model.states)
    if missing:
        raise ValueError(f"the support names {sorted(missing)}; the model has the states {model.states}")
    samples = dataset.flat(data)
    support.check(samples.isel(sample=(samples["split"] != "test").values))
    model.support = support
    return model, data


def corners(model: LSEICNN, x: np.ndarray) -> np.ndarray:
    """Return the first sample of x, shape (sample, dim), moved to two opposite corners of the support, (2, dim)."""
    both = np.repeat(x[:1], 2, axis=0)
    for name, side in (model.support.bounds if model.support else {}).items():
        both[:, model.states.index(name)] = side
    return both
