"""Calibration of the ensemble spread as an error bar: barrier and splitting point of the gene circuit.

For every seed, new data of the study's covering design are drawn and an ensemble is fitted. A quantity is covered if
the true value lies within two standard deviations of the mean of the members. The members share their data, so that
their spread measures the uncertainty due to initialisation and optimisation, not that due to the data. With k members
the standard deviation is itself uncertain: if the errors of the members were independent and normally distributed
about the true value, the coverage would be P(|t| ≤ 2 √k) for Student's t with k − 1 degrees of freedom; this value is
printed for comparison.

    python benchmarks/coverage.py [SEEDS [MEMBERS [STEPS [FIRST]]]]    default: 20 seeds from 1000, 3 members, 60 steps
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

FIRST = 1000  # first seed; these seeds are used nowhere else
TRUE = {"barrier": 0.154710562700, "split": (0.359530158 - 0.1) / 0.9}


def answers(seed: int, members: int, steps: int) -> dict[str, np.ndarray]:
    """Return the barrier and the symmetrised splitting point b, each of shape (member,), for the data of one seed."""
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
    """Discard a progress report."""


def main() -> None:
    """Print error and spread for every seed, and the coverage."""
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
            print(f"{seed}: analysis failed, counted as not covered: {error}")
            found = {name: np.full(members, np.nan) for name in TRUE}
        for name, values in found.items():
            off, spread = abs(values.mean() / TRUE[name] - 1), values.std(ddof=1) / TRUE[name]
            covered[name].append(bool(off <= 2 * spread))
            line.append(f"{name}: error {off:.1e}, spread {spread:.1e}, {'covered' if off <= 2 * spread else 'missed'}")
        print(f"{seed}: {'; '.join(line)}; {time.perf_counter() - began:.0f} s", flush=True)
    ideal = 1 - 2 * student.sf(2 * np.sqrt(members), members - 1)
    for name, hits in covered.items():
        print(f"{name}: {sum(hits)} of {len(hits)} covered; {ideal:.0%} expected for independent, unbiased members")


if __name__ == "__main__":
    main()
