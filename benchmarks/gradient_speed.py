"""Gradient matching: closed-form gradients of all modes at once against the usual way, side by side in one process.

The usual way evaluates one network per mode in a Python loop and differentiates twice with autograd. Both compute the
same loss on the same weights and samples (checked), and its gradient by the weights; one thread; medians of repeats.
Then, for the gene circuit's network and data size, the parts of one Levenberg–Marquardt step.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

import systems
import workbench as wb
from workbench import dataset
from workbench.descent import Descent, _gram
from workbench.levenberg_marquardt import LevenbergMarquardt
from workbench.lse_icnn import log_gate
from workbench.objectives import LeastSquares, Observations, scales_of

REPEATS = 15


def clock(work: Callable[[], object]) -> float:
    """Return the median time of the work in seconds."""
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def usual_loss(model: wb.LSEICNN, x: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of ∇Ψ, mode by mode and by double backward."""
    x = x.clone().requires_grad_()
    y, c, f = (x - model.x_shift) / model.x_scale, model.convex, []
    for i in range(model.modes):
        h = softplus(y @ c.V[0][0, i].T + c.b[0][0, i], threshold=40)
        for k in range(1, len(model.hidden)):
            h = softplus(
                y @ c.V[k][0, i].T + h @ softplus(c.W[k - 1][0, i], threshold=40).T + c.b[k][0, i], threshold=40
            )
        f.append((y @ c.V[-1][0, i].T + h @ softplus(c.W[-1][0, i], threshold=40).T + c.b[-1][0, i])[:, 0])
    psi = -torch.logsumexp(log_gate(model.alpha[0])[:, None] - model.rho[0] * torch.stack(f), 0) / model.rho[0]
    (slope,) = torch.autograd.grad((model.potential_scale * psi).sum(), x, create_graph=True)
    return ((slope - target) ** 2).mean()


def our_loss(model: wb.LSEICNN, x: Tensor, target: Tensor) -> Tensor:
    """Return the same from the closed form."""
    return ((model.gradient(x) - target) ** 2).mean()


def adam_step(dim: int, modes: int, hidden: tuple[int, ...], samples: int) -> dict[str, float]:
    """Return the times of loss and backward, both ways."""
    rng = np.random.default_rng(0)
    x, target = rng.uniform(-1, 1, (samples, dim)), rng.normal(size=(samples, dim))
    model = wb.LSEICNN(dim=dim, modes=modes, hidden=hidden).initialise(rng, x, gradient=target)
    x, target = torch.as_tensor(x), torch.as_tensor(target)
    assert torch.isclose(usual_loss(model, x, target), our_loss(model, x, target), rtol=1e-10)
    usual = clock(lambda: usual_loss(model, x, target).backward())
    ours = clock(lambda: our_loss(model, x, target).backward())
    return {"usual_ms": 1e3 * usual, "ours_ms": 1e3 * ours, "ratio": usual / ours}


def descent_step(samples: int = 480) -> dict[str, float]:
    """Return the parts of a Levenberg–Marquardt step on the gene circuit, in milliseconds."""
    circuit = systems.get("gene_circuit", b=1.0)
    data, match = dataset.flat(circuit.points(samples, seed=0)), {"gradient": 1.0}
    model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8))
    x, gradient = data["x"].values, data["gradient"].values
    model.set_scaling(x, potential=None, gradient=gradient)
    model.initialise(np.random.default_rng(0), x, gradient=gradient)
    seen = Observations.of(data, match, scales_of(data, match), model.u)
    problem = LeastSquares(model, seen, match)
    theta = problem.vector()
    J = torch.cat(list(problem.jacobians(theta)))
    descent = Descent(problem, seen, LevenbergMarquardt())
    return {
        "residuals": len(J),
        "parameters": len(theta),
        "jacobian_ms": 1e3 * clock(lambda: list(problem.jacobians(theta))),
        "gram_ms": 1e3 * clock(lambda: _gram(J)),
        "gram_by_full_product_ms": 1e3 * clock(lambda: J.T @ J),
        "step_ms": 1e3 * clock(descent.step),
    }


def main() -> None:
    """Print the ratios, and save them as JSON."""
    torch.set_num_threads(1)
    machine = (
        f"{platform.processor() or platform.machine()}, {platform.platform()}, torch {torch.__version__}, 1 thread"
    )
    result = {
        "machine": machine,
        "gene circuit, 2-D, 3 modes of 8-8-8, 500 samples": adam_step(2, 3, (8, 8, 8), 500),
        "mechanochemistry, 7-D, 5 modes of 10-10, 800 samples": adam_step(7, 5, (10, 10), 800),
        "one Levenberg–Marquardt step, gene circuit": descent_step(),
    }
    for name, entry in result.items():
        print(name if isinstance(entry, dict) else f"{name}: {entry}")
        for label, value in entry.items() if isinstance(entry, dict) else ():
            print(f"    {label:26} {value:10.3g}")
    Path("results").mkdir(exist_ok=True)
    Path("results/gradient_speed.json").write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
