"""Energy landscapes Ψ(x): the interface of a potential, the LSE-ICNN, and potentials composed of others."""
