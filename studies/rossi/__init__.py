"""Rossi: a two-phase material with hysteresis, learned from stress along strain paths."""

from studies.rossi import study as study
