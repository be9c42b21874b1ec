"""Schlögl: the evolving probability density of a bistable reaction network."""

from studies.schlogl import study as study
