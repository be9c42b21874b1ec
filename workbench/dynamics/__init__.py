"""Dynamics on a landscape: gradient flow, overdamped Langevin dynamics, first passages."""
