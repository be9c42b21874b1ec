"""A match of one's own: differences of the potential between pairs of points, ψ(x) − ψ(partner)."""

from typing import ClassVar

import numpy as np

import workbench as wb


class Differences(wb.match.Quantity):
    """The data hold ``partner(sample, state)`` and ``differences(sample)`` beside ``x(sample, state)``."""

    rule: ClassVar[str] = "potential"

    @property
    def needs(self):
        return ("partner", "differences")

    def inputs(self, samples):
        return np.stack([samples["x"].values, samples["partner"].values], 1)

    def predicted(self, model, pairs):
        return model.value(pairs[:, 0]) - model.value(pairs[:, 1])
