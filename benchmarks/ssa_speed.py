"""Speed of the simulation of reaction networks, compared with other implementations in one single-threaded process.

1. Reactions per second of Gillespie's direct method on the Schlögl reactions up to t = 20, from X = 250: ours, with 200
   and 10,000 trajectories; a textbook loop on small NumPy arrays; a plain Python loop; the NumPy and C++ solvers of
   gillespy2; and the direct method in plain C, compiled here. Each runs as many trajectories as take a few seconds. The
   number of reactions is counted by the implementation itself if possible, else estimated by the mean per trajectory.
2. Exact trajectories on a grid of times, drawn from rows of exp(Q dt).
3. The exact distribution at all times of the grid, against scipy.sparse.linalg.expm_multiply.

gillespy2 is used if it can be imported (`pip install gillespy2 scons`; its C++ solver needs SCons on PYTHONPATH, the
command `scons` on PATH and a compiler), the C loop if there is a compiler. The results are saved as JSON. `--quick`
uses 2,000 instead of 10,000 trajectories, and compares with expm_multiply at t = 1 instead of t = 20.
"""

import ctypes
import importlib.util
import json
import math
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import systems

SCHLOGL = systems.get("schlogl")
END = 20.0
GRID = np.linspace(0, END, 101)

C_SOURCE = r"""
#include <math.h>
#include <stdint.h>

static uint64_t s[4];

static uint64_t rotated(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static double uniform(void) {                       /* xoshiro256+, in (0, 1] */
    const uint64_t result = s[0] + s[3], t = s[1] << 17;
    s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = rotated(s[3], 45);
    return ((result >> 11) + 1) * 0x1.0p-53;
}

long direct_method(long count, uint64_t seed, double c1, double c2, double c3, double c4, long start,
                   const double *grid, long times, double *x) {
    long reactions = 0;
    for (int i = 0; i < 4; i++) { seed += 0x9e3779b97f4a7c15; uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9; z = (z ^ (z >> 27)) * 0x94d049bb133111eb; s[i] = z ^ (z >> 31); }
    for (long i = 0; i < count; i++) {
        double n = start, t = 0;
        long due = 0;
        for (;;) {
            const double a1 = c1 * n * (n - 1) / 2, a2 = c2 * n * (n - 1) * (n - 2) / 6, a3 = c3, a4 = c4 * n;
            const double a0 = a1 + a2 + a3 + a4;
            t -= log(uniform()) / a0;
            while (due < times && grid[due] < t) x[i * times + due++] = n;
            if (due == times) break;
            double u = uniform() * a0;
            if ((u -= a1) <= 0) n += 1;
            else if ((u -= a2) <= 0) n -= 1;
            else if ((u -= a3) <= 0) n += 1;
            else n -= 1;
            reactions++;
        }
    }
    return reactions;
}
"""


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the run time of `work` in seconds, and its result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def plain_python(count: int) -> tuple[int, np.ndarray]:
    """Return the number of reactions and the counts on the grid, by a loop over Python numbers."""
    c1, c2, c3, c4 = (rate for _, rate in SCHLOGL.reactions())
    draw, log, grid = random.Random(0).random, math.log, GRID.tolist()
    reactions, rows = 0, []
    for _ in range(count):
        n, t, row = SCHLOGL.X0, 0.0, []
        while True:
            a1, a2, a4 = c1 * n * (n - 1) / 2, c2 * n * (n - 1) * (n - 2) / 6, c4 * n
            a0 = a1 + a2 + c3 + a4
            t -= log(1 - draw()) / a0
            while len(row) < len(grid) and grid[len(row)] < t:
                row.append(n)
            if len(row) == len(grid):
                break
            u = draw() * a0
            if u < a1:
                n += 1
            elif u < a1 + a2:
                n -= 1
            elif u < a1 + a2 + c3:
                n += 1
            else:
                n -= 1
            reactions += 1
        rows.append(row)
    return reactions, np.array(rows)


def textbook_numpy(end: float) -> tuple[int, None]:
    """Return the number of reactions of one trajectory up to time `end`, by a textbook loop on NumPy arrays."""
    c1, c2, c3, c4 = (rate for _, rate in SCHLOGL.reactions())
    changes = np.array([1, -1, 1, -1])
    rng, x, t, reactions = np.random.default_rng(0), SCHLOGL.X0, 0.0, 0
    while True:
        a = np.array([c1 * x * (x - 1) / 2, c2 * x * (x - 1) * (x - 2) / 6, c3, c4 * x])
        a0 = a.sum()
        t += rng.exponential(1 / a0)
        if t > end:
            return reactions, None
        x += changes[rng.choice(4, p=a / a0)]
        reactions += 1


def plain_c(count: int) -> tuple[int, np.ndarray] | None:
    """Return the number of reactions and the counts on the grid, by the direct method in C; None without compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "direct.c", Path(folder) / "direct.so"
        source.write_text(C_SOURCE)
        subprocess.run([compiler, "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True)
        direct_method = ctypes.CDLL(str(library)).direct_method
    direct_method.restype = ctypes.c_long
    pointer = ctypes.POINTER(ctypes.c_double)
    x = np.empty((count, len(GRID)))
    rates = [ctypes.c_double(rate) for _, rate in SCHLOGL.reactions()]
    grid = np.ascontiguousarray(GRID)
    reactions = direct_method(
        ctypes.c_long(count), ctypes.c_uint64(1), *rates, ctypes.c_long(SCHLOGL.X0),
        grid.ctypes.data_as(pointer), ctypes.c_long(len(grid)), x.ctypes.data_as(pointer),
    )  # fmt: skip
    return reactions, x


def gillespy2_model() -> Any:
    """Return the Schlögl reactions as a gillespy2 model."""
    import gillespy2

    c1, c2, c3, c4 = (rate for _, rate in SCHLOGL.reactions())
    model = gillespy2.Model("schlogl")
    X = gillespy2.Species(name="X", initial_value=SCHLOGL.X0, mode="discrete")
    model.add_species([X])
    formulas = {
        "up": ({}, {X: 1}, f"{c1} * X * (X - 1) / 2"),
        "down": ({X: 1}, {}, f"{c2} * X * (X - 1) * (X - 2) / 6"),
        "source": ({}, {X: 1}, f"{c3}"),
        "sink": ({X: 1}, {}, f"{c4} * X"),
    }
    for name, (reactants, products, formula) in formulas.items():
        model.add_reaction(
            gillespy2.Reaction(name=name, reactants=reactants, products=products, propensity_function=formula)
        )
    model.timespan(gillespy2.TimeSpan.linspace(t=END, num_points=len(GRID)))
    return model


def gillespy2_run(solver: str, count: int) -> float:
    """Return the run time in seconds of a gillespy2 solver, excluding compilation."""
    import gillespy2

    instance = getattr(gillespy2, solver)(model=gillespy2_model())
    if solver == "SSACSolver":
        instance.run(number_of_trajectories=1, seed=1)
    return clock(lambda: instance.run(number_of_trajectories=count, seed=2))[0]


def simulation(*, quick: bool) -> dict[str, dict[str, float]]:
    """Print and return the time per reaction and the mean at t = 10 for each implementation."""
    result: dict[str, dict[str, float]] = {}

    def report(name: str, seconds: float, reactions: float, x: np.ndarray | None) -> None:
        middle = float("nan") if x is None else float(x[:, len(GRID) // 2].mean())
        result[name] = {"seconds": seconds, "reactions": reactions, "ns": 1e9 * seconds / reactions, "mean_10": middle}
        print(
            f"  {name:32} {seconds:7.2f} s {reactions:14.0f} reactions {result[name]['ns']:10.1f} ns each", flush=True
        )

    seconds, (reactions, x) = clock(lambda: plain_python(4 if quick else 30))
    report("plain Python", seconds, reactions, x)
    seconds, (reactions, _) = clock(lambda: textbook_numpy(2.0 if quick else 10.0))
    report("textbook NumPy", seconds, reactions, None)
    count = 200 if quick else 1000
    compiled = plain_c(1)
    if compiled is None:
        print("  plain C: no C compiler found")
        each = mean_reactions()
    else:
        seconds, (reactions, x) = clock(lambda: plain_c(count))
        report("plain C", seconds, reactions, x)
        each = mean_reactions()
    if importlib.util.find_spec("gillespy2") is None:
        print("  gillespy2 is not installed: pip install gillespy2 scons")
    else:
        for solver, count in (("NumPySSASolver", 1), ("SSACSolver", 20 if quick else 200)):
            try:
                report(f"gillespy2 {solver}", gillespy2_run(solver, count), count * each, None)
            except Exception as error:  # noqa: BLE001 - continue if the other library fails
                print(f"  gillespy2 {solver} does not run: {error!r}")
    for count in (200, 2000 if quick else 10_000):
        seconds, data = clock(lambda count=count: SCHLOGL.trajectories(count, time=GRID, seed=0))
        report(f"ours, {count} trajectories", seconds, count * each, data["x"].values[:, :, 0])
    return result


def mean_reactions() -> float:
    """Return the mean number of reactions per trajectory, ∫ E[a₀] dt, from the exact distribution."""
    times = np.linspace(0, END, 2001)
    p = SCHLOGL.law(times)["probability"].values
    total = SCHLOGL.propensities(np.arange(p.shape[1])[:, None]).sum(-1)
    return float(np.trapezoid(p @ total, times))


def exact_law(*, quick: bool) -> dict[str, float]:
    """Return the times of the exact distribution and of sampling from it, and its deviation from expm_multiply."""
    from scipy.sparse.linalg import expm_multiply

    end = 1.0 if quick else END
    equation = SCHLOGL.master_equation()
    law_s, law = min((clock(lambda: SCHLOGL.law(GRID)) for _ in range(5)), key=lambda pair: pair[0])
    p = SCHLOGL.law([end])["probability"].values[0]
    start = np.zeros(len(p))
    start[SCHLOGL.X0] = 1
    generator = equation.Q.T.tocsr()
    sparse_s, other = clock(lambda: expm_multiply(generator * end, start, traceA=end * generator.trace()))
    draw_s, data = clock(lambda: SCHLOGL.trajectories(10_000, time=GRID, seed=0, method="law"))
    mean = float(law["probability"].values[50] @ np.arange(len(p)))
    return {
        "law_all_times_s": law_s,
        "expm_multiply_one_time_s": sparse_s,
        "expm_multiply_time": end,
        "largest_difference": float(abs(p - other).max()),
        "law_mean_10": mean,
        "draw_10000_x_101_s": draw_s,
        "draw_mean_10": float(data["x"].values[:, 50].mean()),
    }


def main() -> None:
    """Print the ratios and save them as JSON."""
    quick = "--quick" in sys.argv
    result: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}, 1 thread",
        "versions": f"Python {platform.python_version()}, numpy {np.__version__}",
    }
    print(f"{result['machine']}\n{result['versions']}\n\nThe Schlögl reactions up to t = {END:g}")
    result["simulation"] = simulation(quick=quick)
    ours = {name: entry for name, entry in result["simulation"].items() if name.startswith("ours")}
    print("\nTime per reaction over ours")
    print("  ".join([f"  {'':32}", *(f"{name:>26}" for name in ours)]))
    for name, entry in result["simulation"].items():
        if name not in ours:
            entry["ratios"] = {mine: entry["ns"] / ours[mine]["ns"] for mine in ours}
            print("  ".join([f"  {name:32}", *(f"{ratio:26.2f}" for ratio in entry["ratios"].values())]))
    print("\nThe exact distribution")
    result["law"] = exact_law(quick=quick)
    for name, value in result["law"].items():
        print(f"  {name:32} {value:.4g}")
    path = Path("results") / "ssa_speed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2))
    print(f"\nsaved {path}")


if __name__ == "__main__":
    main()
