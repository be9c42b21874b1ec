"""Subsamples for the first steps of a fit to many samples: cheap while any few thousand samples show the way.

With n samples, more than twice n₀, the first steps use n₀ of them, drawn at random, and later ones 4n₀, 16n₀, … up to
all n. Each subsample is given so many steps that all of them cost about the same. The held-out samples are always all.
"""

import numpy as np

from workbench.losses.problem import Problem

__all__ = ["drawn", "sizes", "steps_with"]

FIRST = 4096  # n₀, samples
PER_PARAMETER = 4  # smallest n₀ for every parameter
GROWTH = 4
FEWEST_STEPS = 10  # with any subsample
BRANCH = 2**31 + 1  # of the seed of a start


def sizes(problem: Problem) -> list[int]:
    """Return the sizes of the subsamples in turn, the last of which is all samples; [0] if a part makes no sense.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> sizes(SimpleNamespace(sample_count=80000, vector=lambda: range(634)))
    [4096, 16384, 80000]
    """
    count = problem.sample_count or 0
    first = max(FIRST, PER_PARAMETER * len(problem.vector()))
    parts = [first * GROWTH**k for k in range(32)]
    return [*(size for size in parts if 2 * size < count), count]


def steps_with(size: int, first: int, steps: int) -> int:
    """Return the largest number of steps with a subsample, if the first one has `steps`.

    Examples
    --------
    >>> [steps_with(size, 4096, 200) for size in (4096, 16384, 80000)]
    [200, 50, 10]
    """
    return steps if size == first else min(steps, max(FEWEST_STEPS, steps * first // size))


def drawn(problem: Problem, size: int, seed: np.random.SeedSequence) -> Problem:
    """Return the problem of a random subsample of this size."""
    if size == (problem.sample_count or 0):
        return problem
    branch = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, BRANCH, size))
    return problem.subset(size, np.random.default_rng(branch))
