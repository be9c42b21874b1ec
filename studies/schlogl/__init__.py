"""Schlögl: the evolving density of a bistable reaction network."""

from studies.schlogl import study as study
