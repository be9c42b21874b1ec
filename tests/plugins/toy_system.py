"""A system of one's own: a bead in a tilted double well, in nanometres, kJ/mol and picoseconds."""

import systems


@systems.register("toy_bead")
class Bead(systems.PotentialSystem):
    """Two wells at ±1 nm."""

    state_space = (systems.State("r", "position", unit="nm", box=(-2, 2)),)
    potential_unit = "kJ/mol"
    time_unit = "ps"
    tilt: float = systems.parameter(0.2, "slope at the origin", unit="kJ/mol/nm")

    def potential(self, x):
        return ((x**2 - 1) ** 2 + self.tilt * x).sum(-1)
