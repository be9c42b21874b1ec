"""Materials with a history: what a material is, generalised play, state NODEs, invariants."""
