"""History-dependent materials: the base class, generalised play, state NODEs and invariants."""
