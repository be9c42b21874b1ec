"""Mechanochemical: the free energy of a cubic–tetragonal crystal, learned from its derivatives."""

from studies.mechanochemical import study as study
