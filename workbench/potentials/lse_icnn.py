r"""LSE-ICNN: a soft minimum of input-convex networks with learned sharpness and gates.

    Ψ(x) = s Ψ̂((x − shift)/scale) + offset,      Ψ̂(x̂) = −(1/ρ) log[ (1/N) Σᵢ ς(αᵢ) exp(−ρ fᵢ(x̂)) ],

with convex modes fᵢ (`convex.py`), sharpness ρ = ρ_lo + exp(u) and gates ς(α) = sigmoid(10 (α/2 − 1)): Eqs 3, 5 and 6
of Jones et al. (2025). With the softmax weights wᵢ ∝ ς(αᵢ) exp(−ρ fᵢ) and the weighted mean ⟨·⟩ over modes,

    ∇Ψ̂ = ⟨∇f⟩,        ∇²Ψ̂ = ⟨∇²f⟩ − ρ (⟨∇f ∇fᵀ⟩ − ⟨∇f⟩⟨∇f⟩ᵀ).

Ψ̂ is therefore convex where one mode dominates; negative curvature arises only in the transition between modes. Ψ and
each input have one scale each, and the chain rule makes value, gradient and Hessian consistent in physical units.

Eq 4 of the paper moves log ς(αᵢ) into the exponent without dividing by ρ, which raises the gates to the power ρ. This
module implements Eq 3.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from workbench.checks import require_integer
from workbench.potentials.convex import ConvexNetworks
from workbench.potentials.initialisation import Initialisation, local_gradients, spread_samples
from workbench.potentials.potential import tensor_or_array
from workbench.potentials.stored import Stored
from workbench.potentials.support import Support

__all__ = ["LSEICNN", "log_gate", "soft_minimum", "soft_minimum_constant"]

INITIAL_GATE = 0.99
INITIAL_ALPHA = 2.919023970  # ς(INITIAL_ALPHA) = INITIAL_GATE
INITIAL_RHO = 0.15  # above its lower bound, in scaled units
LARGEST_LOG_RHO = 14.0  # bound of |u|: exp(u) stays between 1e-6 and 1e6, where all results are finite
SHARED = {"x_shift": 0.0, "x_scale": 1.0, "x_low": -np.inf, "x_high": np.inf, "potential_scale": 1.0}  # by all members


def log_gate(alpha: Tensor) -> Tensor:
    """Return the logarithm of the gate, log ς(α) = log sigmoid(10 (α/2 − 1)), with the shape of α; 0 < ς < 1."""
    return logsigmoid(10 * (alpha / 2 - 1))


def soft_minimum(f: Tensor, rho: Tensor, log_weight: Tensor) -> Tensor:
    """Return −(1/ρ) log Σᵢ pᵢ exp(−ρ fᵢ), with normalised weights pᵢ: Eq 3 without `soft_minimum_constant`.

    Shapes are (member, mode, sample) for `f`, (member,) for `rho`, (member, mode) for `log_weight` and (member, sample)
    for the result. It lies between min f and Σ pᵢ fᵢ, its limits for ρ → ∞ and ρ → 0, and is accurate at both: near
    the second, the sum is close to 1, and its logarithm is computed by expm1 and log1p.

    >>> f = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    >>> equal = torch.zeros(1, 2, dtype=torch.float64)
    >>> [round(soft_minimum(f, torch.tensor([rho]), equal).item(), 6) for rho in (1e-9, 1.0, 1e9)]
    [2.0, 1.566219, 1.0]
    """
    log_p = log_softmax(log_weight, -1).unsqueeze(-1)
    rho = rho[:, None]
    lowest = f.detach().amin(-2)
    above = rho.unsqueeze(-1) * (f - lowest.unsqueeze(-2))
    excess = (log_p.exp() * torch.expm1(-above)).sum(-2)
    log_sum = torch.where(excess > -0.5, torch.log1p(excess.clamp_min(-0.5)), torch.logsumexp(log_p - above, -2))
    return lowest - log_sum / rho


def soft_minimum_constant(rho: Tensor, log_weight: Tensor) -> Tensor:
    """Return −(1/ρ) log(Σᵢ ς(αᵢ)/N), shape (member,): the part of Eq 3 that is independent of x."""
    return -(torch.logsumexp(log_weight, -1) - np.log(log_weight.shape[-1])) / rho


class LSEICNN(Stored, nn.Module):
    """Multi-well potential, a soft minimum of modes that are convex by construction (a `Potential`).

    A new model is constant until it is fitted or initialised. The attribute `support` is set by a fit of a density.

    Parameters
    ----------
    dim : int
        Number of state variables.
    modes : int
        Number N of convex modes, at least the number of wells expected.
    hidden : sequence of int, optional
        Widths of the hidden layers of every mode, at least one.
    members : int, optional
        Number of independent members of an ensemble, evaluated together. By default a plain potential.
    rho_lo : float, optional
        Lower bound of the sharpness ρ, in scaled units.
    states : sequence of str, optional
        Names of the state variables, by default x1, x2, …
    device, dtype : optional
        Device and floating-point type of the parameters, as in torch.

    Raises
    ------
    ValueError
        If a size is not an integer ≥ 1, `rho_lo` is negative or not finite, or `states` has another length than `dim`.

    Examples
    --------
    >>> import workbench as wb
    >>> model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8)).initialise(np.random.default_rng(0))
    >>> x = torch.zeros(5, 2, dtype=torch.float64)
    >>> model.value(x).shape, model.gradient(x).shape, model.hessian(x).shape
    (torch.Size([5]), torch.Size([5, 2]), torch.Size([5, 2, 2]))

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242.
    """

    def __init__(
        self,
        dim: int,
        modes: int,
        hidden: Sequence[int] = (10, 10),
        *,
        members: int | None = None,
        rho_lo: float = 0.0,
        states: Sequence[str] | None = None,
        device: Any = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if isinstance(hidden, int | str):
            raise ValueError(f"hidden must list the width of every hidden layer, such as (10, 10), got {hidden!r}")
        hidden = tuple(hidden)
        _check_sizes(dim=dim, modes=modes, members=1 if members is None else members, hidden=hidden)
        if not (np.isfinite(rho_lo) and rho_lo >= 0):
            raise ValueError(f"rho_lo must be finite and >= 0, got {rho_lo!r}")
        if states is not None and len(states) != dim:
            raise ValueError(f"expected {dim} names of states, one per input, got {list(states)}")
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        copies = members or 1
        self.dim, self.modes, self.hidden, self.members, self.rho_lo = dim, modes, hidden, members, float(rho_lo)
        self.states = tuple(states or (f"x{i + 1}" for i in range(dim)))
        self.convex = ConvexNetworks(dim, modes, hidden, copies, **options)
        self.u = nn.Parameter(torch.full((copies,), float(np.log(INITIAL_RHO)), **options))
        self.alpha = nn.Parameter(torch.full((copies, modes), INITIAL_ALPHA, **options))
        for name, value in SHARED.items():
            self.register_buffer(name, torch.full((dim,) if name.startswith("x_") else (), value, **options))
        self.register_buffer("offset", torch.zeros(copies, **options))
        self.support: Support | None = None  # set by a fit with match="density"

    x_shift: Tensor
    x_scale: Tensor
    x_low: Tensor
    x_high: Tensor
    potential_scale: Tensor
    offset: Tensor

    @property
    def rho(self) -> Tensor:
        """Sharpness ρ = ρ_lo + exp(u) in scaled units, shape (member,); u is clamped to ±14, exp(u) to 1e-6 … 1e6."""
        return self.rho_lo + torch.exp(self.u.clamp(-LARGEST_LOG_RHO, LARGEST_LOG_RHO))

    @property
    def gate(self) -> Tensor:
        """Gates ς(α) between 0 and 1, shape (member, mode)."""
        return log_gate(self.alpha).exp()

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return Ψ(x), shape (…), in physical units, for x of shape (…, dim)."""
        rows, restore = self._rows(x)
        f = self.convex.value(rows)
        weight = log_gate(self.alpha)
        scaled = soft_minimum(f, self.rho, weight) + soft_minimum_constant(self.rho, weight)[:, None]
        return restore(self.potential_scale * scaled + self.offset[:, None])

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇Ψ(x), shape (…, dim), in closed form, for x of shape (…, dim)."""
        rows, restore = self._rows(x)
        mean = self.convex.gradient(rows, self._weights).mT
        return restore(mean * (self.potential_scale / self.x_scale))

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim), in closed form, for x of shape (…, dim)."""
        rows, restore = self._rows(x)
        f, df, ddf = self.convex.hessian(rows)
        df = df.mT
        w = self._weights(f).unsqueeze(-1)
        deviation = df - (w * df).sum(-3, keepdim=True)
        covariance = ((w * deviation).unsqueeze(-1) * deviation.unsqueeze(-2)).sum(-4)
        scaled = (w.unsqueeze(-1) * ddf).sum(-4) - self.rho[:, None, None, None] * covariance
        return restore(scaled * (self.potential_scale / torch.outer(self.x_scale, self.x_scale)))

    @tensor_or_array
    def mode_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weights wᵢ of the modes at x (…, dim), shape (…, mode): which mode dominates at x."""
        rows, restore = self._rows(x)
        return restore(self._weights(self.convex.value(rows)).mT)

    @tensor_or_array
    def modes_value(self, x: Tensor) -> Tensor:
        """Return every mode at x (…, dim) in the units of Ψ, shape (…, mode); Ψ approaches the lowest from below.

        Mode i is s [fᵢ(x̂) − log ς(αᵢ)/ρ + log(N)/ρ] + offset, the value of Ψ if mode i had all the weight.
        """
        rows, restore = self._rows(x)
        f = self.convex.value(rows)
        level = (np.log(self.modes) - log_gate(self.alpha)) / self.rho[:, None]
        return restore((self.potential_scale * (f + level.unsqueeze(-1)) + self.offset[:, None, None]).mT)

    @property
    def box(self) -> list[tuple[float, float]]:
        """Bounding box of the data to which the model was fitted, one (low, high) per state."""
        return list(zip(self.x_low.tolist(), self.x_high.tolist(), strict=True))

    def inside_data(self, x: Any) -> Any:
        """Return whether x, shape (…, dim), lies in the bounding box of the fitted data; boolean, shape (…)."""
        tensor = isinstance(x, Tensor)
        y = x if tensor else torch.tensor(np.asarray(x, dtype=np.float64)).to(self.x_low)
        inside = ((y >= self.x_low) & (y <= self.x_high)).all(-1)
        return inside if tensor else inside.cpu().numpy()

    def log_prob(self, x: Any) -> np.ndarray:
        """Return log q(x), shape (…), for x of shape (…, dim), after a fit with match="density" (see `Density`)."""
        return self._density().log_prob(x)

    def sample(self, count: int, *, seed: Any = None, **conditions: float) -> np.ndarray:
        """Draw samples, shape (count, state), after a fit with match="density" (see `Density.sample`)."""
        return self._density().sample(count, seed=seed, **conditions)

    def _density(self) -> Any:
        """Return the `Density` on the model's support; raise `ValueError` without one."""
        from workbench.potentials.density import Density

        return Density(self)

    def __repr__(self) -> str:
        copies = f"{self.members} × " if self.members else ""
        return f"<LSEICNN of {', '.join(self.states)}: {copies}{self.modes} modes of {'-'.join(map(str, self.hidden))}>"

    def forward(self, x: Tensor, quantity: str = "value") -> Tensor:
        """Return the method named `quantity` evaluated at x; the entry point of `torch.func.functional_call`."""
        return getattr(self, quantity)(x)

    def _weights(self, f: Tensor) -> Tensor:
        """Return softmax(log ς − ρ f) over modes, shape (member, mode, sample)."""
        above = f - f.detach().amin(-2, keepdim=True)
        return torch.softmax(log_gate(self.alpha).unsqueeze(-1) - self.rho[:, None, None] * above, -2)

    def _rows(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return scaled x, shape (member or 1, sample, dim), and a function that restores the caller's shape."""
        x = (x - self.x_shift) / self.x_scale
        if self.members is None:
            lead = x.shape[:-1]
            return x.reshape(1, -1, self.dim), lambda y: y[0].reshape(lead + y.shape[2:])
        if x.ndim <= 2:
            return x.reshape(1, -1, self.dim), lambda y: y.reshape((self.members,) + x.shape[:-1] + y.shape[2:])
        if x.shape[0] not in (1, self.members):
            raise ValueError(
                f"an ensemble of {self.members} takes x with shape (sample, {self.dim}) or "
                f"({self.members}, sample, {self.dim}), got {tuple(x.shape)}; flatten grids to (sample, {self.dim})"
            )
        lead = (self.members,) + x.shape[1:-1]
        return x.reshape(x.shape[0], -1, self.dim), lambda y: y.reshape(lead + y.shape[2:])

    @torch.no_grad()
    def set_scaling(
        self, x: np.ndarray, *, potential: np.ndarray | None, gradient: np.ndarray | None, units: bool = False
    ) -> None:
        """Set the scales from data, in place.

        Inputs are mapped to ±√3, which is unit variance for uniformly distributed samples and does not depend on where
        samples cluster. Ψ̂ has unit standard deviation or, if only gradients are known, a unit root-mean-square
        gradient component. Constant data are scaled by 1.

        Parameters
        ----------
        x : numpy.ndarray
            States, shape (sample, dim).
        potential, gradient : numpy.ndarray or None
            Ψ, shape (sample,), and ∇Ψ, shape (sample, dim), at x; the gradient is used only if `potential` is None.
        units : bool, optional
            Whether to keep the units of the data, with all scales 1; the box of the data is set all the same.
        """
        low, high = x.min(0), x.max(0)
        spread = (high - low) / np.sqrt(12)
        spread[~(spread > 1e-12 * np.abs(x).max(0))] = 1.0
        if potential is not None:
            scale, offset = potential.std(), potential.mean()
        else:
            scale, offset = np.sqrt(np.mean((gradient * spread) ** 2)), 0.0
        values = {"x_shift": (low + high) / 2, "x_scale": spread, "x_low": low, "x_high": high, "offset": offset}
        values["potential_scale"] = scale if scale > 1e-12 * np.abs(offset) else 1.0
        values |= {"x_shift": 0.0, "x_scale": 1.0, "potential_scale": 1.0, "offset": 0.0} if units else {}
        for name, value in values.items():
            getattr(self, name).copy_(torch.tensor(value).to(self.offset))

    @torch.no_grad()
    def initialise(
        self,
        rng: np.random.Generator,
        x: np.ndarray | None = None,
        *,
        potential: np.ndarray | None = None,
        gradient: np.ndarray | None = None,
        rho: float = INITIAL_RHO,
        gate: float = INITIAL_GATE,
        weights: Literal["spread", "uniform"] = "spread",
    ) -> "LSEICNN":
        """Draw initial weights (`ConvexNetworks.scatter`), make each mode tangent to the data, and return the model.

        Each mode takes the value and gradient of the data at its anchor, the sample nearest to the centre of one of N
        k-means clusters of x. Gradients that are not given are estimated from the nearest samples.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all random numbers.
        x, potential, gradient : numpy.ndarray, optional
            States, shape (sample, dim), Ψ, (sample,), and ∇Ψ, (sample, dim). By default modes are not adapted to data.
        rho, gate, weights : optional
            As in `Initialisation`, for a single `rho`; "uniform" (`ConvexNetworks.uniform`) does not use the data.
        """
        initial = Initialisation(rho=(rho,), gate=gate, weights=weights)
        self.u.fill_(float(np.log(rho)))
        self.alpha.fill_(2 + 0.2 * float(np.log(initial.gate / (1 - initial.gate))))
        if weights == "uniform":
            self.convex.uniform(rng)
            return self
        self.convex.scatter(rng)
        if x is None:
            return self
        shift, scale = (b.cpu().numpy().astype(np.float64) for b in (self.x_shift, self.x_scale))
        height, offset = float(self.potential_scale), self.offset.cpu().numpy().astype(np.float64)[0]
        x = (x - shift) / scale
        y = np.zeros(len(x)) if potential is None else (potential - offset) / height
        one_hot = torch.eye(self.modes, dtype=self.dtype, device=self.device).expand(self.members or 1, -1, -1)
        for member in range(self.members or 1):
            anchors = spread_samples(x, self.modes, rng)
            dy = local_gradients(x, y, anchors) if gradient is None else gradient[anchors] * scale / height
            at, target_df, target_f = (torch.tensor(v).to(self.offset) for v in (x[anchors], dy, y[anchors]))
            f, df = self.convex.value(at[None])[member], self.convex.gradient(at[None], lambda f: one_hot)[member]
            change = target_df - df.mT
            self.convex.V[-1][member, :, 0] += change
            self.convex.b[-1][member, :, 0] += target_f - f.diagonal() - (change * at).sum(-1)
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return self.u.dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.u.device

    def like(self, *, members: int | None, **changes: Any) -> "LSEICNN":
        """Return a constant model of this architecture with `members` members; `changes` replace settings (modes …)."""
        options: dict[str, Any] = {"rho_lo": self.rho_lo, "states": self.states, "device": self.device}
        options |= {"dim": self.dim, "modes": self.modes, "hidden": self.hidden, "dtype": self.dtype, **changes}
        model = type(self)(members=members, **options)
        model.support = self.support
        return model

    def member(self, index: int) -> "LSEICNN":
        """Return one member of an ensemble as a plain potential, with its own copy of the weights."""
        if not -(self.members or 1) <= index < (self.members or 1):
            raise IndexError(f"member {index} of {self.members or 1} does not exist; members are counted from 0")
        one = self.like(members=None)
        one.load_state_dict({k: v if k in SHARED else v[index][None] for k, v in self.state_dict().items()})
        return one

    @staticmethod
    def stack(models: Sequence["LSEICNN"]) -> "LSEICNN":
        """Combine plain potentials of one architecture and scaling into one ensemble."""
        ensemble = models[0].like(members=len(models))
        states = [model.state_dict() for model in models]
        for name in SHARED:
            if not all(torch.equal(state[name], states[0][name]) for state in states):
                raise ValueError(
                    f"members of an ensemble must share their scaling, but {name} differs between these models"
                )
        joined = {k: v if k in SHARED else torch.cat([s[k] for s in states]) for k, v in states[0].items()}
        ensemble.load_state_dict(joined)
        return ensemble


def _check_sizes(hidden: tuple[int, ...], **sizes: Any) -> None:
    """Raise `ValueError` unless all sizes and widths are integers ≥ 1."""
    if not hidden:
        raise ValueError("hidden must list the width of at least one hidden layer, such as (10, 10); got none")
    require_integer(**sizes)
    for width in hidden:
        require_integer(every_width_in_hidden=width)
