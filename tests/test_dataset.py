"""The data format: data are checked, converted and labelled."""

import numpy as np
import pytest
import xarray as xr

import workbench as wb
from workbench.dataset import assign_split, check, flat, seed_sequence
from workbench.errors import DatasetError


def test_points_are_labelled_float64():
    data = wb.dataset.points(np.arange(6, dtype=np.int32).reshape(3, 2), gradient=np.ones((3, 2), dtype=">f4"))
    assert data["x"].dims == ("sample", "state")
    assert data["x"].dtype == data["gradient"].dtype == np.dtype("float64")
    assert list(data["state"].values) == ["x1", "x2"]
    assert all("long_name" in data[name].attrs and "units" not in data[name].attrs for name in data.data_vars)
    assert all(dim in data.coords for dim in data.dims)


def test_one_dimension_needs_no_extra_axis():
    data = wb.dataset.points(np.linspace(0, 1, 4), gradient=np.ones(4))
    assert data["x"].shape == data["gradient"].shape == (4, 1)


def test_dimensions_are_transposed_by_name():
    data = wb.dataset.points(np.arange(6.0).reshape(3, 2), potential=np.arange(3.0))
    turned = check(data.transpose("state", "sample"))
    xr.testing.assert_identical(turned, data)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (
            [[0.0, np.nan], [1.0, 2.0]],
            {},
            r"x holds 1 value that is not finite, the first at \{'sample': 0, 'state': 'x2'\}",
        ),
        (np.ma.masked_greater(np.arange(4.0), 2), {}, "not finite"),
        (np.zeros((3, 2)), {"gradient": np.zeros((2, 2))}, "do not fit together"),
        (np.zeros((3, 2, 2)), {}, r"x has shape \(3, 2, 2\); expected 2 axes: \(sample, state\)"),
        (np.zeros((3, 2)), {"states": ["a"]}, "2 components, but 1 name given"),
        (np.zeros((0, 2)), {}, "x is empty"),
        (np.zeros((3, 2)), {"states": ["a", "a"]}, "two components are named 'a': a, a; names must be unique"),
        (
            np.zeros((3, 2)),
            {"split": ["train", "trian", "test"]},
            r"split holds 'trian', did you mean 'train'\? known:",
        ),
        (np.zeros((3, 2)), {"sigma": [1.0, 0.0, 1.0]}, "sigma must be positive"),
    ],
)
def test_bad_points_are_refused(x, options, message):
    with pytest.raises(DatasetError, match=message):
        wb.dataset.points(x, **options)


def test_noise_is_a_number_or_per_sample_or_per_component():
    x = np.ones((3, 2))
    for sigma in (0.1, np.full(3, 0.1), np.full((3, 2), 0.1)):
        data = wb.dataset.points(x, gradient=x, sigma=sigma, weight={"gradient": 2.0})
        assert (data["sigma"] == 0.1).all()
        assert (data["weight_gradient"] == 2).all()


def test_bad_datasets_are_refused():
    data = wb.dataset.points(np.zeros((3, 2)), potential=np.zeros(3))
    with pytest.raises(DatasetError, match=r"no 'gradient'.*They hold: potential, x"):
        check(data, ["gradient"])
    with pytest.raises(DatasetError, match=r"did you mean 'potential'\?"):
        check(data, ["potentail"])
    with pytest.raises(DatasetError, match=r"expected \(sample, state\) or \(trajectory, time, state\)"):
        check(data.rename(sample="row"))
    with pytest.raises(DatasetError, match=r"choose one along 'case' with data.isel\(case=0\)"):
        check(data.expand_dims(case=2))
    runs = wb.dataset.trajectories(np.zeros((2, 3, 1)), [0.0, 1.0, 2.0]).rename(trajectory="cell", time="hours")
    with pytest.raises(DatasetError, match=r"such as data.rename\(cell='trajectory', hours='time'\)$"):
        check(runs)
    assert check(runs.rename(cell="trajectory", hours="time")).sizes["trajectory"] == 2
    with pytest.raises(DatasetError, match="expected an xarray.Dataset, got ndarray"):
        check(np.zeros((3, 2)))
    with pytest.raises(DatasetError, match=r"potential has dimensions \('state',\); expected \('sample',\)"):
        check(data.assign(potential=("state", [0.0, 1.0])))


def with_hessian(dims=("state", "sample", "other"), dtype="float32", **options):
    """Return points with a quantity of the user's own."""
    sizes = {"state": 2, "sample": 3, "other": 2}
    data = wb.dataset.points(np.zeros((3, 2)))
    return data.assign(hessian=(dims, np.ones([sizes[dim] for dim in dims], dtype)), **options)


@pytest.mark.parametrize("kind", ["sigma", "weight"])
@pytest.mark.parametrize("dims", [("sample",), ("state", "sample"), ("other", "sample", "state")])
def test_own_quantities_are_kept_with_their_noise(kind, dims):
    sizes = {"state": 2, "sample": 3, "other": 2}
    noise = {f"{kind}_hessian": (dims, np.full([sizes[dim] for dim in dims], 2, "float32"))}
    data = check(with_hessian(dtype="int32", **noise))
    assert data["hessian"].dims == ("sample", "state", "other")
    assert data[f"{kind}_hessian"].dims == tuple(d for d in ("sample", "state", "other") if d in dims)
    assert data["hessian"].dtype == data[f"{kind}_hessian"].dtype == np.float64
    with pytest.raises(DatasetError, match=f"{kind}_hessian must be positive"):
        check(data.assign({f"{kind}_hessian": -data[f"{kind}_hessian"]}))


def test_own_quantities_are_in_order_and_finite_where_needed():
    data = check(with_hessian())
    assert data["hessian"].dims == ("sample", "state", "other")
    assert data["hessian"].dtype == np.float64
    gap = data.assign(hessian=data["hessian"].where(data["sample"] > 0))
    check(gap)  # a remark of the user's, which nothing uses
    for use in (lambda: check(gap, ["hessian"]), lambda: check(gap.assign(weight_hessian=("sample", np.ones(3))))):
        with pytest.raises(DatasetError, match="hessian holds 4 values that are not finite, the first at"):
            use()
    with pytest.raises(DatasetError, match=r"hessian has dimensions \('state', 'other'\); expected \('sample', "):
        check(with_hessian(("state", "other")), ["hessian"])
    with pytest.raises(DatasetError, match="hessian must hold numbers, got <U"):
        check(data.assign(hessian=("sample", ["a", "b", "c"])), ["hessian"])
    with pytest.raises(DatasetError, match="sigma_hesian refers to no known quantity, did you mean 'hessian'"):
        check(data.assign(sigma_hesian=("sample", np.ones(3))))
    named = data.assign(cell=("sample", [3, 1, 2]), name=("sample", ["a", "b", "c"]))
    assert check(named)["cell"].dtype.kind == "i"


def test_times_increase():
    with pytest.raises(DatasetError, match="time must increase strictly"):
        wb.dataset.trajectories(np.zeros((2, 3, 1)), [0.0, 2.0, 1.0])


def test_flat_keeps_values_and_split():
    runs = wb.dataset.trajectories(np.arange(12.0).reshape(2, 3, 2), [0, 1, 2])
    runs = runs.assign_coords(split=("trajectory", ["train", "validation"]))
    samples = flat(runs)
    assert samples["x"].values.tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert samples["split"].values.tolist() == ["train"] * 3 + ["validation"] * 3


def test_split_holds_out_whole_trajectories_and_respects_given_labels():
    runs = wb.dataset.trajectories(np.zeros((10, 3, 1)), [0, 1, 2])
    split = assign_split(runs, seed_sequence(0), 0.3)["split"]
    assert split.dims == ("trajectory",)
    assert (split == "validation").sum() == 3
    each = assign_split(runs, seed_sequence(0), 0.3, whole=False)["split"]
    assert each.dims == ("trajectory", "time")
    assert (each == "validation").sum() == 9
    given = runs.assign_coords(split=("trajectory", ["train"] * 8 + ["validation", "test"]))
    assert assign_split(given, seed_sequence(0)) is given
    with pytest.raises(DatasetError, match="split must contain 'train'"):
        assign_split(runs.assign_coords(split=("trajectory", ["tran"] * 10)), seed_sequence(0))
    with pytest.raises(DatasetError, match="only 1 trajectory: at least 2 are needed"):
        assign_split(runs.isel(trajectory=[0]), seed_sequence(0))


@pytest.mark.parametrize("seed", [-1, "7", True, 1.5])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer >= 0 or None"):
        seed_sequence(seed)


def test_seeds_are_kept_exactly():
    assert seed_sequence(2**64 + 1).entropy == 2**64 + 1
    assert seed_sequence(None).entropy != seed_sequence(None).entropy


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.array(["2020-01-01", "2020-01-02"], dtype="M8[ns]"), r"times must be numbers, got datetime64\[ns\]"),
        (np.array([0.0, np.inf]), "times must be finite"),
    ],
)
def test_times_that_are_no_finite_numbers_are_refused(time, message):
    bare = xr.Dataset({"x": (("trajectory", "time", "state"), np.ones((2, 2, 1)))}, {"time": time})
    with pytest.raises(DatasetError, match=message):
        check(bare)
