"""Wells: three 1-D functions with two, four and three wells."""

from studies.wells import study as study
