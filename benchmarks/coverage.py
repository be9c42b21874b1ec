"""Is the spread of an ensemble an honest error bar? The gene circuit's barrier and split, learned over and over.

Every seed draws new data of the study's covering design and fits an ensemble. A number is covered where the truth lies
within two standard deviations of the members' mean. The fits share their data, so that the spread holds what start and
descent leave open, and not what other data would give. With k members the deviation is itself uncertain: were the
members' errors independent and normal about the truth, the share would be that of |t| ≤ 2 √k for Student's t of k − 1
degrees of freedom, which is printed beside.

    python benchmarks/coverage.py [SEEDS [MEMBERS [STEPS [FIRST]]]]      20 seeds from 1000 on, 3 members, 60 steps
"""

import platform
import sys
import time

import numpy as np
import torch
from scipy.stats import t as student

import studies
import systems
import workbench as wb
from studies.gene_circuit.questions import ask, first_split
from studies.gene_circuit.study import CASES
from workbench.errors import LandscapeError

FIRST = 1000  # of the seeds: none that is used elsewhere
TRUE = {"barrier": 0.154710562700, "split": (0.359530158 - 0.1) / 0.9}


def answers(seed: int, members: int, steps: int) -> dict[str, np.ndarray]:
    """Return barrier and b of the symmetrised split, shape (member,), of ensembles fitted to the data of a seed."""
    for_data, for_fits = np.random.SeedSequence(seed).spawn(2)
    study = studies.get("gene_circuit")
    truth = {case: systems.get("gene_circuit", b=b) for case, b in CASES.items()}
    data = study._data(truth, for_data)["cover"]
    model = wb.LSEICNN(dim=2, modes=study.modes, hidden=study.hidden)
    how = {"members": members, "restarts": 1, "optimiser": wb.LevenbergMarquardt(steps=steps, patience=100)}
    how["progress"] = False
    fits = {
        case: wb.fit(model, data.sel(case=case, drop=True), match="velocity", seed=own, **how)
        for case, own in zip(CASES, for_fits.spawn(len(CASES)), strict=True)
    }
    fair = [wb.Symmetrised(fits[case].ensemble, truth[case].symmetry) for case in CASES]
    plain = wb.Blend(*(fits[case].ensemble for case in CASES), wb.Logistic(rate=0.7, start=0.01))
    symmetrised = wb.Blend(*fair, wb.Logistic(rate=0.7, start=0.01))
    return {
        "barrier": ask("paths", plain, 2, _silent)["barrier"].sel(way="forward").values,
        "split": first_split(ask("branches", symmetrised, 2, _silent)),
    }


def _silent(done: int, total: int, text: str) -> None:
    """Take a report, and keep it."""


def main() -> None:
    """Print every seed's mean, spread and error, and the shares that are covered."""
    torch.set_num_threads(1)
    given = [int(text) for text in sys.argv[1:]]
    seeds, members, steps, first = (*given, *(20, 3, 60, FIRST)[len(given) :])
    print(f"{platform.platform()}, torch {torch.__version__}, 1 thread; {members} members, {steps} steps")
    covered: dict[str, list[bool]] = {name: [] for name in TRUE}
    for seed in range(first, first + seeds):
        began, line = time.perf_counter(), []
        try:
            found = answers(seed, members, steps)
        except LandscapeError as error:
            print(f"{seed}: no answer, counted as not covered: {error}")
            found = {name: np.full(members, np.nan) for name in TRUE}
        for name, values in found.items():
            off, spread = abs(values.mean() / TRUE[name] - 1), values.std(ddof=1) / TRUE[name]
            covered[name].append(bool(off <= 2 * spread))
            line.append(f"{name} off by {off:.1e}, spread {spread:.1e}, {'covered' if off <= 2 * spread else 'missed'}")
        print(f"{seed}: {'; '.join(line)}; {time.perf_counter() - began:.0f} s", flush=True)
    ideal = 1 - 2 * student.sf(2 * np.sqrt(members), members - 1)
    for name, hits in covered.items():
        print(f"{name}: {sum(hits)} of {len(hits)} covered; {ideal:.0%} were the members independent about the truth")


if __name__ == "__main__":
    main()
