"""Cost of a Levenberg–Marquardt step over the numbers of parameters P and samples N, with fitted exponents.

Slopes of the gene circuit are matched by LSE-ICNNs of three modes. Timed, in CPU seconds of one thread, are the
Jacobian by automatic differentiation and in closed form, JᵀJ, the Cholesky factorisation, and a whole accelerated step.
Exponents are slopes of least-squares lines through logarithms. First come a step and its memory for 100,000 samples.
"""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import systems
import workbench as wb
from workbench import dataset
from workbench.fitting.descent import Descent
from workbench.losses.least_squares import LeastSquares
from workbench.losses.match import parsed
from workbench.losses.normal_equations import gram_of

WIDTHS = (4, 8, 12, 16, 22)  # of three hidden layers
SAMPLES = (250, 500, 1000, 2000, 4000)
COLUMNS = ("automatic", "closed form", "JᵀJ", "Cholesky", "step")


def problem_of(width: int, samples: int) -> LeastSquares:
    """Return the problem of a start."""
    data = dataset.flat(systems.get("gene_circuit").points(samples, seed=0))
    model = wb.LSEICNN(dim=2, modes=3, hidden=(width,) * 3)
    model.set_scaling(data["x"].values, potential=None, gradient=data["gradient"].values)
    model.initialise(data, np.random.default_rng(0))
    few = data.isel(sample=slice(0, 100))
    return parsed("gradient").problem(model, {"train": data, "validation": few})  # type: ignore[return-value]


def clock(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median CPU time of `work` in milliseconds, after one run that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times)


def costs(width: int, samples: int) -> tuple[int, list[float]]:
    """Return the number of parameters, and the times in ms in the order of `COLUMNS`."""
    problem = problem_of(width, samples)
    theta = problem.vector()
    with mock.patch.object(wb.LSEICNN, "parameter_jacobian", return_value=False):
        automatic = problem_of(width, samples)
        times = [clock(lambda: [None for _ in automatic.jacobians(theta)], 3)]
    times.append(clock(lambda: [None for _ in problem.jacobians(theta)]))
    J = torch.cat([block for _, block in problem.jacobians(theta)]).T.contiguous().T
    gram = gram_of(J) + torch.eye(len(theta), dtype=theta.dtype)
    times += [clock(lambda: gram_of(J)), clock(lambda: torch.linalg.cholesky_ex(gram))]
    descent = Descent(problem, wb.LevenbergMarquardt())
    return len(theta), [*times, clock(descent.step)]


def exponents(sizes: list[int], times: list[list[float]]) -> str:
    """Return the exponents of all columns."""
    slopes = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    return "  ".join(f"{slope:>11.2f}" for slope in slopes)


def table(name: str, cases: list[tuple[int, int]]) -> None:
    """Print times over one of the sizes, and the exponents."""
    print(f"\n{name:>16}  " + "  ".join(f"{column:>11}" for column in COLUMNS) + "   (ms)")
    sizes, times = [], []
    for width, samples in cases:
        parameters, found = costs(width, samples)
        sizes.append(parameters if name.startswith("P") else samples)
        times.append(found)
        print(f"{sizes[-1]:>16}  " + "  ".join(f"{value:>11.2f}" for value in found), flush=True)
    print(f"{'exponent':>16}  {exponents(sizes, times)}")


def resident() -> float:
    """Return the resident memory of the process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread, float64")
    problem_of(8, 2000)  # loads all modules
    before, problem = resident(), problem_of(8, 100_000)
    descent = Descent(problem, wb.LevenbergMarquardt())
    step, memory = clock(descent.step, 3), resident() - before
    print(f"100,000 slopes × 2 states, P = 634: a step {step / 1e3:.2f} CPU-s, {memory:.0f} MB with the data")
    table("P (N = 1000)", [(width, 1000) for width in WIDTHS])
    table("N (P = 634)", [(8, samples) for samples in SAMPLES])


if __name__ == "__main__":
    main()
