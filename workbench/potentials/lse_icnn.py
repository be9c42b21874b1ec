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

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from workbench.checks import require_integer
from workbench.evaluation import QUANTITIES, Evaluation, require_order
from workbench.potentials.bridge import tensor_or_array
from workbench.potentials.convex import ConvexNetworks, sum_of_squares
from workbench.potentials.functions import like, lowest, softmax
from workbench.potentials.initialisation import Initialisation, local_gradients, spread_samples
from workbench.potentials.parameter_jacobian import parameter_jacobian
from workbench.potentials.scaled import SHARED, shared_scaling
from workbench.potentials.soft_minimum import LARGEST_LOG_RHO, log_gate, soft_minimum, soft_minimum_constant
from workbench.potentials.trainable import TrainablePotential

__all__ = ["ACTIVE", "LSEICNN"]

INITIAL_GATE = 0.99
INITIAL_ALPHA = 2.919023970  # ς(INITIAL_ALPHA) = INITIAL_GATE
INITIAL_RHO = 0.15  # above its lower bound, in scaled units
FORMULA = ("value", "gradient", "rho", "gate", "_evaluate", "_weights", "_rows")  # what the closed-form Jacobian is of
ACTIVE = 1e-6  # a gate above this value counts as active, as published (Jones et al., 2025)


FEW = 500  # states for which arrays are faster than tensors


def few_as_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method compute with arrays of few states as they are, and with tensors otherwise."""

    def few(model: Any, x: np.ndarray) -> bool:
        p = model.offset
        return x.size <= FEW * model.dim and p.device.type == "cpu" and p.dtype in (torch.float64, torch.float32)

    bridged = tensor_or_array(method, few)

    @wraps(method)
    def evaluated(self: Any, x: Any, *args: Any) -> Any:
        if isinstance(x, Tensor):
            return bridged(self, x, *args)
        with torch.no_grad():
            return bridged(self, x, *args)

    return evaluated


class LSEICNN(TrainablePotential):
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
    >>> model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8)).initialise(rng=np.random.default_rng(0))
    >>> x = torch.zeros(5, 2, dtype=torch.float64)
    >>> model.value(x).shape, model.gradient(x).shape, model.hessian(x).shape
    (torch.Size([5]), torch.Size([5, 2]), torch.Size([5, 2, 2]))

    References
    ----------
    R. E. Jones, A. Buganza Tepole, J. N. Fuhg, Differentiable neural network representation of multi-well,
    locally-convex potentials, arXiv:2506.17242 (2025), doi:10.48550/arXiv.2506.17242.
    """

    UNIDENTIFIED: ClassVar[tuple[str, ...]] = ("alpha",)  # the output bias of a mode absorbs log ς(α)/ρ exactly
    SLOW: ClassVar[tuple[str, ...]] = ("u", "alpha")
    LARGEST_STEP: ClassVar[Mapping[str, float]] = {"u": 0.5}
    RECORDED: ClassVar[Mapping[str, tuple[tuple[str, ...], str]]] = {
        "rho": ((), "sharpness of the soft minimum, scaled units"),
        "gate": (("mode",), "gate of the mode"),
        "active": ((), "number of gates above 1e-6"),
    }
    NATIVE: ClassVar[bool] = True

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
        if isinstance(hidden, int | str):
            raise ValueError(f"hidden must list the width of every hidden layer, such as (10, 10), got {hidden!r}")
        hidden, options = tuple(hidden), {"device": device, "dtype": dtype}
        _check_sizes(dim=dim, modes=modes, members=1 if members is None else members, hidden=hidden)
        if not (np.isfinite(rho_lo) and rho_lo >= 0):
            raise ValueError(f"rho_lo must be finite and >= 0, got {rho_lo!r}")
        super().__init__(dim, states=states, members=members, **options)
        copies = members or 1
        self.modes, self.hidden, self.rho_lo = modes, hidden, float(rho_lo)
        self.convex = ConvexNetworks(dim, modes, hidden, copies, **options)
        self.u = nn.Parameter(torch.full((copies,), float(np.log(INITIAL_RHO)), **options))
        self.alpha = nn.Parameter(torch.full((copies, modes), INITIAL_ALPHA, **options))

    @property
    def rho(self) -> Tensor:
        """Sharpness ρ = ρ_lo + exp(u) in scaled units, shape (member,); u is clamped to ±14, exp(u) to 1e-6 … 1e6."""
        return self.rho_lo + torch.exp(self.u.clamp(-LARGEST_LOG_RHO, LARGEST_LOG_RHO))

    @property
    def gate(self) -> Tensor:
        """Gates ς(α) between 0 and 1, shape (member, mode)."""
        return log_gate(self.alpha).exp()

    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order, from one pass through the networks.

        Parameters
        ----------
        x : array_like or Tensor
            States, shape (…, dim).
        order : int, optional
            Order of the highest derivative: 0, the default, for Ψ alone, 1 for ∇Ψ, too, and 2 for all three.

        Returns
        -------
        Evaluation
            `value`, shape (…), `gradient`, (…, dim), and `hessian`, (…, dim, dim); those that are not asked for are
            None.
        """
        return self._evaluate(x, QUANTITIES[: require_order(order) + 1])

    def value(self, x: Any) -> Any:
        """Return Ψ(x), shape (…), in physical units, for x of shape (…, dim)."""
        return self._evaluate(x, ("value",)).value

    def gradient(self, x: Any) -> Any:
        """Return ∇Ψ(x), shape (…, dim), in closed form, for x of shape (…, dim)."""
        return self._evaluate(x, ("gradient",)).gradient

    def hessian(self, x: Any) -> Any:
        """Return ∇²Ψ(x), shape (…, dim, dim), in closed form, for x of shape (…, dim)."""
        return self._evaluate(x, ("hessian",)).hessian

    @few_as_arrays
    def _evaluate(self, x: Any, wanted: Sequence[str]) -> Evaluation:
        """Return what is wanted of Ψ(x), ∇Ψ(x) and ∇²Ψ(x), in physical units, from one pass."""
        rows, restore = self._rows(x)
        one, rho, gates = self.convex.forward(rows), like(self.rho, x), log_gate(like(self.alpha, x))
        height, width = like(self.potential_scale, x), like(self.x_scale, x)
        value = gradient = hessian = None
        if "value" in wanted:
            scaled = soft_minimum(one.f, rho, gates) + soft_minimum_constant(like(self.rho, x), gates)[:, None]
            value = restore(height * scaled + like(self.offset, x)[:, None])
        if wanted[-1] != "value":
            w, sigmoids = self._weights(one.f, rho, gates), one.sigmoids()
            df_dz = one.backward(sigmoids, w)
            mean = one.gradient(df_dz)
            if "gradient" in wanted:
                gradient = restore(mean.mT * (height / width))
            if "hessian" in wanted:
                *J, df = one.tangents(sigmoids)
                within = one.curvature(sigmoids, df_dz, J)
                between = sum_of_squares(rho[:, None, None] * w, df[:, :, 0] - mean[:, None])
                hessian = restore((within - between) * (height / (width[:, None] * width)))
        return Evaluation(value, gradient, hessian)

    @few_as_arrays
    def mode_weights(self, x: Any) -> Any:
        """Return the softmax weights wᵢ of the modes at x (…, dim), shape (…, mode): which mode dominates at x."""
        rows, restore = self._rows(x)
        weights = self._weights(self.convex.value(rows), like(self.rho, x), log_gate(like(self.alpha, x)))
        return restore(weights.mT)

    @few_as_arrays
    def modes_value(self, x: Any) -> Any:
        """Return every mode at x (…, dim) in the units of Ψ, shape (…, mode); Ψ approaches the lowest from below.

        Mode i is s [fᵢ(x̂) − log ς(αᵢ)/ρ + log(N)/ρ] + offset, the value of Ψ if mode i had all the weight.
        """
        rows, restore = self._rows(x)
        level = (math.log(self.modes) - log_gate(like(self.alpha, x))) / like(self.rho, x)[:, None]
        f = self.convex.value(rows) + level[..., None]
        return restore((like(self.potential_scale, x) * f + like(self.offset, x)[:, None, None]).mT)

    def parameter_jacobian(
        self, x: Tensor, value: Tensor | None, gradient: Tensor | None, names: Sequence[str], out: Tensor
    ) -> bool:
        """Write derivatives by the parameters in closed form, unless a derived class has other formulas."""
        own = all(getattr(type(self), name) is getattr(LSEICNN, name) for name in FORMULA)
        if own and all(name in ("u", "alpha") or name.startswith("convex.") for name in names):
            parameter_jacobian(self, x, value, gradient, names, out)
            return True
        return False

    def recorded(self) -> dict[str, Tensor]:
        """Return ρ, shape (member,), the gates, (member, mode), and how many are active, (member,)."""
        gate = self.gate
        return {"rho": self.rho, "gate": gate, "active": (gate > ACTIVE).sum(-1)}

    def __repr__(self) -> str:
        copies = f"{self.members} × " if self.members else ""
        return f"<LSEICNN of {', '.join(self.states)}: {copies}{self.modes} modes of {'-'.join(map(str, self.hidden))}>"

    @staticmethod
    def _weights(f: Any, rho: Any, gates: Any) -> Any:
        """Return softmax(log ς − ρ f) over modes, shape (member, mode, sample), given the logarithms of the gates."""
        return softmax(gates[..., None] - rho[:, None, None] * (f - lowest(f, -2)), -2)

    def _rows(self, x: Any) -> tuple[Any, Callable[[Any], Any]]:
        """Return scaled x, shape (member or 1, sample, dim), and a function that restores the caller's shape."""
        shift, scale = like(self.x_shift, x), like(self.x_scale, x)
        x = (x - shift) / scale if isinstance(x, Tensor) else ((x - shift) / scale).astype(shift.dtype, copy=False)
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
    def initialise(
        self,
        data: xr.Dataset | None = None,
        rng: np.random.Generator | None = None,
        *,
        rho: float = INITIAL_RHO,
        gate: float = INITIAL_GATE,
        weights: Literal["spread", "uniform"] = "spread",
    ) -> Self:
        """Draw initial weights (`ConvexNetworks.scatter`), make each mode tangent to the data, and return the model.

        Each mode takes the value and gradient of the data at its anchor, the sample nearest to the centre of one of N
        k-means clusters of x. Gradients that are not given are estimated from the nearest samples.

        Parameters
        ----------
        data : xarray.Dataset, optional
            ``x(sample, state)``, and ``potential(sample)`` and ``gradient(sample, state)`` as far as known. By default
            modes are not adapted to data.
        rng : numpy.random.Generator, optional
            Source of all random numbers. Default: a fresh one.
        rho, gate, weights : optional
            As in `Initialisation`, for a single `rho`; "uniform" (`ConvexNetworks.uniform`) does not use the data.
        """
        initial = Initialisation(rho=(rho,), gate=gate, weights=weights)
        rng = rng or np.random.default_rng()
        self.u.fill_(float(np.log(rho)))
        self.alpha.fill_(2 + 0.2 * float(np.log(initial.gate / (1 - initial.gate))))
        if weights == "uniform":
            self.convex.uniform(rng)
            return self
        self.convex.scatter(rng)
        if data is None:
            return self
        shift, scale = (b.cpu().numpy().astype(np.float64) for b in (self.x_shift, self.x_scale))
        height, offset = float(self.potential_scale), self.offset.cpu().numpy().astype(np.float64)[0]
        x = (data["x"].values - shift) / scale
        y = (data["potential"].values - offset) / height if "potential" in data else np.zeros(len(x))
        one_hot = torch.eye(self.modes, dtype=self.dtype, device=self.device).expand(self.members or 1, -1, -1)
        for member in range(self.members or 1):
            anchors = spread_samples(x, self.modes, rng)
            known = "gradient" in data
            dy = data["gradient"].values[anchors] * scale / height if known else local_gradients(x, y, anchors)
            at, target_df, target_f = (torch.tensor(v).to(self.offset) for v in (x[anchors], dy, y[anchors]))
            f, df = self.convex.value(at[None])[member], self.convex.gradient(at[None], lambda f: one_hot)[member]
            change = target_df - df.mT
            self.convex.V[-1][member, :, 0] += change
            self.convex.b[-1][member, :, 0] += target_f - f.diagonal() - (change * at).sum(-1)
        return self

    def begin(self, data: xr.Dataset, rng: np.random.Generator, init: Initialisation, turn: int) -> Self:
        """Draw start number `turn` of a fit, with the sharpness that `init.rho` has in turn."""
        rho = init.rho[turn % len(init.rho)]
        return self.initialise(data, rng, rho=rho, gate=init.gate, weights=init.weights)

    def like(self, *, members: int | None, **changes: Any) -> Self:
        """Return a constant model of this architecture with `members` members; `changes` replace settings (modes …)."""
        arguments = {name: value for name, value in self.arguments.items() if name != "members"} | changes
        try:
            model = type(self)(**arguments, members=members)
        except TypeError as error:
            raise TypeError(
                f"a class derived from LSEICNN must pass its settings on, members among them: write __init__(self, …, "
                f"**settings) and call super().__init__(…, **settings); {type(self).__name__} does not ({error})"
            ) from None
        return self._labelled(model.to(device=self.device, dtype=self.dtype))

    def member(self, index: int) -> Self:
        """Return one member of an ensemble as a plain potential, with its own copy of the weights."""
        if not -(self.members or 1) <= index < (self.members or 1):
            raise IndexError(f"member {index} of {self.members or 1} does not exist; members are counted from 0")
        one = self.like(members=None)
        one.load_state_dict({k: v if k in SHARED else v[index][None] for k, v in self.state_dict().items()})
        return one if any(p.requires_grad for p in self.parameters()) else one.requires_grad_(False)

    @staticmethod
    def stack(models: Sequence[Any]) -> Any:
        """Combine plain potentials of one architecture and scaling into one ensemble."""
        ensemble, states = models[0].like(members=len(models)), shared_scaling(models)
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
