"""Families, what turns an author's formula into data: potentials, paths, reactions."""
