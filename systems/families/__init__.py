"""Families of systems, which turn an author's formula into data: potentials, strain paths, reaction networks."""
