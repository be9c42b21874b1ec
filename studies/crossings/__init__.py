"""Crossings: wells, paths and rates of the Müller–Brown surface, learned from gradients."""

from studies.crossings import study as study
