"""Two result files compared, variable by variable, to the last bit."""

import numpy as np
import xarray as xr

__all__ = ["differences"]


def differences(before: xr.DataTree, after: xr.DataTree) -> tuple[int, dict[str, float]]:
    """Return the number of variables and, for each that is not equal to the last bit, its largest difference."""
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


def _variables(tree: xr.DataTree) -> dict[str, xr.Variable]:
    return {
        f"{node.path}/{name}".replace("//", "/"): variable
        for node in tree.subtree
        for name, variable in node.to_dataset().variables.items()
    }
