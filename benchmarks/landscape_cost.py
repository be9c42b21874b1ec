"""Cost of evaluating a landscape and of analysing it.

1. An LSE-ICNN of 3 modes of 8-8-8 in two dimensions: value, gradient and Hessian by three calls and by one pass, in
   milliseconds, for arrays and tensors of 1 and 10 000 states; branches of a blend of two such fits of the gene
   circuit, and stationary points of a fit of the seven-dimensional mechanochemical system, in seconds.
2. All minima as the dimension grows: separable double wells Σ (xᵢ² − 1)², d = 2 … 10. They have 3^d stationary points,
   of which 2^d are minima. The search uses four starting points per minimum. Printed are the number of minima found, of
   points that are not minima (by comparison with the exact positions), the time in seconds and the number of Hessian
   evaluations.
"""

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import systems
import workbench as wb


class DoubleWells:
    """Σ (xᵢ² − 1)² with derivatives in closed form; `rows` counts the points at which the Hessian was evaluated."""

    members = None

    def __init__(self, dim: int) -> None:
        self.states, self.rows = tuple(f"x{i + 1}" for i in range(dim)), 0

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """Return Ψ(x), shape (…)."""
        return ((x**2 - 1) ** 2).sum(-1)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """Return ∇Ψ(x), shape (…, dim)."""
        return 4 * x * (x**2 - 1)

    def hessian(self, x: torch.Tensor) -> torch.Tensor:
        """Return ∇²Ψ(x), shape (…, dim, dim)."""
        self.rows += len(x)
        return torch.diag_embed(12 * x**2 - 4)


def fitted(system: Any, modes: int, hidden: tuple[int, ...], count: int, steps: int) -> wb.LSEICNN:
    """Return a quick fit of value and gradient of a system."""
    model, data = wb.LSEICNN(system.dim, modes, hidden), system.points(count, seed=0)
    optimiser = wb.LevenbergMarquardt(steps=steps)
    match = {"potential": 1, "gradient": 1}
    return wb.fit(model, data, match=match, seed=0, restarts=1, optimiser=optimiser).model


def seconds(question: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    question()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        question()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@torch.no_grad()
def print_evaluations(model: wb.LSEICNN) -> None:
    """Print the time of three calls and of one pass, for arrays and tensors."""
    print(f"{'states':>7} {'':8} {'three calls':>12} {'one pass':>9} {'gradient':>9} {'value':>9}   (ms)")
    for count, repeats in ((1, 500), (10_000, 20)):
        x = np.random.default_rng(0).uniform(0, 2, (count, model.dim))
        for kind, states in (("arrays", x), ("tensors", torch.tensor(x))):
            questions: list[Callable[[], Any]] = [
                lambda x=states: (model.value(x), model.gradient(x), model.hessian(x)),
                lambda x=states: model.evaluate(x, 2),
                lambda x=states: model.gradient(x),
                lambda x=states: model.value(x),
            ]
            three, one, gradient, value = (1e3 * seconds(question, repeats) for question in questions)
            print(f"{count:7} {kind:8} {three:12.3f} {one:9.3f} {gradient:9.3f} {value:9.3f}")


def print_analyses() -> None:
    """Print the times of evaluations, branches and stationary points of learned landscapes."""
    early, late = (fitted(systems.get("gene_circuit", b=b), 3, (8, 8, 8), 400, 80) for b in (0.1, 1.0))
    print_evaluations(early)
    blend, box = wb.Blend(early, late, wb.Logistic(rate=0.7, start=0.01)), systems.get("gene_circuit").box
    print(f"branches of a learned blend: {seconds(lambda: wb.branches(blend, box), 3):.2f} s")
    seven = systems.get("mechanochemical")
    model = fitted(seven, 5, (10, 10), 600, 40)
    print(f"stationary points in 7 dimensions: {seconds(lambda: wb.stationary_points(model, seven.box), 3):.2f} s")


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread")
    print_analyses()
    wb.stationary_points(DoubleWells(2), [(-1.6, 1.6)] * 2, index=0)  # keep imports out of the timing
    print("double wells, 4 · 2^d starting points")
    print(f"{'d':>2} {'points':>7} {'minima':>7} {'found':>6} {'false':>6} {'seconds':>8} {'Hessians':>9}")
    for dim in range(2, 11):
        well, begin = DoubleWells(dim), time.perf_counter()
        found = wb.stationary_points(well, [(-1.6, 1.6)] * dim, starts=4 * 2**dim, index=0)
        seconds, x = time.perf_counter() - begin, found["x"].values
        false = int((np.abs(np.abs(x) - 1) > 1e-8).any(-1).sum())
        different = len(np.unique(np.sign(x), axis=0))
        print(f"{dim:2} {3**dim:7} {2**dim:7} {different:6} {false:6} {seconds:8.2f} {well.rows:9}")


if __name__ == "__main__":
    main()
