"""Error of fits over CPU seconds, side by side in one single-threaded run: plain and accelerated steps, and rivals.

On the same data, the same Levenberg–Marquardt fits

1. an LSE-ICNN by plain steps,
2. an LSE-ICNN by accelerated steps, and
3. a potential of two tanh layers with as many parameters, by accelerated steps;

4. a Gaussian process (scikit-learn, radial kernel with a length for each state) is fitted to the values, or to each
   component of the slopes.

The data are 600 velocities of the gene circuit on its box, and 200 values of each 1-D well. Errors are those of the
parameters with the lowest held-out loss, at test points: for the circuit relative, inside the box and on a ring of a
fifth of its width around it; for the wells mean squares. Evaluating them is not timed. `--quick` uses one seed;
`--figure PATH` draws the errors.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

import systems
import workbench as wb
from workbench import dataset
from workbench.fitting.descent import Descent
from workbench.fitting.outcome import Outcome
from workbench.fitting.task import Task
from workbench.losses.match import parsed

STEPS, EVERY, SEEDS = 300, 10, 3
Measure = Callable[[Any], tuple[float, float]]  # of a function of states: error inside, and outside the data


class Tanh(wb.TrainablePotential):
    """A potential of two tanh layers."""

    def __init__(self, dim: int, width: int, *, states: Any = None) -> None:
        super().__init__(dim, states=states)
        sizes = ((width, dim), (width,), (width, width), (width,), (width,))
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(torch.zeros(s, dtype=torch.float64)) for s in sizes)

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """Return Ψ̂(x), shape (…), for x of shape (…, dim)."""
        V, b, W, c, out = self.weights
        return torch.tanh(torch.tanh(x @ V.T + b) @ W.T + c) @ out

    def initialise(self, data: xr.Dataset | None = None, rng: Any = None) -> "Tanh":  # noqa: ARG002
        """Draw weights of variance 1/(inputs)."""
        with torch.no_grad():
            for p in self.weights:
                p.copy_(torch.as_tensor(rng.standard_normal(tuple(p.shape)) / p.shape[-1] ** 0.5))
        return self


class Work(NamedTuple):
    """Data, what is matched, the models, and how errors are measured."""

    data: xr.Dataset
    match: str
    ours: wb.LSEICNN
    tanh: Tanh
    quantity: str
    measure: Measure


def circuit(seed: int) -> Work:
    """Return the slopes of the gene circuit."""
    system = systems.get("gene_circuit", b=1.0)
    data = system.points(600, seed=seed)
    low, high = np.array(system.box).T
    rng = np.random.default_rng(1)
    around = rng.uniform(low - 0.2 * (high - low), high + 0.2 * (high - low), (6000, 2))
    inside = ((around >= low) & (around <= high)).all(1)
    exact = system.gradient(around)

    def measure(gradient: Any) -> tuple[float, float]:
        off = (gradient(around) - exact) ** 2
        both = [(off[part].mean() / (exact[part] ** 2).mean()) ** 0.5 for part in (inside, ~inside)]
        return float(both[0]), float(both[1])

    return Work(data, "gradient", wb.LSEICNN(2, 3, (8, 8, 8)), Tanh(2, 23), "gradient", measure)


def well(name: str, seed: int) -> Work:
    """Return the values of a 1-D well."""
    system = systems.get(name)
    x = np.linspace(*system.box[0], 1001)[:, None]
    exact = system.value(x)

    def measure(value: Any) -> tuple[float, float]:
        return float(((value(x) - exact) ** 2).mean()), float("nan")

    return Work(system.points(200, seed=seed), "potential", wb.LSEICNN(1, 10), Tanh(1, 37), "value", measure)


WORKS: dict[str, Callable[[int], Work]] = {
    "gene circuit, 600 slopes": circuit,
    "Eq 8, 200 values": lambda seed: well("asymmetric_quartic", seed),
    "Eq 9, 200 values": lambda seed: well("cosine_quadratic", seed),
    "Eq 10 scaled, 200 values": lambda seed: well("min_mixture", seed),
}


def descended(work: Work, model: Any, seed: int, *, acceleration: bool) -> np.ndarray:
    """Return CPU seconds, error and error outside after every tenth step of one start, shape (record, 3)."""
    sequence, match = np.random.SeedSequence(seed), parsed(work.match)
    began = time.process_time()
    prepared, data = match.prepared(model, work.data, lambda data: dataset.assign_split(data, sequence, 0.2))
    problem = Task.of(prepared, data, match, wb.Initialisation(rho=(0.15,))).problem(sequence, 0)
    settings = wb.LevenbergMarquardt(steps=STEPS, patience=STEPS, acceleration=acceleration)
    descent, spent, rows = Descent(problem, settings), 0.0, []
    while descent.outcome is Outcome.RUNNING:
        descent.step()
        if len(descent.records) % EVERY == 1 or descent.outcome is not Outcome.RUNNING:
            spent += time.process_time() - began
            problem.load(descent.best)
            rows.append((spent, *work.measure(getattr(problem.model, work.quantity))))
            began = time.process_time()
    return np.array(rows)


def gaussian_process(work: Work) -> np.ndarray:
    """Return CPU seconds, error and error outside of Gaussian processes, shape (1, 3)."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    x = work.data["x"].values
    y = work.data[work.match].values.reshape(len(x), -1)
    scale, began = y.std(0), time.process_time()
    kernel = ConstantKernel(10.0, (1e-3, 1e8)) * RBF(np.ones(x.shape[1]), (1e-2, 1e3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length at its bound
        each = [
            GaussianProcessRegressor(kernel, alpha=1e-10, normalize_y=True).fit(x, column) for column in (y / scale).T
        ]
    spent = time.process_time() - began

    def predicted(at: np.ndarray) -> np.ndarray:
        both = np.stack([one.predict(at) for one in each], -1) * scale
        return both if work.match == "gradient" else both[:, 0]

    return np.array([[spent, *work.measure(predicted)]])


def curves(make: Callable[[int], Work], seeds: int) -> dict[str, list[np.ndarray]]:
    """Return the records of every rival and seed."""
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(100, 100 + seeds):
        work = make(seed)
        runs = {
            "LSE-ICNN, plain": lambda w=work, s=seed: descended(w, w.ours, s, acceleration=False),
            "LSE-ICNN, accelerated": lambda w=work, s=seed: descended(w, w.ours, s, acceleration=True),
            "tanh, accelerated": lambda w=work, s=seed: descended(w, w.tanh, s, acceleration=True),
            "Gaussian process": lambda w=work: gaussian_process(w),
        }
        for name, run in runs.items():
            found.setdefault(name, []).append(run())
    return found


def draw(path: Path, all_curves: dict[str, dict[str, list[np.ndarray]]]) -> None:
    """Draw the errors over CPU seconds: every seed, one panel for each set of data."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(all_curves), figsize=(3.1 * len(all_curves), 2.9), layout="constrained")
    for panel, (title, found) in zip(panels, all_curves.items(), strict=True):
        for (name, runs), colour in zip(found.items(), ("0.55", "C0", "C1", "C2"), strict=True):
            for k, rows in enumerate(runs):
                style = {"marker": "s", "ms": 5, "lw": 0} if len(rows) == 1 else {"lw": 1.2}
                panel.loglog(rows[:, 0], rows[:, 1], color=colour, label=None if k else name, **style)
        panel.set(title=title, xlabel="CPU time (s), one thread")
        panel.grid(alpha=0.2)
        panel.xaxis.set_minor_formatter("")
    panels[0].set_ylabel("relative error of the slopes")
    panels[1].set_ylabel("mean square error")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def main() -> None:
    """Print the errors of all seeds, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = 1 if options.quick else SEEDS
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; {seeds} seed(s), one start, {STEPS} steps")
    all_curves = {}
    for title, make in WORKS.items():
        all_curves[title] = curves(make, seeds)
        print(f"\n{title:26} {'CPU s':>8} {'error: median':>14} {'worst':>9} {'outside: median':>16}")
        for name, runs in all_curves[title].items():
            last = np.array([rows[-1] for rows in runs])
            spent, error, outside = np.median(last, 0)
            print(f"  {name:24} {spent:>8.1f} {error:>14.1e} {last[:, 1].max():>9.1e} {outside:>16.1e}", flush=True)
    if options.figure:
        draw(options.figure, all_curves)
        print(f"\nsaved {options.figure}")


if __name__ == "__main__":
    main()
