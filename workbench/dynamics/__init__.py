"""Dynamics on a landscape: gradient flow, overdamped Langevin dynamics and first-passage times."""
