"""Wells: three functions of one variable with two, four and three wells."""

from studies.wells import study as study
