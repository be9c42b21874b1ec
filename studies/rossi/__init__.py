"""Rossi: a two-phase material with hysteresis."""

from studies.rossi import study as study
