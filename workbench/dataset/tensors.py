"""Symmetric tensors as six numbers: the order of their components, and what the shear components count."""

__all__ = ["COLUMNS", "COMPONENTS", "FULL", "ROWS", "SHEAR"]

COMPONENTS = ("11", "22", "33", "12", "13", "23")

SHEAR = (1.0, 1.0, 1.0, 2.0, 2.0, 2.0)  # how often each component occurs in the tensor
ROWS = [int(label[0]) - 1 for label in COMPONENTS]
COLUMNS = [int(label[1]) - 1 for label in COMPONENTS]
FULL = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]
