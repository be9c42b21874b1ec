"""The base of potentials that a fit can train: write Ψ̂(x̂), and derivatives, scaling and members come free."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from workbench.checks import require_integer
from workbench.dataset.spread import filled, spread, varies
from workbench.dataset.variables import Units
from workbench.evaluation import QUANTITIES, Evaluation, require_order
from workbench.potentials.bridge import tensor_or_array
from workbench.potentials.initialisation import Initialisation
from workbench.potentials.scaled import SHARED, derivatives, in_physical_units, over_rows, shared_scaling
from workbench.potentials.stored import Stored
from workbench.potentials.support import Support

__all__ = ["TrainablePotential"]

INITIAL_SPREAD = 0.1  # standard deviation that the default `initialise` adds to every parameter


class TrainablePotential(Stored, nn.Module, ABC):
    """Base of potentials with trainable parameters.

        Ψ(x) = s Ψ̂((x − shift)/scale) + offset.

    A derived class writes Ψ̂ as its method `value`, with torch operations that are twice differentiable (its derivatives
    with respect to the scaled states may be written, too, as `gradient` and `hessian`), and declares
    its parameters as `torch.nn.Parameter` in its constructor, which is called as ``NAME(dim, states=…)`` and may have
    further settings. If wanted, it writes `initialise`. Everything else is inherited: `value`, `gradient`,
    `hessian` and `evaluate` in physical units, for arrays and tensors; the scales, which a fit takes from its data;
    ensembles; storage in result files.

    Parameters
    ----------
    dim : int
        Number of state variables.
    states : sequence of str, optional
        Names of the state variables, by default x1, x2, …
    members : int, optional
        For classes whose parameters have a member axis of their own, as those of `LSEICNN`; others have `like`.
    device, dtype : optional
        Device and floating-point type, as in torch.

    Attributes
    ----------
    support : Support or None
        Where the density lives; set by a fit of a density.
    units : Units
        Units of the states, the potential and time, as far as the data of the fit state them.
    gauge : str
        Which value of Ψ is 0, in words; set by a fit.
    UNIDENTIFIED : tuple of str
        Parameters that no data determine. Only a penalty moves them, which `Adam` has.
    SLOW : tuple of str
        Parameters for which `Adam` uses its lower rate.
    LARGEST_STEP : mapping of str to float
        Largest change of a parameter in one step of `LevenbergMarquardt`.
    RECORDED : mapping of str to (tuple of str, str)
        Dimensions and long name of each quantity that `recorded` returns, for the history of a fit.

    Raises
    ------
    TypeError
        If the derived class does not write `value`.
    ValueError
        If `dim` is not an integer ≥ 1, or `states` has another length.

    Examples
    --------
    >>> import workbench as wb
    >>> class Quartic(wb.TrainablePotential):
    ...     def __init__(self, dim, *, states=None):
    ...         super().__init__(dim, states=states)
    ...         self.c = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    ...
    ...     def value(self, x):
    ...         return sum(c * x[..., 0] ** k for k, c in enumerate(self.c))
    >>> x = np.linspace(-2, 2, 40)
    >>> data = wb.dataset.points(x, potential=(x**2 - 1) ** 2)
    >>> fit = wb.fit(Quartic(1), data, match="potential", seed=0, restarts=1)
    >>> bool(fit.error < 1e-8), fit.model.hessian([[1.0]]).round(6).tolist()
    (True, [[[8.0]]])
    """

    UNIDENTIFIED: ClassVar[tuple[str, ...]] = ()
    SLOW: ClassVar[tuple[str, ...]] = ()
    LARGEST_STEP: ClassVar[Mapping[str, float]] = {}
    RECORDED: ClassVar[Mapping[str, tuple[tuple[str, ...], str]]] = {}
    NATIVE: ClassVar[bool] = False  # whether `value` works in physical units and for all members by itself

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            raise TypeError(f"{cls.__name__} writes forward: write the formula as value(self, x); forward is inherited")
        written = [name for name in QUANTITIES if name in vars(cls)]
        for name in [] if cls.NATIVE else written:
            setattr(cls, name, in_physical_units(vars(cls)[name], QUANTITIES.index(name)))
        if written and "evaluate" not in vars(cls):  # one inherited may evaluate other formulas
            cls.evaluate = TrainablePotential.evaluate  # type: ignore[method-assign]

    def __init__(
        self,
        dim: int,
        *,
        states: Sequence[str] | None = None,
        members: int | None = None,
        device: Any = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        require_integer(dim=dim, members=1 if members is None else members)
        if members is not None and not self.NATIVE:
            raise ValueError("members are made from a plain potential, by fit(…, members=…) or like(members=…)")
        if states is not None and len(states) != dim:
            raise ValueError(f"expected {dim} names of states, one per input, got {list(states)}")
        self.dim, self.members = dim, members
        self.states = tuple(states or (f"x{i + 1}" for i in range(dim)))
        self.support: Support | None = None
        self.units, self.gauge = Units((None,) * dim), "undetermined: the model is not fitted"
        for name, value in SHARED.items():
            shape = (dim,) if name.startswith("x_") else ()
            self.register_buffer(name, torch.full(shape, value, device=device, dtype=dtype))
        self.register_buffer("offset", torch.zeros(members or 1, device=device, dtype=dtype))
        self.__dict__["_inside"] = False  # whether Ψ̂ is being evaluated

    x_shift: Tensor
    x_scale: Tensor
    x_low: Tensor
    x_high: Tensor
    potential_scale: Tensor
    offset: Tensor

    # ---- written by a derived class ----------------------------------------------------------------------------------

    @abstractmethod
    def value(self, x: Any) -> Any:
        """Return Ψ(x), shape (…), for x of shape (…, dim); a derived class writes Ψ̂, for scaled x.

        Scaled states lie within ±√3 over the data of the fit.
        """

    def initialise(self, data: xr.Dataset | None = None, rng: np.random.Generator | None = None) -> Self:
        """Draw a starting point of a fit, in place, and return the model.

        By default every free parameter is changed by normal noise of standard deviation 0.1.

        Parameters
        ----------
        data : xarray.Dataset, optional
            What the training data say of Ψ: ``x(sample, state)``, with ``potential(sample)`` and ``gradient(sample,
            state)`` as far as they are known.
        rng : numpy.random.Generator, optional
            Source of random numbers. Default: a fresh one.
        """
        rng = rng or np.random.default_rng()
        with torch.no_grad():
            for p in (p for p in self.parameters() if p.requires_grad):
                p.add_(torch.as_tensor(INITIAL_SPREAD * rng.standard_normal(p.shape)).to(p))
        return self

    def parameter_jacobian(
        self,
        x: Tensor,  # noqa: ARG002
        value: Tensor | None,  # noqa: ARG002
        gradient: Tensor | None,  # noqa: ARG002
        names: Sequence[str],  # noqa: ARG002
        out: Tensor,  # noqa: ARG002
    ) -> bool:
        """Write weighted derivatives of Ψ and ∇Ψ with respect to the parameters to `out`, if they have a closed form.

        By default there is none, and `LevenbergMarquardt` differentiates automatically, which takes longer.

        Parameters
        ----------
        x, value, gradient, names, out
            As in `workbench.potentials.parameter_jacobian`, which is that of an `LSEICNN`.

        Returns
        -------
        bool
            Whether there is a closed form; if not, nothing is written.
        """
        return False

    def recorded(self) -> dict[str, Tensor]:
        """Return what the history of a fit records of the parameters: tensors of shape (member, …) by name.

        A plain potential has no member axis.
        """
        return {}

    # ---- inherited ---------------------------------------------------------------------------------------------------

    def completed(self) -> None:
        """Give all floating-point parameters the type of the model."""
        self.to(dtype=self.dtype)

    @tensor_or_array
    def gradient(self, x: Tensor) -> Tensor:
        """Return ∇Ψ(x), shape (…, dim), for x of shape (…, dim)."""
        return self._each("gradient", x) if self.members else over_rows(grad(self._of_one), x)

    @tensor_or_array
    def hessian(self, x: Tensor) -> Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim), for x of shape (…, dim)."""
        return self._each("hessian", x) if self.members else over_rows(jacrev(grad(self._of_one)), x)

    def evaluate(self, x: Any, order: int = 0) -> Evaluation:
        """Return Ψ(x) and its derivatives up to an order, 0, 1 or 2; automatic derivatives share one pass."""
        names, general = QUANTITIES[: require_order(order) + 1], TrainablePotential
        if len(names) == 1 or any(getattr(type(self), name) is not getattr(general, name) for name in QUANTITIES[1:]):
            return Evaluation(*(getattr(self, name)(x) for name in names))
        return Evaluation(*self._derivatives(x, order))

    @tensor_or_array
    def _derivatives(self, x: Tensor, order: int) -> tuple[Tensor, ...]:
        """Return Ψ(x), ∇Ψ(x) and, for order 2, ∇²Ψ(x) by automatic differentiation."""
        one = derivatives(self._of_one, order)
        return self._each("_derivatives", x, order=order) if self.members else over_rows(one, x)

    def forward(self, x: Tensor, quantity: str = "value", **options: Any) -> Any:
        """Return the method named `quantity` evaluated at x; the entry point of `torch.func.functional_call`."""
        return getattr(self, quantity)(x, **options)

    def begin(self, data: xr.Dataset, rng: np.random.Generator, init: Initialisation, turn: int) -> Self:  # noqa: ARG002
        """Draw start number `turn` of a fit; settings of `init` apply to an `LSEICNN` alone."""
        return self.initialise(data, rng)

    @property
    def box(self) -> list[tuple[float, float]]:
        """Bounding box of the data to which the model was fitted, one (low, high) per state."""
        return list(zip(self.x_low.tolist(), self.x_high.tolist(), strict=True))

    @property
    def fitted(self) -> bool:
        """Whether the model has been fitted."""
        return bool(torch.isfinite(self.x_low).all())

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the model."""
        return self.offset.dtype

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.offset.device

    def inside_data(self, x: Any) -> Any:
        """Return whether x, shape (…, dim), lies in the bounding box of the fitted data; boolean, shape (…)."""
        tensor = isinstance(x, Tensor)
        y = x if tensor else torch.tensor(np.asarray(x, dtype=np.float64)).to(self.x_low)
        inside = ((y >= self.x_low) & (y <= self.x_high)).all(-1)
        return inside if tensor else inside.cpu().numpy()

    def log_prob(self, x: Any) -> np.ndarray:
        """Return log q(x), shape (…), for x of shape (…, dim), after a fit of a density (see `Density`)."""
        return self._density().log_prob(x)

    def sample(self, count: int, *, seed: Any = None, **conditions: float) -> np.ndarray:
        """Draw samples, shape (count, state), after a fit of a density (see `Density.sample`)."""
        return self._density().sample(count, seed=seed, **conditions)

    @torch.no_grad()
    def set_scaling(
        self, x: np.ndarray, *, potential: np.ndarray | None, gradient: np.ndarray | None, units: bool = False
    ) -> None:
        """Set the scales from data, in place.

        Inputs are mapped to ±√3, which is unit variance for uniformly distributed samples and does not depend on where
        samples cluster. Ψ̂ has unit standard deviation or, if only gradients are known, a unit root-mean-square
        gradient component. A constant state has the scale of the one that varies most, a constant Ψ its own size; where
        these are 0, scales are 1.

        Parameters
        ----------
        x : numpy.ndarray
            States, shape (sample, dim).
        potential, gradient : numpy.ndarray or None
            Ψ, shape (sample,), and ∇Ψ, shape (sample, dim), at x; the gradient is used only if `potential` is None.
            If neither is known, Ψ is not scaled.
        units : bool, optional
            Whether to keep the units of the data, with all scales 1; the box of the data is set all the same.
        """
        low, high = x.min(0), x.max(0)
        x_scale = filled(np.where(varies(x), high - low, 0.0) / np.sqrt(12))
        scale, offset = 0.0, 0.0
        if potential is not None:
            offset = potential.mean()
            scale = float(spread(potential)) or abs(offset)
        elif gradient is not None:
            scale = np.sqrt(np.mean((gradient * x_scale) ** 2))
        values = {"x_shift": (low + high) / 2, "x_scale": x_scale, "x_low": low, "x_high": high, "offset": offset}
        values["potential_scale"] = scale or 1.0
        values |= {"x_shift": 0.0, "x_scale": 1.0, "potential_scale": 1.0, "offset": 0.0} if units else {}
        for name, value in values.items():
            getattr(self, name).copy_(torch.tensor(value).to(self.offset))

    def like(self, *, members: int | None, **changes: Any) -> Self:
        """Return a model of this architecture, as constructed, with `members` members; `changes` replace arguments."""
        model = self._plain(**changes)
        if members is not None:
            for module in model.modules():
                for name, p in module._parameters.items():
                    module._parameters[name] = nn.Parameter(_repeated(p, members), p.requires_grad)  # type: ignore
                for name, b in module._buffers.items():
                    if not (module is model and name in (*SHARED, "offset")):
                        module._buffers[name] = _repeated(b, members)
            model.offset, model.members = model.offset.detach().repeat(members), members
            model.__dict__["_one"] = self._plain(**changes)  # evaluated with the parameters of every member
        return model

    def member(self, index: int) -> Self:
        """Return one member of an ensemble as a plain potential, with its own copy of the weights."""
        if not -(self.members or 1) <= index < (self.members or 1):
            raise IndexError(f"member {index} of {self.members or 1} does not exist; members are counted from 0")
        one, state = self.like(members=None), self.state_dict()
        if self.members is not None:
            own = {k: v[index][None] if k == "offset" else v[index] for k, v in state.items() if k not in SHARED}
            state = {**state, **own}
        one.load_state_dict(state)
        return one if any(p.requires_grad for p in self.parameters()) else one.requires_grad_(False)

    def fresh(self, rng: np.random.Generator) -> Self:
        """Return a new plain model with the scales of this one; `rng` seeds what its constructor draws."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            model = self._plain()
        for name in (*SHARED, "offset"):
            getattr(model, name).copy_(getattr(self, name))
        return model

    @staticmethod
    def stack(models: Sequence[Any]) -> Any:
        """Combine plain potentials of one architecture and scaling into one ensemble."""
        ensemble, states = models[0].like(members=len(models)), shared_scaling(models)
        joined = dict(states[0])
        for name in set(joined) - set(SHARED):
            joined[name] = (torch.cat if name == "offset" else torch.stack)([state[name] for state in states])
        ensemble.load_state_dict(joined)
        return ensemble

    # ---- private -----------------------------------------------------------------------------------------------------

    def _plain(self, **changes: Any) -> Self:
        """Return a plain model with the recorded arguments, and the type, device and labels of this one."""
        own = {"dim": self.dim, "states": self.states}
        with torch.random.fork_rng(devices=[]):  # what a constructor draws is replaced
            if self.arguments is None:
                model = type(self).build(self.config())
            else:
                known = {name: value for name, value in own.items() if name in self.arguments}
                model = type(self)(**(self.arguments | known | changes))
        return self._labelled(model.to(device=self.device, dtype=self.dtype))

    def _labelled(self, model: Any) -> Any:
        """Give a model the names, support, units and gauge of this one, and return it."""
        if model.dim == self.dim:
            model.states, model.units = self.states, self.units
        model.support, model.gauge = self.support, self.gauge
        return model

    def _density(self) -> Any:
        """Return the `Density` on the model's support; raise `ValueError` without one."""
        from workbench.potentials.density import Density

        return Density(self)

    def _of_one(self, x: Tensor) -> Tensor:
        """Return Ψ, a scalar, at one state, shape (dim,)."""
        return self.value(x.unsqueeze(0))[0]

    def _each(self, quantity: str, x: Tensor, **options: Any) -> Any:
        """Return a method of every member, with a leading member axis; x has shape (sample, dim) or with members."""
        if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[0] not in (1, self.members)):
            raise ValueError(
                f"an ensemble of {self.members} takes x with shape (sample, {self.dim}) or "
                f"({self.members}, sample, {self.dim}), got {tuple(x.shape)}; flatten grids to (sample, {self.dim})"
            )
        x = x[0] if x.ndim == 3 and x.shape[0] == 1 else x
        one = self.__dict__["_one"]
        named = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        own = {k: v.unsqueeze(-1) if k == "offset" else v for k, v in named.items() if k not in SHARED}
        shared = {k: v for k, v in named.items() if k in SHARED}

        def of_member(own: dict[str, Tensor], x: Tensor) -> Any:
            return functional_call(one, {**shared, **own}, (x, quantity), options)

        return vmap(of_member, in_dims=(0, 0 if x.ndim == 3 else None))(own, x)


def _repeated(values: Any, members: int) -> Tensor:
    """Return values with a leading member axis, shape (member, …)."""
    return values.detach().expand(members, *values.shape).clone()
