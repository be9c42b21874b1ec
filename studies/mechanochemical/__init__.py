"""Mechanochemical: the energy of a cubic–tetragonal crystal from its derivatives."""

from studies.mechanochemical import study as study
