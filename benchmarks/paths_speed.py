"""Speed of learning from stress paths: array operations instead of loops, and derivatives in closed form.

Compared side by side in one run, as the shortest of several processor times:

- the data generator, against a Python loop over trajectories and steps;
- the integration of the internal variables, all trajectories together against one at a time: for NODEs by torchdiffeq
  and by Euler's method (a bare loop, whose single steps are already faster), and for generalised play (a prefix scan,
  which is fast for a single trajectory, too);
- the whole result of `respond`, where the networks of the energy take most of the time in either case;
- the stress in closed form, against automatic differentiation of the energy, alone and in a training step, which also
  needs its derivative with respect to the weights.
"""

import platform
import time
from collections.abc import Callable

import numpy as np
import torch

import systems
import workbench as wb
from workbench.dataset.tensors import SHEAR

COUNT = 400
AXIS = wb.Invariants(axis=(1.0, 0.0, 0.0))


def seconds(action: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of several processor times in seconds, after one run that is not counted."""
    action()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def looped(rossi: systems.System, strain: np.ndarray) -> np.ndarray:
    """Return the stress along strain paths by the exact update, one trajectory and one step at a time."""
    lame, stress, e1 = rossi.K - 2 * rossi.G / 3, np.zeros_like(strain), np.eye(6)[0]
    trace = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    for path, answer in zip(strain, stress, strict=True):
        c = 0.0
        for t, E in enumerate(path):
            e = rossi.e0 * (2 * rossi.G * E[0] + lame * (E @ trace)) - rossi.gap
            low, high = (e - rossi.k_forward) / rossi.H, (e + rossi.k_back) / rossi.H
            c = min(max(c, min(max(low, 0.0), 1.0)), min(max(high, 0.0), 1.0))
            elastic = E - c * rossi.e0 * e1
            answer[t] = 2 * rossi.G * elastic + lame * (elastic @ trace) * trace
    return stress


def stress_by_autograd(model: wb.Material, E: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Return ∂Ψ/∂E at given internal variables by automatic differentiation of the energy."""
    at = E.detach().requires_grad_()
    features = {"x": model.invariants.value(at)}
    (gradient,) = torch.autograd.grad(model.energy(features, h).sum(), at, create_graph=True)
    return gradient / torch.tensor(SHEAR)


def line(what: str, slow: float, quick: float, least: float | None = None) -> None:
    """Print both times and their ratio, and the ratio required, if any."""
    asked = "" if least is None else f"{least:g}" if slow >= least * quick else f"{least:g} MISSED"
    print(f"{what:66} {1e3 * slow:9.2f} {1e3 * quick:9.2f} {slow / quick:7.1f}   {asked}")


def main() -> None:
    """Print one line per comparison."""
    torch.set_num_threads(1)
    rossi = systems.get("rossi")
    data = rossi.paths(COUNT, loading="random", seed=0)
    E, S, moments = (data[name].values for name in ("strain", "stress", "time"))
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; {COUNT} paths of {E.shape[1]} samples")
    print(f"{'':66} {'slow, ms':>9} {'fast, ms':>9} {'ratio':>7}   required")
    assert np.abs(looped(rossi, E[:20]) - rossi.respond(E[:20])["stress"]).max() < 1e-14
    slow, quick = seconds(lambda: looped(rossi, E), 1), seconds(lambda: rossi.respond(E))
    line("Rossi material: Python loop, array operations", slow, quick, 100)
    print(f"    array operations in at most 20 ms: {'met' if quick <= 0.02 else 'MISSED'}")
    for name, model in {
        "NODE, Euler": wb.StateNODE(AXIS),
        "NODE, torchdiffeq rk4": wb.StateNODE(AXIS, method="rk4"),
        "generalised play": wb.GeneralisedPlay(AXIS),
    }.items():
        model.initialise(np.random.default_rng(0), E, S, moments)
        integrated(name, model.requires_grad_(False), torch.tensor(E), torch.tensor(moments))
        stressed(name, model, torch.tensor(E), torch.tensor(moments))


def integrated(name: str, model: wb.Material, E: torch.Tensor, moments: torch.Tensor) -> None:
    """Print the times of integrating one trajectory at a time, extrapolated from a few, and all together."""
    times, few = moments.expand(len(E), -1), 20
    features = model.features(E, times)
    single = [{key: values[k : k + 1] for key, values in features.items()} for k in range(few)]
    share = len(E) / few
    slow = share * seconds(lambda: [model.states(one, None) for one in single], 2)
    least = 100 if isinstance(model, wb.StateNODE) else None
    line(
        f"{name}: integration, one at a time, all together",
        slow,
        seconds(lambda: model.states(features, None)),
        least,
    )
    slow = share * seconds(lambda: [model.respond(path, moments) for path in E[:few]], 1)
    line(f"{name}: the whole response", slow, seconds(lambda: model.respond(E, moments), 2))


def stressed(name: str, model: wb.Material, E: torch.Tensor, moments: torch.Tensor) -> None:
    """Print the times of the stress by automatic differentiation and in closed form, at given internal variables."""
    features = model.features(E, moments.expand(len(E), -1))
    h = model.states(features, None)
    torch.testing.assert_close(
        model._stress(features, h), stress_by_autograd(model, E, h).detach(), rtol=1e-9, atol=1e-12
    )
    slow, quick = seconds(lambda: stress_by_autograd(model, E, h)), seconds(lambda: model._stress(features, h))
    line(f"{name}: stress by autograd, in closed form", slow, quick)
    model.potential.requires_grad_(True)
    slow = seconds(lambda: stress_by_autograd(model, E, h).square().sum().backward(), 3)
    quick = seconds(lambda: model._stress(features, h).square().sum().backward(), 3)
    line(f"{name}: the same in a training step", slow, quick, 1.5)
    model.requires_grad_(False)


if __name__ == "__main__":
    main()
