"""Data and model as a fit sees them: checked, matched by name, split; a density on its support."""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.losses.likelihood import _as_density
from workbench.losses.match import DENSITY, TRAJECTORY, check_matched
from workbench.losses.shooting import check_trajectories
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.support import Support

__all__ = ["prepared"]


def prepared(
    model: LSEICNN,
    data: xr.Dataset,
    match: Mapping[str, float],
    shuffle: np.random.SeedSequence,
    *,
    held_out: float,
    support: Support | None,
    prior: float,
) -> tuple[LSEICNN, xr.Dataset]:
    """Return the data as the fit sees them, checked and split, and the model with a support if it is to have one."""
    data = dataset.check(data)
    if DENSITY in match:
        return _as_density(model, dataset.assign_split(data, shuffle, held_out), support, prior)
    if support is not None or prior:
        raise ValueError("support and prior belong to match='density'")
    needs: Iterable[str] = () if TRAJECTORY in match else match
    if TRAJECTORY in match:
        check_trajectories(data, match, model.dim)
    else:
        check_matched(data, match, model.dim)
    if model.states != tuple(f"x{i + 1}" for i in range(model.dim)):
        data = dataset.with_states(data, model.states)
    return model, dataset.assign_split(dataset.check(data, needs), shuffle, held_out)
