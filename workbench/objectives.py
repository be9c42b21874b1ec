r"""What to match: the observations of a fit, its residuals and their Jacobian.

A match names one or more quantities q of the data with weights w_q, and the loss is

    L(θ) = Σ_q w_q · mean over samples and components of ((prediction − observation) / scale)²  /  Σ_q w_q,

with scale the noise level `sigma` where the data give one, else the spread of that component over the training data
(standard deviation of a potential, root mean square of a gradient or velocity, each component on its own). A `weight`
multiplies the squares of its sample, relative to the mean weight. Noise levels of several quantities are given by name
(`sigma={"potential": …, "gradient": …}`), for all of them or for none: they have different units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from workbench.dataset import flat, nearest
from workbench.errors import DatasetError
from workbench.normal_equations import Dual, Primal, gram_of
from workbench.potentials.lse_icnn import LSEICNN

__all__ = [
    "DENSITY",
    "OBJECTIVES",
    "TRAJECTORY",
    "LeastSquares",
    "Objective",
    "Observations",
    "Problem",
    "noise_of",
    "parse_match",
    "predictions",
]


@dataclass(frozen=True)
class Objective:
    """A quantity of the data, as a method of the potential and a sign: velocity = −gradient."""

    quantity: str
    sign: float


OBJECTIVES = {
    "potential": Objective("value", 1.0),
    "gradient": Objective("gradient", 1.0),
    "velocity": Objective("gradient", -1.0),
}


DENSITY = "density"  # matched by likelihood (see `likelihood`)
TRAJECTORY = "trajectory"  # matched by multiple shooting (see `shooting`)
TWINS = {"velocity": "gradient", "gradient": "velocity"}  # one is minus the other


def parse_match(match: str | Mapping[str, float]) -> dict[str, float]:
    """Return quantity → weight; a name alone has weight 1.

    >>> parse_match("velocity"), parse_match({"potential": 1, "gradient": 10})
    ({'velocity': 1.0}, {'potential': 1.0, 'gradient': 10.0})
    """
    weights = {match: 1.0} if isinstance(match, str) else {name: float(weight) for name, weight in dict(match).items()}
    known = (*OBJECTIVES, DENSITY, TRAJECTORY)
    for name, weight in weights.items():
        if name not in known:
            raise ValueError(f"cannot match {name!r}{nearest(name, known) or ';'} Known: {', '.join(known)}")
        if not (np.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of {name!r} must be positive and finite, got {weight!r}")
    if DENSITY in weights and len(weights) > 1:
        raise ValueError("a density is matched alone: its loss is in nats, that of the others in squares")
    if TRAJECTORY in weights and len(weights) > 1:
        raise ValueError("trajectories are matched alone, from a model fitted to velocities before")
    if not weights:
        raise ValueError(f"match names nothing; choose from {', '.join(OBJECTIVES)}")
    return weights


@dataclass(frozen=True)
class Observations:
    """What residuals need: x (sample, dim), targets and factors (sample, entry), and the entries of each quantity.

    A residual is (prediction − target) · factor; the factors hold scale, noise, weights and 1/√(number of entries).
    """

    x: Tensor
    target: Tensor
    factor: Tensor
    entries: dict[str, slice]

    @classmethod
    def of(
        cls, samples: xr.Dataset, match: Mapping[str, float], scales: Mapping[str, np.ndarray], like: Tensor
    ) -> "Observations":
        """Collect from flat data (see `dataset.flat`) with the scales of the training data, in the type of `like`."""
        targets, factors, entries, end = [], [], {}, 0
        for name, weight in match.items():
            target = samples[name].values.reshape(samples.sizes["sample"], -1)
            factor = np.sqrt(weight / sum(match.values()) / target.size) * np.ones_like(target)
            sigma, given = (noise_of(samples, kind, name) for kind in ("sigma", "weight"))
            factor /= scales[name] if sigma is None else sigma
            if given is not None:
                factor *= np.sqrt(given / given.mean())
            targets.append(target)
            factors.append(factor)
            entries[name] = slice(end, end := end + target.shape[1])
        arrays = (samples["x"].values, np.hstack(targets), np.hstack(factors))
        tensors = [torch.tensor(np.ascontiguousarray(values)).to(like) for values in arrays]
        return cls(x=tensors[0], target=tensors[1], factor=tensors[2], entries=entries)


def scales_of(samples: xr.Dataset, match: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Return the spread of every matched component over the samples; constant ones take their quantity's largest."""
    scales = {}
    for name in match:
        values = samples[name].values.reshape(samples.sizes["sample"], -1)
        spread = values.std(0) if name == "potential" else np.sqrt((values**2).mean(0))
        largest = spread.max() if spread.max() > 1e-12 * np.abs(values).max() else 1.0
        scales[name] = np.where(spread > 1e-12 * largest, spread, largest or 1.0)
    return scales


def predictions(model: Callable[[Tensor, str], Tensor], x: Tensor, match: Iterable[str]) -> Tensor:
    """Return what a potential predicts for the matched quantities side by side, shape (…, sample, entry)."""
    columns = []
    for name in match:
        objective = OBJECTIVES[name]
        y = objective.sign * model(x, objective.quantity)
        columns.append(y.unsqueeze(-1) if objective.quantity == "value" else y)
    return torch.cat(columns, -1)


class Problem(ABC):
    """What Gauss–Newton descends on: a loss as a function of one flat vector θ of a model's free parameters.

    The gates α are not among them: a mode's output bias absorbs log ς(α)/ρ, so no match can tell the two apart. (A
    sparsity penalty can; it belongs to Adam.) To make a problem, say how to evaluate it, and how to linearise it there.
    The loss is the sum of its terms, a mean of squares whose root is the error; a loss of another kind overrides
    `resolution`, `small` and `told` as well.
    """

    FROZEN = ("alpha",)

    def __init__(self, model: LSEICNN) -> None:
        self.model = model
        self._free = {name: p for name, p in model.named_parameters() if name not in self.FROZEN}

    @abstractmethod
    def evaluate(self, theta: Tensor) -> Any:
        """Return what loss, terms and linearisation at θ are made of."""

    @abstractmethod
    def terms(self, seen: Any) -> dict[str, float]:
        """Return the parts of the loss by name."""

    @abstractmethod
    def linearise(self, theta: Tensor, seen: Any) -> Primal | Dual:
        """Return gradient and matrix of the Gauss–Newton step at θ."""

    @abstractmethod
    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the held-out samples."""

    @abstractmethod
    def bad_term(self, seen: Any) -> str:
        """Say which part of what was evaluated is not finite."""

    def loss(self, seen: Any) -> float:
        """Return the loss of what was evaluated."""
        return sum(self.terms(seen).values())

    def resolution(self, loss: float) -> float:
        """Return the smallest change of a held-out loss that counts as progress: a thousandth of it."""
        return 0.001 * loss

    def small(self, loss: float, tolerance: float) -> bool:
        """Return whether a loss is within the tolerance: its root, the error, is."""
        return loss <= tolerance**2

    def told(self, loss: float) -> str:
        """Return a loss as progress shows it: its root, the error."""
        return f"error {loss**0.5:.1e}"

    def vector(self) -> Tensor:
        """Return the model's current free parameters, shape (parameter,)."""
        return torch.cat([p.detach().reshape(-1) for p in self._free.values()])

    def limit(self) -> Tensor:
        """Return the largest admissible step of every parameter: 0.5 in u, no limit elsewhere."""
        each = [torch.full_like(p, 0.5 if name == "u" else torch.inf).reshape(-1) for name, p in self._free.items()]
        return torch.cat(each).detach()

    def load(self, theta: Tensor) -> None:
        """Put θ into the model."""
        with torch.no_grad():
            for name, values in self._named(theta).items():
                self._free[name].copy_(values)

    def apply(self, theta: Tensor, x: Tensor, quantity: str) -> Tensor:
        """Return `value` or `gradient` of the model at x with parameters θ."""
        return functional_call(self.model, self._named(theta), (x, quantity))

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        parts = theta.split([p.numel() for p in self._free.values()])
        return {name: part.view(p.shape) for (name, p), part in zip(self._free.items(), parts, strict=True)}


class LeastSquares(Problem):
    """Residuals of a model and their squares; `validation` are the observations that are held out."""

    CHUNK = 2**22  # entries of the Jacobian made at a time: few enough for the cache

    def __init__(
        self,
        model: LSEICNN,
        observations: Observations,
        match: Mapping[str, float],
        validation: Observations | None = None,
    ) -> None:
        super().__init__(model)
        self.observations, self.match = observations, match
        self.validation = observations if validation is None else validation

    def evaluate(self, theta: Tensor) -> Tensor:
        """Return the residuals."""
        return self.residuals(theta)

    def loss(self, seen: Tensor) -> float:
        """Return the sum of squares, of all quantities in one pass."""
        return float(seen.square().sum())

    def terms(self, seen: Tensor) -> dict[str, float]:
        """Return the loss of each quantity."""
        return {name: float(seen[:, at].square().sum()) for name, at in self.observations.entries.items()}

    def held_out(self, theta: Tensor) -> float:
        """Return the loss of the held-out samples."""
        return float(self.residuals(theta, self.validation).square().sum())

    def bad_term(self, seen: Tensor) -> str:
        """Say which quantity is not finite."""
        for name, at in self.observations.entries.items():
            if not torch.isfinite(seen[:, at]).all():
                return f"the {name} predicted is not finite"
        return "its derivative by the weights is not finite"

    def linearise(self, theta: Tensor, seen: Tensor) -> Primal | Dual:
        """Return the normal equations, from the smaller of JᵀJ and JJᵀ."""
        flat = seen.reshape(-1)
        blocks = self.jacobians(theta)
        if len(flat) < len(theta):
            return Dual(torch.cat(list(blocks)), flat)
        gram, gradient, start = theta.new_zeros(len(theta), len(theta)), torch.zeros_like(theta), 0
        for J in blocks:
            gram += gram_of(J)
            gradient += J.T @ flat[start : start + len(J)]
            start += len(J)
        return Primal(gram, gradient)

    def residuals(self, theta: Tensor, observations: Observations | None = None) -> Tensor:
        """Return the residuals, shape (sample, entry); their squares sum to the loss."""
        o = observations or self.observations
        with torch.no_grad():
            return (self._predict(theta, o.x) - o.target) * o.factor

    def jacobians(self, theta: Tensor) -> Iterator[Tensor]:
        """Yield the Jacobian of the residuals in blocks with shape (rows, parameter), rows as in `residuals`."""
        o = self.observations
        rows = max(1, self.CHUNK // (o.target.shape[1] * len(theta)))
        single = vmap(jacrev(lambda t, x: self._predict(t, x[None])[0]), in_dims=(None, 0))
        for start in range(0, len(o.x), rows):
            at = slice(start, start + rows)
            yield single(theta, o.x[at]).detach().mul_(o.factor[at].unsqueeze(-1)).reshape(-1, len(theta))

    def _predict(self, theta: Tensor, x: Tensor) -> Tensor:
        return predictions(lambda x, quantity: self.apply(theta, x, quantity), x, self.match)


def noise_of(samples: xr.Dataset, kind: str, name: str) -> np.ndarray | None:
    """Return noise levels or weights of a quantity, shape (sample, 1) or (sample, component), if there are any."""
    for label in (f"{kind}_{name}", f"{kind}_{TWINS.get(name)}", kind):
        if label in samples:
            values = samples[label].values.reshape(samples.sizes["sample"], -1)
            if values.shape[1] > 1 and "state" not in samples[name].dims:
                raise DatasetError(f"{label} is given per component, but {name} has only one")
            return values
    return None


def check_matched(samples: xr.Dataset, match: Mapping[str, float], dim: int) -> None:
    """Raise `DatasetError` where the data lack a matched quantity or have another dimension than the model."""
    if "state" not in samples.dims:
        raise DatasetError("paths are matched by stress, with a material: match='stress'")
    samples = flat(samples)
    if samples.sizes["state"] != dim:
        raise DatasetError(f"the data have {samples.sizes['state']} states, the model dim = {dim}")
    for name in match:
        twin = TWINS.get(name)
        if name not in samples and twin in samples:
            raise DatasetError(f"the data hold no {name!r} but {twin!r}: use match={twin!r} (velocity = −gradient)")
        if name == "velocity" and name not in samples:
            raise DatasetError(
                "the data hold no 'velocity': estimate it from trajectories by workbench.differentiated(data) "
                "(--differentiate), or give it beside x"
            )
    noisy = [name for name in match if name in samples and noise_of(samples, "sigma", name) is not None]
    if len(match) > 1 and ("sigma" in samples or 0 < len(noisy) < len(match)):
        raise DatasetError("a joint match takes noise levels by name, for every quantity: sigma={'potential': …, …}")
