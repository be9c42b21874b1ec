r"""Maximum likelihood (the match "density"): the loss includes the normalisation (Eqs 20–22 of Jones et al., 2025).

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

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import jacrev, vmap

from workbench import dataset
from workbench.dataset.variables import Units, variable
from workbench.errors import DatasetError
from workbench.losses.closed_form import ClosedForm
from workbench.losses.contract import Match, Parts, Split
from workbench.losses.normal_equations import Primal, gram_of
from workbench.losses.problem import AUTOMATIC, CLOSED, Problem
from workbench.potentials import density as potentials_density
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.support import Support
from workbench.potentials.trainable import TrainablePotential

__all__ = ["Density", "Likelihood", "Samples", "kernel_potential"]

CONDITIONAL_GAUGE = "undetermined: exp(−Ψ) is normalised for each value of the conditions by the density alone"
KERNEL_SAMPLES = 2000  # at most, for the kernel estimate from which a density is initialised


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

    def __init__(
        self, model: Any, samples: Samples, validation: Samples, prior: float = 0.0, *, penalised: bool = False
    ) -> None:
        super().__init__(model, penalised=penalised)
        self.samples, self.validation, self.prior = samples, validation, prior
        self._closed = ClosedForm(self.free) if self.copies == 1 else None
        node = samples.nodes[0, :1]
        if self._closed and self._closed(self.at(self.vector()), node, value=torch.ones_like(node[:, 0])) is None:
            self._closed = None

    @property
    def differentiation(self) -> str:
        """How the Jacobian is computed, in words."""
        return CLOSED if self._closed else AUTOMATIC

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
        """Return half the gradient ∇L and half the matrix H at θ.

        By the law of total covariance, nodes of a group that do not fit into one block contribute their covariance
        within each block, and that of the means of the blocks.
        """
        psi, fraction = evaluated[1], self.samples.fraction.unsqueeze(-1)
        q = torch.softmax(self.samples.log_weight - psi, -1)
        prior = self.prior * (psi - (q * psi).sum(-1, keepdim=True))
        slopes = fraction * q * (prior - 1)
        gram, gradient = theta.new_zeros(len(theta), len(theta)), self._mean_over_samples(theta)
        means = theta.new_zeros(len(q), len(theta))
        within: list[tuple[int, Tensor, Tensor]] = []
        for at, J in self._jacobians(theta):
            weight, q_part = q[at].sum(-1, keepdim=True), q[at].unsqueeze(-1)
            mean = (q_part * J).sum(1) / weight
            gradient += torch.einsum("gn,gnp->p", slopes[at], J)
            scale = ((1 + self.prior) * fraction[at[0]].unsqueeze(-1) * q_part).sqrt()
            gram += gram_of((scale * (J - mean.unsqueeze(1))).reshape(-1, len(theta)))
            means[at[0]] += weight * mean
            if J.shape[1] < q.shape[1]:
                within.append((at[0].start, ((1 + self.prior) * fraction[at[0]] * weight).sqrt(), mean))
        if within:
            gram += gram_of(torch.cat([scale * (mean - means[group]) for group, scale, mean in within]))
        return Primal(gram / 2, gradient / 2, partial(self._pull_back, theta, psi))

    def outputs(self, evaluated: tuple[Tensor, Tensor]) -> Tensor:
        """Return Ψ at the nodes."""
        return evaluated[1]

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
            psi = self.at(theta).value(both)
        return psi[: len(samples.x)], psi[len(samples.x) :].reshape(samples.nodes.shape[:2])

    def _pull_back(self, theta: Tensor, psi: Tensor, v: Tensor) -> Tensor:
        """Return half of (1 + β) Cov_q(J, v), averaged over the groups, shape (parameter,), for v (group, node)."""
        q = torch.softmax(self.samples.log_weight - psi, -1)
        weight = (1 + self.prior) / 2 * self.samples.fraction.unsqueeze(-1) * q
        nodes, theta = self.samples.nodes.flatten(0, 1), theta.detach().requires_grad_()
        cotangent = weight * (v - (q * v).sum(-1, keepdim=True))
        return torch.autograd.grad(cotangent.flatten() @ self.at(theta).value(nodes), theta)[0]

    def _mean_over_samples(self, theta: Tensor) -> Tensor:
        """Return E_data[J], shape (parameter,)."""
        theta = theta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.samples.weight @ self.at(theta).value(self.samples.x), theta)
        return gradient

    def _jacobians(self, theta: Tensor) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Yield ∂Ψ/∂θ, shape (group, node, parameter), for slices of groups, and of nodes if a group is too large."""
        groups, nodes, _ = self.samples.nodes.shape
        rows = self.rows_at_a_time(len(theta), "node")
        step, part = max(1, rows // nodes), min(nodes, rows)
        single = vmap(jacrev(lambda t, x: self.at(t).value(x[None])[0]), in_dims=(None, 0))
        for group, node in itertools.product(range(0, groups, step), range(0, nodes, part)):
            at = slice(group, min(group + step, groups)), slice(node, min(node + part, nodes))
            x = self.samples.nodes[at].flatten(0, 1)
            J = self._closed(self.at(theta), x, value=torch.ones_like(x[:, 0])) if self._closed else None
            J = single(theta, x).detach() if J is None else J
            yield at, J.unflatten(0, self.samples.nodes[at].shape[:2])


@dataclass(frozen=True)
class Density(Match):
    """Match the density of samples: maximise the likelihood of q = exp(−Ψ)/Z on a support, with Ψ in nats.

    States of the model that the support does not name are conditions, q(y | t). For trajectories, time is such a
    condition if the model has a state "time". Without conditions Ψ = −log q after the fit; the error is the mean
    negative log-likelihood of the held-out samples in nats.

    Parameters
    ----------
    support : Support
        Where the density lives.
    prior : float, optional
        Weight β ≥ 0 of KL(q ‖ uniform) in the loss. Default: 0.

    Raises
    ------
    ValueError
        If there is no support, or `prior` is negative or not finite.

    Examples
    --------
    >>> import workbench as wb
    >>> x = np.random.default_rng(0).normal(0, 1, (80, 1))
    >>> match = wb.match.Density(wb.Support({"x1": (-5, 5)}))
    >>> quick = wb.LevenbergMarquardt(steps=10, screening=5)
    >>> fit = wb.fit(wb.LSEICNN(1, 1, (4,)), wb.dataset.points(x), match=match, seed=0, restarts=1, optimiser=quick)
    >>> 1.0 < fit.error < 2.0
    True

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242, Eqs 20–22.
    """

    gauge: ClassVar[str] = "−log q: exp(−Ψ) is normalised on the support"

    support: Support | None = None
    prior: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.support, Support):
            raise ValueError(
                "a density needs a support, such as match=wb.match.Density(wb.Support({'x1': (-3, 3)})); "
                f"got {self.support!r}"
            )
        if not (0 <= self.prior < np.inf):
            raise ValueError(f"prior must be finite and >= 0, got {self.prior!r}")

    def prepared(self, model: Any, data: xr.Dataset, split: Split) -> tuple[Any, xr.Dataset]:
        """Return a flat copy of the model with the support, and the data, split, with its states."""
        data, support = split(self.checked(data)), self._support
        if "time" in model.states and "time" in data.dims:
            data = dataset.timed(data)
        if data.sizes["state"] != model.dim:
            raise DatasetError(
                f"the data have {data.sizes['state']}-dimensional states, but the model has dim = {model.dim}"
            )
        model = copy.deepcopy(model)
        if model.states == tuple(f"x{i + 1}" for i in range(model.dim)):
            model.states = tuple(map(str, data["state"].values))
        data = dataset.with_states(data, model.states)
        missing = set(support.states) - set(model.states)
        if missing:
            raise ValueError(
                f"the support names {sorted(missing)}, but the states of the model are {list(model.states)}"
            )
        samples = dataset.flat(data)
        support.check(samples.isel(sample=(samples["split"] != "test").values))
        model.support = support
        return model, data

    def scale(self, template: Any, train: xr.Dataset, init: Initialisation) -> None:
        """Set the scales: the landscape covers all of the support, not only where samples are; Ψ is in nats."""
        x = train["x"].values
        x = np.vstack([x, *corners(template, x)])
        template.set_scaling(x, units=not init.scaled, potential=None, gradient=np.ones((1, 1)))
        template.potential_scale.fill_(1.0)

    def known(self, train: xr.Dataset, rng: np.random.Generator | None = None) -> xr.Dataset:
        """Return the states, at most 2000 of them, and the potential of a kernel density estimate there."""
        x = train["x"].values
        if rng is not None and len(x) > KERNEL_SAMPLES:
            x = rng.choice(x, KERNEL_SAMPLES, replace=False)
        return xr.Dataset({"x": (("sample", "state"), x), "potential": ("sample", kernel_potential(x))})

    def problem(self, model: Any, parts: Parts, *, penalised: bool = False) -> Likelihood:
        """Return the negative log-likelihood."""
        train, validation = (Samples.of(parts[name], self._support, model.offset) for name in ("train", "validation"))
        return Likelihood(model, train, validation, self.prior, penalised=penalised)

    def finish(self, model: Any, train: xr.Dataset) -> None:  # noqa: ARG002
        """Set the offset of a model without conditions so that Z = 1, hence Ψ = −log q; with conditions, leave it."""
        density = potentials_density.Density(model)
        if not density.conditions:
            with torch.no_grad():
                model.offset += torch.tensor(density.log_normaliser(np.empty(0))).to(model.offset)
        model.gauge = self.gauge if not density.conditions else CONDITIONAL_GAUGE

    def units(self, data: xr.Dataset) -> Units:
        """Return the units of the data, with Ψ in units of the temperature: dimensionless."""
        units = Units.read(data)
        return Units(units.states, "1", units.time)

    @property
    def loss_unit(self) -> str:
        """Unit of the loss."""
        return "nats"

    def error(self, loss: float) -> float:
        """Return the loss, in nats."""
        return loss

    def unit(self, data: xr.Dataset) -> str:  # noqa: ARG002
        """Return the unit of the error."""
        return "nats"

    def caveat(self, error: float, data: xr.Dataset) -> None:  # noqa: ARG002
        """A likelihood alone does not tell whether a density is right: there is no caveat."""  # noqa: D401

    def predictions(self, model: Any, data: xr.Dataset) -> xr.Dataset:
        """Return the logarithm of the density at the data, the mean of the members."""
        log_q = potentials_density.Density(model).log_prob(data["x"].values)
        shown = variable(data["x"].dims[:-1], log_q, "logarithm of the mean density of the members", "1")
        return xr.Dataset({"log_prob": shown}, coords=data.coords)

    @property
    def _support(self) -> Support:
        """The support, which `__post_init__` has checked."""
        assert self.support is not None
        return self.support


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


def corners(model: TrainablePotential, x: np.ndarray) -> np.ndarray:
    """Return the first sample of x, shape (sample, dim), moved to two opposite corners of the support: (2, dim)."""
    both = np.repeat(x[:1], 2, axis=0)
    for name, side in (model.support.bounds if model.support else {}).items():
        both[:, model.states.index(name)] = side
    return both
