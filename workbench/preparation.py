"""Data and model as a fit sees them: checked, matched by name, split; a density on its support."""

from collections.abc import Iterable, Mapping

import numpy as np
import xarray as xr

from workbench import dataset
from workbench.errors import DatasetError
from workbench.objectives import DENSITY, TRAJECTORY, check_matched
from workbench.potentials.lse_icnn import LSEICNN
from workbench.potentials.support import Support
from workbench.shooting import check_trajectories

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


def _as_density(model: LSEICNN, data: xr.Dataset, support: Support | None, prior: float) -> tuple[LSEICNN, xr.Dataset]:
    """Return the model on its support, and the data as points in its states; refuse what cannot be."""
    if support is None:
        raise ValueError("match='density' needs a support, such as support=wb.Support({'x1': (-3, 3)})")
    if not (0 <= prior < np.inf):
        raise ValueError(f"prior must be finite and >= 0, got {prior!r}")
    if "time" in model.states and "time" in data.dims:
        data = dataset.timed(data)
    if data.sizes["state"] != model.dim:
        raise DatasetError(f"the data have {data.sizes['state']} states, the model dim = {model.dim}")
    model = model.like(members=model.members)
    if model.states == tuple(f"x{i + 1}" for i in range(model.dim)):
        model.states = tuple(map(str, data["state"].values))
    data = dataset.with_states(data, model.states)
    missing = set(support.states) - set(model.states)
    if missing:
        raise ValueError(f"the support names {sorted(missing)}; the model has the states {model.states}")
    samples = dataset.flat(data)
    support.check(samples.isel(sample=(samples["split"] != "test").values))
    model.support = support
    return model, data
