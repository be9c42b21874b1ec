"""Bitwise comparison of two result files, variable by variable."""

import numpy as np
import xarray as xr

__all__ = ["differences", "first_difference"]


def differences(before: xr.DataTree, after: xr.DataTree) -> tuple[int, dict[str, float]]:
    """Compare all variables of two trees bitwise.

    Returns
    -------
    compared : int
        Number of variables.
    different : dict of str to float
        The largest absolute difference of each variable that is not bitwise equal; infinite if it is missing, of
        another shape or not numerical. Wall-clock times are not compared.
    """
    compared, different = 0, {}
    mine, theirs = (_variables(tree) for tree in (before, after))
    for path in sorted(mine.keys() | theirs.keys()):
        compared += 1
        one, other = mine.get(path), theirs.get(path)
        if one is not None and other is not None and (one.equals(other) or "wall_clock" in one.attrs):
            continue
        different[path] = np.inf
        if one is not None and other is not None and one.shape == other.shape and one.dtype.kind == "f":
            gap = np.abs(one.values - other.values)
            same = (one.values == other.values) | (np.isnan(one.values) & np.isnan(other.values))
            different[path] = float(np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap)).max())
    return compared, different


def first_difference(tree: xr.DataTree, other: xr.DataTree) -> str:
    """Return the path of the first group that differs, or an empty string."""
    theirs = {node.path: node.to_dataset() for node in other.subtree}
    for node in tree.subtree:
        if node.path not in theirs or not node.to_dataset().identical(theirs[node.path]):
            return node.path
    return ""


def _variables(tree: xr.DataTree) -> dict[str, xr.Variable]:
    """Return all variables by path."""
    return {
        f"{node.path}/{name}".replace("//", "/"): variable
        for node in tree.subtree
        for name, variable in node.to_dataset().variables.items()
    }
