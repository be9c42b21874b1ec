"""Potentials: what a landscape Ψ(x) is, the LSE-ICNN, and what is composed of potentials."""
