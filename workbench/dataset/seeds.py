"""Seeds of random number generators: exact integers, recorded as text."""

from typing import Any

import numpy as np

__all__ = ["seed_sequence", "seed_text"]


def seed_sequence(seed: Any) -> np.random.SeedSequence:
    """Return the seed sequence of an integer.

    Parameters
    ----------
    seed : int, numpy.random.SeedSequence or None
        An integer ≥ 0 of any size; a seed sequence is returned unchanged, and None draws fresh entropy.

    Returns
    -------
    numpy.random.SeedSequence
        Its `entropy` is the integer to record; see `seed_text`.

    Raises
    ------
    ValueError
        If `seed` is neither.

    Examples
    --------
    >>> seed_sequence(2**64 + 1).entropy
    18446744073709551617
    """
    if isinstance(seed, np.random.SeedSequence):
        return seed
    integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool | np.bool_)
    if seed is not None and not (integer and seed >= 0):
        raise ValueError(f"seed must be an integer >= 0 or None, got {seed!r}")
    return np.random.SeedSequence(seed if seed is None else int(seed))


def seed_text(sequence: np.random.SeedSequence) -> str:
    """Return the text that identifies a seed sequence.

    Parameters
    ----------
    sequence : numpy.random.SeedSequence
        A seed sequence, possibly spawned from another.

    Returns
    -------
    str
        The entropy, followed by the spawn keys, if any: "7" or "7/0/2".

    Examples
    --------
    >>> seed_text(np.random.SeedSequence(7).spawn(3)[2])
    '7/2'
    """
    return "/".join(map(str, (sequence.entropy, *sequence.spawn_key)))
