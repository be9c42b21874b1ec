"""Effect of the initialisation: velocities of the gene circuit, fitted for 100 steps without screening.

The data are the forty long trajectories of the study (11 samples each); the training error is reported. Two choices
are varied: the initial sharpness ρ, and the distribution of the positive weights W, compared with the usual uniform
distribution on ±1/√width inside softplus. A fit counts as trapped if its training error exceeds 1 % after the last
step.
"""

import platform

import numpy as np
import torch

import systems
import workbench as wb
from workbench import dataset
from workbench.fitting.descent import Descent
from workbench.losses.match import parsed

STEPS = 100
SEEDS = range(8)


def error_of(b: float, seed: int, *, rho: float, usual: bool = False) -> float:
    """Return the relative training error after `STEPS` steps from one initialisation."""
    circuit = systems.get("gene_circuit", b=b)
    time = 10 * np.linspace(0, 1, 11) ** 2
    data = dataset.flat(circuit.trajectories(40, time=time, seed=seed, spread="sobol"))
    x, gradient = data["x"].values, -data["velocity"].values
    model = wb.LSEICNN(dim=2, modes=3, hidden=(8, 8, 8))
    model.set_scaling(x, potential=None, gradient=gradient)
    rng = np.random.default_rng(seed)
    model.initialise(dataset.points(x, gradient=gradient), rng, rho=rho)
    if usual:
        with torch.no_grad():
            for raw in model.convex.W:
                width = raw.shape[-1] ** -0.5
                raw.copy_(torch.as_tensor(rng.uniform(-width, width, tuple(raw.shape))))
    problem = parsed("velocity").problem(model, {"train": data, "validation": data})
    descent = Descent(problem, wb.LevenbergMarquardt(steps=STEPS))
    for _ in range(STEPS):
        descent.step()
    return descent.loss**0.5


def main() -> None:
    """Print the median error and the number of trapped fits for each kind of initialisation."""
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; {len(SEEDS)} seeds at b = 0.1 and at b = 1")
    for name, options in {
        "soft, rho = 0.15": {"rho": 0.15},
        "sharp, rho = 1.5": {"rho": 1.5},
        "soft, W uniform ±1/√width": {"rho": 0.15, "usual": True},
    }.items():
        errors = np.array([error_of(b, seed, **options) for b in (0.1, 1.0) for seed in SEEDS])
        print(f"{name:28} median error {np.median(errors):.1e}, trapped {int((errors > 0.01).sum())} of {len(errors)}")


if __name__ == "__main__":
    main()
