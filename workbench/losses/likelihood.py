r"""Maximum likelihood (match="density"): the loss includes the normalisation (Eqs 20–22 of Jones et al., 2025).

    L(θ) = Σ_g π_g [ mean over samples of group g of Ψ + log Z_g + β KL(q_g ‖ uniform) ],      log q = −Ψ − log Z,

in nats. Samples with equal conditions, such as the time, form a group g; π_g is the weight fraction of group g, and
without conditions there is one group. With J = ∂Ψ/∂θ and a quadrature over the support,

    ∇L = E_data[J] − E_q[J] + β Cov_q(Ψ, J),       H = (1 + β) Cov_q(J),

averaged over the groups. For β = 0, H is the Fisher information, that is the Hessian of log Z without the term that
contains ∂²Ψ/∂θ²; damped steps with this matrix are natural-gradient steps.

References
----------
S. Amari, Natural gradient works efficiently in learning, Neural Comput. 10, 251–276 (1998),
doi:10.1162/089976698300017746.

D. W. Scott, Multivariate Density Estimation, Wiley (2015), doi:10.1002/9781118575574 (bandwidth of the initial kernel
estimate).

R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well, locally-convex
potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242.
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
    """Distinct samples with their weights, and the quadrature nodes of every group, as tensors.

    Parameters
    ----------
    x : Tensor, shape (sample, dim)
        Distinct samples.
    weight : Tensor, shape (sample,)
        Their weights, with sum 1.
    nodes : Tensor, shape (group, node, dim)
        Quadrature nodes, with the conditions of the group.
    log_weight : Tensor, shape (node,)
        Logarithms of the quadrature weights.
    fraction : Tensor, shape (group,)
        Weight fraction π_g of every group.
    """

    x: Tensor
    weight: Tensor
    nodes: Tensor
    log_weight: Tensor
    fraction: Tensor

    @classmethod
    def of(cls, samples: xr.Dataset, support: Support, like: Tensor) -> "Samples":
        """Return the samples of flat data with the states of the model, with dtype and device of the tensor `like`."""
        states, count = list(samples["state"].values), samples.sizes["sample"]
        weight = samples["weight"].values if "weight" in samples else np.ones(count)
        x, distinct = np.unique(samples["x"].values, axis=0, return_inverse=True)  # equal samples: one, weights added
        weight = np.bincount(distinct.ravel(), weights=weight) / weight.sum()
        at = [states.index(name) for name in support.states]
        given = [k for k in range(len(states)) if k not in at]
        conditions, group = np.unique(x[:, given], axis=0, return_inverse=True)
        y, quadrature = support.quadrature(support.nodes)
        nodes = np.empty((len(conditions), len(y), len(states)))
        nodes[..., at] = y
        nodes[..., given] = conditions[:, None]
        fraction = np.bincount(group.ravel(), weights=weight)
        arrays = (x, weight, nodes, np.log(quadrature), fraction)
        return cls(*(torch.tensor(values).to(like) for values in arrays))


class Likelihood(Problem):
    """The negative log-likelihood of samples on a support; `prior` is β, `validation` are the held-out samples."""

    BLOCK_ENTRIES = 2**22  # of the Jacobian computed at a time

    def __init__(self, model: LSEICNN, samples: Samples, validation: Samples, prior: float = 0.0) -> None:
        super().__init__(model)
        self.samples, self.validation, self.prior = samples, validation, prior

    @classmethod
    def of(cls, model: LSEICNN, parts: Mapping[str, xr.Dataset], prior: float) -> "Likelihood":
        """Return the problem of a model with a support, from the "train" and "validation" parts of flat data."""
        if model.support is None:
            raise ValueError("a likelihood needs a model with a support")
        train, validation = (Samples.of(parts[name], model.support, model.u) for name in ("train", "validation"))
        return cls(model, train, validation, prior)

    def evaluate(self, theta: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        """Return Ψ at the samples, shape (sample,), and at the nodes, shape (group, node)."""
        return self._values(theta, self.samples)

    def terms(self, evaluated: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return the negative log-likelihood and β KL(q ‖ uniform), in nats."""
        terms = {"likelihood": _likelihood(*evaluated, self.samples)}
        if self.prior:
            psi, fraction = evaluated[1], self.samples.fraction
            log_z = torch.logsumexp(self.samples.log_weight - psi, -1)
            q = torch.softmax(self.samples.log_weight - psi, -1)
            volume = torch.logsumexp(self.samples.log_weight, -1)
            terms["prior"] = self.prior * float(fraction @ (volume - log_z - (q * psi).sum(-1)))
        return terms

    def validate(self, theta: Tensor, state: Any = None) -> tuple[float, Any]:
        """Return the negative log-likelihood of the held-out samples."""
        return _likelihood(*self._values(theta, self.validation), self.validation), state

    def linearise(self, theta: Tensor, evaluated: tuple[Tensor, Tensor]) -> Primal:
        """Return half the gradient ∇L and half the matrix H at θ."""
        gram, gradient = theta.new_zeros(len(theta), len(theta)), self._mean_over_samples(theta)
        for at, J in self._jacobians(theta):
            psi, fraction = evaluated[1][at], self.samples.fraction[at]
            q = torch.softmax(self.samples.log_weight - psi, -1)
            centred = J - (q.unsqueeze(-1) * J).sum(1, keepdim=True)
            deviation = psi - (q * psi).sum(-1, keepdim=True)
            prior = fraction.unsqueeze(-1) * q * (self.prior * deviation)
            gradient -= torch.einsum("g,gn,gnp->p", fraction, q, J) - torch.einsum("gn,gnp->p", prior, centred)
            scale = ((1 + self.prior) * fraction.unsqueeze(-1) * q).sqrt().unsqueeze(-1)
            gram += gram_of((scale * centred).reshape(-1, len(theta)))
        return Primal(gram / 2, gradient / 2)

    def bad_term(self, evaluated: Any) -> str:
        """Say that the potential, or its derivative, is not finite."""
        finite = all(bool(torch.isfinite(part).all()) for part in evaluated)
        return "the derivative of the potential is not finite" if finite else "the predicted potential is not finite"

    def resolution(self, loss: float) -> float:
        """Return 1e-4 nats, the smallest decrease of the held-out loss that counts as progress."""
        return 1e-4

    def small(self, loss: float, tolerance: float) -> bool:
        """Return False: a negative log-likelihood has no natural zero."""
        return False

    def formatted(self, loss: float) -> str:
        """Return the loss in nats."""
        return f"{loss:.4f} nats"

    def _values(self, theta: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
        """Return Ψ at the samples, shape (sample,), and at the nodes, shape (group, node)."""
        with torch.no_grad():
            both = torch.cat([samples.x, samples.nodes.reshape(-1, samples.x.shape[-1])])
            psi = self.apply(theta, both, "value")
        return psi[: len(samples.x)], psi[len(samples.x) :].reshape(samples.nodes.shape[:2])

    def _mean_over_samples(self, theta: Tensor) -> Tensor:
        """Return E_data[J], shape (parameter,)."""
        theta = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.samples.weight @ self.apply(theta, self.samples.x, "value"), theta)
        return gradient

    def _jacobians(self, theta: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of groups with ∂Ψ/∂θ at their nodes, shape (group, node, parameter)."""
        single = vmap(jacrev(lambda t, x: self.apply(t, x[None], "value")[0]), in_dims=(None, 0))
        groups, nodes, dim = self.samples.nodes.shape
        step = max(1, self.BLOCK_ENTRIES // (nodes * len(theta)))
        for start in range(0, groups, step):
            at = slice(start, start + step)
            rows = self.samples.nodes[at].reshape(-1, dim)
            yield at, single(theta, rows).detach().reshape(-1, nodes, len(theta))


def _likelihood(psi: Tensor, nodes: Tensor, samples: Samples) -> float:
    """Return Σ π_g [mean Ψ + log Z_g] from Ψ at the samples, shape (sample,), and nodes, shape (group, node)."""
    return float(samples.weight @ psi + samples.fraction @ torch.logsumexp(samples.log_weight - nodes, -1))


def kernel_potential(x: np.ndarray) -> np.ndarray:
    """Return −log of a Gaussian kernel density estimate at its own samples, shape (sample,), to initialise fits.

    The bandwidth is Scott's rule. The result is 0 where no estimate exists, such as for equal or too few samples.
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
    """Set the offset of a model without conditions so that Z = 1, hence Ψ = −log q; with conditions, leave it."""
    density = Density(model)
    if not density.conditions:
        with torch.no_grad():
            model.offset += torch.tensor(density.log_normaliser(np.empty(0))).to(model.offset)


def on_support(model: LSEICNN, data: xr.Dataset, support: Support | None, prior: float) -> tuple[LSEICNN, xr.Dataset]:
    """Return a flat copy of the model with the support, and the data with its states; raise errors for bad requests."""
    if support is None:
        raise ValueError("match='density' needs a support, such as support=wb.Support({'x1': (-3, 3)})")
    if not (0 <= prior < np.inf):
        raise ValueError(f"prior must be finite and >= 0, got {prior!r}")
    if "time" in model.states and "time" in data.dims:
        data = dataset.timed(data)
    if data.sizes["state"] != model.dim:
        raise DatasetError(
            f"the data have {data.sizes['state']}-dimensional states, but the model has dim = {model.dim}"
        )
    model = model.like(members=model.members)
    if model.states == tuple(f"x{i + 1}" for i in range(model.dim)):
        model.states = tuple(map(str, data["state"].values))
    data = dataset.with_states(data, model.states)
    missing = set(support.states) - set(model.states)
    if missing:
        raise ValueError(f"the support names {sorted(missing)}, but the states of the model are {list(model.states)}")
    samples = dataset.flat(data)
    support.check(samples.isel(sample=(samples["split"] != "test").values))
    model.support = support
    return model, data


def corners(model: LSEICNN, x: np.ndarray) -> np.ndarray:
    """Return the first sample of x, shape (sample, dim), moved to two opposite corners of the support: (2, dim)."""
    both = np.repeat(x[:1], 2, axis=0)
    for name, side in (model.support.bounds if model.support else {}).items():
        both[:, model.states.index(name)] = side
    return both
