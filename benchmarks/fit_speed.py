"""Speed of fits compared with a conventional implementation, side by side in one single-threaded process.

1. One epoch of Adam on Eq 7 of Jones et al. (2025): a conventional implementation (one module per mode, a Python loop
   over modes, one fit at a time) against all members in one tensor, eager and compiled, in float32 and float64.
2. Time to the published accuracy. The median test error of the published protocol, 150,000 epochs of Adam, was measured
   once as 1.8e-6 (Eq 8) and 4.3e-7 (Eq 9). Levenberg–Marquardt stops when the mean square errors on training and
   held-out points are both below a quarter of that; its final test error is printed. Its time, the median over ten
   initialisations, is compared with that of the whole protocol, 150,000 conventional epochs.
3. Gradient matching in seven dimensions: double backward through conventional modules against the closed form.
4. Learning from derivatives against learning through an ODE solver (backpropagation through odeint).

All times are medians of repeats, and the results are saved as JSON. `--quick` omits compiled code and uses three
initialisations.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchdiffeq
from torch import Tensor, nn
from torch.nn.functional import softplus

import systems
import workbench as wb
from workbench.fitting.adam_training import Trainings
from workbench.fitting.descent import Descent
from workbench.fitting.outcome import Outcome
from workbench.fitting.task import Task
from workbench.losses.match import parsed

EPOCHS = 150_000
PAPER = wb.Initialisation(rho=(2.0,), weights="uniform", scaled=False)
PUBLISHED = {"asymmetric_quartic": 1.8e-6, "cosine_quadratic": 4.3e-7}  # median test mean square errors, item 2 above


class UsualMode(nn.Module):
    """One input-convex network as a module of linear layers."""

    def __init__(self, dim: int, hidden: tuple[int, ...], **options: Any) -> None:
        super().__init__()
        widths = (*hidden, 1)
        self.skip = nn.ModuleList([nn.Linear(dim, out, **options) for out in widths])
        self.up = nn.ModuleList(
            [nn.Linear(a, b, bias=False, **options) for a, b in zip(widths, widths[1:], strict=False)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), shape (sample,), for x of shape (sample, dim)."""
        h = softplus(self.skip[0](x))
        for k, up in enumerate(self.up):
            z = self.skip[k + 1](x) + nn.functional.linear(h, softplus(up.weight))
            h = softplus(z) if k + 1 < len(self.up) else z
        return h[:, 0]


class UsualPotential(nn.Module):
    """An LSE-ICNN as a list of such modules."""

    def __init__(self, dim: int, modes: int, hidden: tuple[int, ...], **options: Any) -> None:
        super().__init__()
        self.modes = nn.ModuleList([UsualMode(dim, hidden, **options) for _ in range(modes)])
        self.rho = nn.Parameter(torch.tensor(2.0, **options))
        self.alpha = nn.Parameter(torch.full((modes,), 2.919, **options))

    def forward(self, x: Tensor) -> Tensor:
        """Return Ψ(x), shape (sample,), for x of shape (sample, dim)."""
        terms = [
            torch.sigmoid(10 * (a / 2 - 1)).log() - self.rho * f(x) for a, f in zip(self.alpha, self.modes, strict=True)
        ]
        return -(torch.logsumexp(torch.stack(terms), 0) - np.log(len(terms))) / self.rho


def clock(work: Callable[[], object], repeats: int = 15) -> float:
    """Return the median run time of `work` in seconds, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def wells_data(name: str, seed: int = 0) -> tuple[Any, Any]:
    """Return the system, and a dataset of 200 training and 50 validation points."""
    system = systems.get(name)
    points = system.points(250, seed=seed)
    split = ["train"] * 200 + ["validation"] * 50
    x, potential = points["x"].values, points["potential"].values
    return system, wb.dataset.points(x, potential=potential, sigma=1.0, split=split, states=["x"])


def usual_epoch(dtype: torch.dtype) -> float:
    """Return the time in seconds of a conventional epoch: 10 modes with hidden widths (10, 10), 200 points."""
    _, data = wells_data("asymmetric_quartic")
    train = data.isel(sample=slice(0, 200))
    x, y = (torch.as_tensor(train[name].values).to(dtype) for name in ("x", "potential"))
    model = UsualPotential(1, 10, (10, 10), dtype=dtype)
    networks = [p for name, p in model.named_parameters() if name not in ("rho", "alpha")]
    groups: list[Any] = [{"params": networks, "lr": 1e-3}, {"params": [model.rho, model.alpha], "lr": 1e-4}]
    optimiser = torch.optim.Adam(groups)

    def epoch() -> None:
        optimiser.zero_grad()
        (((model(x) - y) ** 2).mean() + 1e-4 * model.alpha.abs().sum()).backward()
        optimiser.step()

    return clock(epoch, 60)


def our_epoch(members: int, dtype: torch.dtype, *, compiled: bool) -> float:
    """Return the time in seconds of one epoch of all members together."""
    _, data = wells_data("asymmetric_quartic")
    task = Task.of(wb.LSEICNN(dim=1, modes=10, dtype=dtype), data, parsed("potential"), PAPER)
    settings = wb.Adam(compiled=compiled, every=10**9)
    training = Trainings(task, np.random.SeedSequence(0).spawn(members), settings)
    training.advance(3)
    return clock(lambda: training.advance(10), 9) / 10


def time_to_published(name: str, seeds: int) -> tuple[list[float], list[float]]:
    """Return time in seconds and test error for each initialisation, stopped by training and held-out error alone."""
    system, data = wells_data(name)
    x = np.linspace(-3, 3, 200)[:, None]
    settings = wb.LevenbergMarquardt(steps=1000, tolerance=(PUBLISHED[name] / 4) ** 0.5, patience=1000)
    times, errors = [], []
    for seed in np.random.SeedSequence(0).spawn(seeds):
        began = time.perf_counter()
        task = Task.of(wb.LSEICNN(dim=1, modes=10), data, parsed("potential"), wb.Initialisation(rho=(1.5,)))
        problem = task.problem(seed, 0)
        descent = Descent(problem, settings)
        while descent.outcome is Outcome.RUNNING:
            descent.step()
        times.append(time.perf_counter() - began)
        problem.load(descent.best)
        errors.append(float(((problem.model.value(x) - system.value(x)) ** 2).mean()))
    return times, errors


def gradient_step() -> dict[str, float]:
    """Return the times in ms of loss and backward pass in 7-D, 5 modes with hidden widths (10, 10), 800 samples."""
    rng = np.random.default_rng(0)
    x, target = (torch.as_tensor(rng.uniform(-1, 1, (800, 7))) for _ in range(2))
    usual = UsualPotential(7, 5, (10, 10), dtype=torch.float64)
    ours = wb.LSEICNN(dim=7, modes=5).initialise(rng=rng)

    def double_backward() -> None:
        y = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(usual(y).sum(), y, create_graph=True)
        ((gradient - target) ** 2).mean().backward()

    def closed_form() -> None:
        ((ours.gradient(x) - target) ** 2).mean().backward()

    return {"usual_ms": 1e3 * clock(double_backward, 40), "ours_ms": 1e3 * clock(closed_form, 40)}


def through_the_solver() -> dict[str, float]:
    """Return the times in ms of one gradient of the loss: from velocities, and through odeint (rk4)."""
    circuit = systems.get("gene_circuit", b=1.0)
    data = circuit.trajectories(40, time=np.linspace(0, 10, 26), seed=0)
    model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8)).initialise(rng=np.random.default_rng(0))
    x = torch.as_tensor(data["x"].values)
    velocity, grid = torch.tensor(data["velocity"].values), torch.tensor(data["time"].values)
    samples, velocities = x.reshape(-1, 2), velocity.reshape(-1, 2)

    def derivatives() -> None:
        ((model.gradient(samples) + velocities) ** 2).mean().backward()

    def solver() -> None:
        path = torchdiffeq.odeint(lambda t, y: -model.gradient(y), x[:, 0], grid, method="rk4")
        ((path - x.transpose(0, 1)) ** 2).mean().backward()

    return {"derivatives_ms": 1e3 * clock(derivatives, 15), "odeint_ms": 1e3 * clock(solver, 7)}


def main() -> None:
    """Print the ratios and save them as JSON."""
    torch.set_num_threads(1)
    quick = "--quick" in sys.argv
    result: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}, 1 thread",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }
    print(f"{result['machine']}\n{result['versions']}\n\nAdam, one epoch per member: conventional time over ours")
    usual = {}
    for dtype in (torch.float32, torch.float64):
        usual[dtype] = usual_epoch(dtype)
        name = str(dtype).removeprefix("torch.")
        print(f"  {name}: conventional {1e3 * usual[dtype]:.2f} ms")
        for compiled in (False,) if quick else (False, True):
            for members in (1, 10, 30):
                each = our_epoch(members, dtype, compiled=compiled) / members
                label = f"{name}, {'compiled' if compiled else 'eager'}, {members} members"
                result[label] = {"usual_ms": 1e3 * usual[dtype], "ours_ms": 1e3 * each, "ratio": usual[dtype] / each}
                print(f"    {label:38} {1e3 * each:6.3f} ms, ratio {usual[dtype] / each:5.1f}")
    print(f"\nTime to the published median error, against {EPOCHS} conventional epochs in the faster of the two types")
    for name in PUBLISHED:
        times, errors = time_to_published(name, 3 if quick else 10)
        whole, median = EPOCHS * min(usual.values()), statistics.median(times)
        worst = max(errors)
        result[f"time to published, {name}"] = {"ours_s": times, "test_mse": errors, "usual_s": whole}
        result[f"time to published, {name}"]["ratio"] = whole / median
        label = f"median {median:.2f} s, worst {max(times):.2f} s; conventional {whole:.0f} s"
        print(f"  {name:20} {label}: ratio {whole / median:.0f}")
        print(f"  {'':20} final test error: median {statistics.median(errors):.1e}, worst {worst:.1e}")
    step, solver = gradient_step(), through_the_solver()
    result["7-D gradient step"] = step | {"ratio": step["usual_ms"] / step["ours_ms"]}
    result["derivatives against odeint"] = solver | {"ratio": solver["odeint_ms"] / solver["derivatives_ms"]}
    for name in ("7-D gradient step", "derivatives against odeint"):
        print("  ".join([f"\n{name}:", *(f"{key} {value:.2f}" for key, value in result[name].items())]))
    path = Path("results") / "fit_speed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2))
    print(f"\nsaved {path}")


if __name__ == "__main__":
    main()
