r"""The LSE-ICNN: a soft minimum of input-convex networks, with learned sharpness and gates (Eqs 3, 5 and 6).

    Ψ(x) = s·Ψ̂((x − shift)/scale) + offset,      Ψ̂(x̂) = −(1/ρ) log( (1/N) Σᵢ ς(αᵢ) exp(−ρ fᵢ(x̂)) )

with convex modes fᵢ (`convex.py`), sharpness ρ = ρ_lo + exp(u) and gates ς(α) = sigmoid(10 (α/2 − 1)). With the
softmax weights wᵢ ∝ ς(αᵢ) exp(−ρ fᵢ) and the weighted mean ⟨·⟩ over modes

    ∇Ψ̂ = ⟨∇f⟩,        ∇²Ψ̂ = ⟨∇²f⟩ − ρ (⟨∇f ∇fᵀ⟩ − ⟨∇f⟩⟨∇f⟩ᵀ).

So Ψ̂ is convex where one mode dominates, and the only negative curvature is that of the passage between modes. One
scale for Ψ and one per input, chained, keep the gradient a gradient; users see physical units throughout.

The published Eq 4 moves log ς(αᵢ) inside without dividing by ρ, which raises the gates to the power ρ; Eq 3 stands.
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
from workbench.potentials.support import Support

__all__ = ["LSEICNN", "log_gate", "soft_minimum", "soft_minimum_constant"]

START_GATE = 0.99
START_ALPHA = 2.919023970  # the gate is START_GATE there
SHARPEST = 14.0  # of |u|: ρ between 1e-6 and 1e6, where everything stays finite
START_RHO = 0.15  # above its lower bound, in scaled units
SHARED = {"x_shift": 0.0, "x_scale": 1.0, "x_low": -np.inf, "x_high": np.inf, "potential_scale": 1.0}  # by all members


def log_gate(alpha: Tensor) -> Tensor:
    """Return log ς(α) = log sigmoid(10 (α/2 − 1)), same shape; ς lies strictly between 0 and 1."""
    return logsigmoid(10 * (alpha / 2 - 1))


def soft_minimum(f: Tensor, rho: Tensor, log_weight: Tensor) -> Tensor:
    """Return −(1/ρ) log Σᵢ pᵢ exp(−ρ fᵢ), with pᵢ the normalised weights: Eq 3 less `soft_minimum_constant`.

    `f` has shape (member, mode, sample), `rho` (member,), `log_weight` (member, mode); the result (member, sample).
    It lies between min f and Σ pᵢ fᵢ, its limits for ρ → ∞ and ρ → 0, and keeps its digits at both ends: near the
    second limit the sum is 1 + small, whose logarithm is taken by expm1 and log1p.

    >>> f = torch.tensor([[[1.0], [3.0]]], dtype=torch.float64)
    >>> even = torch.zeros(1, 2, dtype=torch.float64)
    >>> [round(soft_minimum(f, torch.tensor([rho]), even).item(), 6) for rho in (1e-9, 1.0, 1e9)]
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
    """Return −(1/ρ) log(Σᵢ ς(αᵢ)/N), shape (member,): the part of Eq 3 that does not depend on x."""
    return -(torch.logsumexp(log_weight, -1) - np.log(log_weight.shape[-1])) / rho


class LSEICNN(nn.Module):
    """A multi-well potential whose modes are convex by construction.

    `dim` inputs, `modes` convex networks with the `hidden` widths, sharpness ρ > `rho_lo` (in scaled units). With
    `members` None it is a plain potential; with a number, that many independent copies in one tensor, and results
    have a leading member axis (see `Potential`). A new model is flat until it is fitted or `initialise`d.

    >>> import workbench as wb
    >>> model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8)).initialise(np.random.default_rng(0))
    >>> x = torch.zeros(5, 2, dtype=torch.float64)
    >>> model.value(x).shape, model.gradient(x).shape, model.hessian(x).shape
    (torch.Size([5]), torch.Size([5, 2]), torch.Size([5, 2, 2]))
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
            raise ValueError(f"hidden names the width of every hidden layer, such as (10, 10), got {hidden!r}")
        hidden = tuple(hidden)
        _check_sizes(dim=dim, modes=modes, members=1 if members is None else members, hidden=hidden)
        if not (np.isfinite(rho_lo) and rho_lo >= 0):
            raise ValueError(f"rho_lo must be finite and >= 0, got {rho_lo!r}")
        if states is not None and len(states) != dim:
            raise ValueError(f"expected {dim} names of states, got {list(states)}")
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        copies = members or 1
        self.dim, self.modes, self.hidden, self.members, self.rho_lo = dim, modes, hidden, members, float(rho_lo)
        self.states = tuple(states or (f"x{i + 1}" for i in range(dim)))
        self.convex = ConvexNetworks(dim, modes, hidden, copies, **options)
        self.u = nn.Parameter(torch.full((copies,), float(np.log(START_RHO)), **options))
        self.alpha = nn.Parameter(torch.full((copies, modes), START_ALPHA, **options))
        for name, value in SHARED.items():
            self.register_buffer(name, torch.full((dim,) if name.startswith("x_") else (), value, **options))
        self.register_buffer("offset", torch.zeros(copies, **options))
        self.support: Support | None = None  # where it is a density, after match="density"

    x_shift: Tensor
    x_scale: Tensor
    x_low: Tensor
    x_high: Tensor
    potential_scale: Tensor
    offset: Tensor

    # ---- mathematics -----------------------------------------------------------------------------------------------

    @property
    def rho(self) -> Tensor:
        """Sharpness ρ = ρ_lo + exp(u) in scaled units, shape (member,); u acts between ±14, that is 1e-6 and 1e6."""
        return self.rho_lo + torch.exp(self.u.clamp(-SHARPEST, SHARPEST))

    @property
    def gate(self) -> Tensor:
        """Gates ς(α), shape (member, mode)."""
        return log_gate(self.alpha).exp()

    @tensor_or_array
    def value(self, x: Tensor) -> Tensor:
        """Return Ψ(x), shape (…), in physical units."""
        rows, restore = self._rows(x)
        f = self.convex.value(rows)
        weight = log_gate(self.alpha)
        scaled = soft_minimum(f, self.rho, weight) + soft_minimum_constant(self.rho, weight)[:, None]
        return restore(self.potential_scale * scaled + self.offset[:, None])

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇Ψ(x), shape (…, dim), in closed form."""
        rows, restore = self._rows(x)
        mean = self.convex.gradient(rows, self._weights).mT
        return restore(mean * (self.potential_scale / self.x_scale))

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim), in closed form."""
        rows, restore = self._rows(x)
        f, df, ddf = self.convex.hessian(rows)
        df = df.mT
        w = self._weights(f).unsqueeze(-1)
        away = df - (w * df).sum(-3, keepdim=True)
        spread = ((w * away).unsqueeze(-1) * away.unsqueeze(-2)).sum(-4)
        scaled = (w.unsqueeze(-1) * ddf).sum(-4) - self.rho[:, None, None, None] * spread
        return restore(scaled * (self.potential_scale / torch.outer(self.x_scale, self.x_scale)))

    @tensor_or_array
    def mode_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weights wᵢ of the modes at x, shape (…, mode): which mode speaks where."""
        rows, restore = self._rows(x)
        return restore(self._weights(self.convex.value(rows)).mT)

    @tensor_or_array
    def modes_value(self, x: Tensor) -> Tensor:
        """Return every convex mode in the units of Ψ, shape (…, mode): Ψ touches the lowest from below.

        Mode i is s (fᵢ(x̂) − log ς(αᵢ)/ρ) + s log(N)/ρ + offset: what Ψ would be if the mode had all the weight.
        """
        rows, restore = self._rows(x)
        f = self.convex.value(rows)
        level = (np.log(self.modes) - log_gate(self.alpha)) / self.rho[:, None]
        return restore((self.potential_scale * (f + level.unsqueeze(-1)) + self.offset[:, None, None]).mT)

    @property
    def box(self) -> list[tuple[float, float]]:
        """The box of the data the model was fitted to, one (low, high) per state."""
        return list(zip(self.x_low.tolist(), self.x_high.tolist(), strict=True))

    def inside_data(self, x: Any) -> Any:
        """Return whether x, shape (…, dim), lies in the box of the data the model was fitted to, shape (…)."""
        tensor = isinstance(x, Tensor)
        y = x if tensor else torch.tensor(np.asarray(x, dtype=np.float64)).to(self.x_low)
        inside = ((y >= self.x_low) & (y <= self.x_high)).all(-1)
        return inside if tensor else inside.cpu().numpy()

    def log_prob(self, x: Any) -> np.ndarray:
        """Return the logarithm of the density after match="density", shape (…), at x with shape (…, dim)."""
        return self._density().log_prob(x)

    def sample(self, count: int, *, seed: Any = None, **conditions: float) -> np.ndarray:
        """Return `count` draws of the density after match="density" (see `Density`, which answers more questions)."""
        return self._density().sample(count, seed=seed, **conditions)

    def _density(self) -> Any:
        from workbench.potentials.density import Density

        return Density(self)

    def __repr__(self) -> str:
        of = f"{self.members} × " if self.members else ""
        return f"<LSEICNN of {', '.join(self.states)}: {of}{self.modes} modes of {'-'.join(map(str, self.hidden))}>"

    def forward(self, x: Tensor, quantity: str = "value") -> Tensor:
        """Return `value`, `gradient` or `hessian`: the one entry that `torch.func.functional_call` needs."""
        return getattr(self, quantity)(x)

    def _weights(self, f: Tensor) -> Tensor:
        """Return softmax(log ς − ρ f) over modes, shape (member, mode, sample)."""
        above = f - f.detach().amin(-2, keepdim=True)
        return torch.softmax(log_gate(self.alpha).unsqueeze(-1) - self.rho[:, None, None] * above, -2)

    def _rows(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return scaled x with shape (member or 1, sample, dim), and the way back to the caller's shape."""
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

    # ---- scaling and start -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def set_scaling(
        self, x: np.ndarray, *, potential: np.ndarray | None, gradient: np.ndarray | None, units: bool = False
    ) -> None:
        """Take the scales from data: x with shape (sample, dim), `potential` (sample,), `gradient` (sample, dim).

        The range of the inputs becomes ±√3, which for evenly spread samples is unit variance and does not depend on
        where samples crowd. Ψ̂ has unit spread, or, where only gradients are known, unit root-mean-square slope.
        Constant data are scaled by 1. With `units` the model keeps the units of the data: all scales are 1.
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
        rho: float = START_RHO,
        gate: float = START_GATE,
        weights: Literal["spread", "uniform"] = "spread",
    ) -> "LSEICNN":
        """Draw a start and return the model: modes scattered (`ConvexNetworks.scatter`), each tangent to the data.

        The modes are given the value and slope of the data at anchors spread over x, shape (sample, dim): the samples
        nearest to the centres of as many clusters (k-means). Slopes that are not given are estimated from the nearest
        samples.

        `rho` is the sharpness at the start, above its lower bound, in scaled units. Soft starts let all modes see all
        data; sharp ones divide the data among the modes at once, which suits kinks but traps smooth fields. `gate` is
        ς(α) of every mode. `weights="uniform"` draws everything by the usual law of networks instead, and leaves the
        modes where that puts them (`ConvexNetworks.uniform`).
        """
        start = Initialisation(rho=(rho,), gate=gate, weights=weights)
        self.u.fill_(float(np.log(rho)))
        self.alpha.fill_(2 + 0.2 * float(np.log(start.gate / (1 - start.gate))))
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
        each = torch.eye(self.modes, dtype=self.dtype, device=self.device).expand(self.members or 1, -1, -1)
        for member in range(self.members or 1):
            anchors = spread_samples(x, self.modes, rng)
            slopes = local_gradients(x, y, anchors) if gradient is None else gradient[anchors] * scale / height
            at, slope, level = (torch.tensor(v).to(self.offset) for v in (x[anchors], slopes, y[anchors]))
            f, df = self.convex.value(at[None])[member], self.convex.gradient(at[None], lambda f: each)[member]
            turn = slope - df.mT
            self.convex.V[-1][member, :, 0] += turn
            self.convex.b[-1][member, :, 0] += level - f.diagonal() - (turn * at).sum(-1)
        return self

    # ---- members ---------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return self.u.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.u.device

    def like(self, *, members: int | None, **changes: Any) -> "LSEICNN":
        """Return a flat model of the same architecture, with that many members and `changes` (modes, rho_lo, …)."""
        options: dict[str, Any] = {"rho_lo": self.rho_lo, "states": self.states, "device": self.device}
        options |= {"dim": self.dim, "modes": self.modes, "hidden": self.hidden, "dtype": self.dtype, **changes}
        model = LSEICNN(members=members, **options)
        model.support = self.support
        return model

    def member(self, index: int) -> "LSEICNN":
        """Return one member as a plain potential, with its own copy of the weights."""
        if not -(self.members or 1) <= index < (self.members or 1):
            raise IndexError(f"member {index} of {self.members or 1}")
        one = self.like(members=None)
        one.load_state_dict({k: v if k in SHARED else v[index][None] for k, v in self.state_dict().items()})
        return one

    @staticmethod
    def stack(models: Sequence["LSEICNN"]) -> "LSEICNN":
        """Return plain potentials of one architecture and scaling as the members of one ensemble."""
        ensemble = models[0].like(members=len(models))
        states = [model.state_dict() for model in models]
        for name in SHARED:
            if not all(torch.equal(state[name], states[0][name]) for state in states):
                raise ValueError(
                    f"members of one ensemble share their scaling, but {name} differs between these models"
                )
        joined = {k: v if k in SHARED else torch.cat([s[k] for s in states]) for k, v in states[0].items()}
        ensemble.load_state_dict(joined)
        return ensemble


def _check_sizes(hidden: tuple[int, ...], **sizes: Any) -> None:
    if not hidden:
        raise ValueError("hidden must name the width of at least one hidden layer, such as (10, 10)")
    require_integer(**sizes)
    for width in hidden:
        require_integer(every_width_in_hidden=width)
