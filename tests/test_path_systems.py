"""Strain paths as data, and the loading programmes that make them."""

import numpy as np
import pytest

import systems
import workbench as wb
from systems.families.paths import PROGRAMMES
from workbench.dataset import COMPONENTS, assign_split, check, kind_of, valid
from workbench.errors import DatasetError

E = np.random.default_rng(0).uniform(-0.1, 0.1, (3, 5, 6))
TENSOR = [[0, 3, 4], [3, 1, 5], [4, 5, 2]]


class Slider(systems.PathSystem):
    """A user's own material: elastic up to a largest stress in every component."""

    strength: float = systems.parameter(0.1, "largest stress", gt=0)

    def respond(self, strain):
        stress = np.zeros_like(strain)
        for t in range(1, strain.shape[-2]):
            trial = stress[..., t - 1, :] + strain[..., t, :] - strain[..., t - 1, :]
            stress[..., t, :] = np.clip(trial, -self.strength, self.strength)
        return {"stress": stress}


def test_own_material_needs_a_response_only():
    data = Slider().paths(4, seed=0)
    assert set(data.data_vars) == {"strain", "stress"}
    assert kind_of(check(data, ["stress"])) == "paths"
    assert float(abs(data.stress).max()) == 0.1


def test_tensors_become_components():
    np.testing.assert_array_equal(wb.dataset.paths(E[..., TENSOR], stress=E[..., TENSOR])["stress"].values, E)
    assert tuple(wb.dataset.paths(E)["component"].values) == COMPONENTS


def test_tensors_must_be_symmetric():
    skew = E[..., TENSOR].copy()
    skew[1, 2, 0, 2] += 0.01
    with pytest.raises(DatasetError, match=r"strain must be symmetric, .* trajectory 1, time 2 .* 13 and 31 differ by"):
        wb.dataset.paths(skew)


def test_components_are_ordered_by_name_or_refused():
    data = wb.dataset.paths(E, stress=2 * E)
    shuffled = data.isel(component=[5, 3, 1, 0, 2, 4])
    assert check(shuffled).identical(data)
    voigt = data.assign_coords(component=["11", "22", "33", "23", "13", "γ12"])
    with pytest.raises(DatasetError, match="paths need the components 11, 22, 33, 12, 13, 23 .*got 11, 22, 33, 23"):
        check(voigt)
    with pytest.raises(DatasetError, match="strain has 4 components, but 6 names given"):
        wb.dataset.paths(E[..., :4])


def test_one_step_is_a_path_but_one_sample_is_none():
    assert wb.dataset.paths(E[:, :2]).sizes["time"] == 2
    with pytest.raises(DatasetError, match="a path needs at least two samples, that is one step"):
        wb.dataset.paths(E[:, :1])


def test_values_that_are_not_finite_are_named():
    broken = E.copy()
    broken[2, 3, 4] = np.nan
    with pytest.raises(
        DatasetError, match=r"strain holds 1 value that .* \{'trajectory': 2, 'time': 3, 'component': '13'\}"
    ):
        wb.dataset.paths(broken)


def test_unequal_lengths_are_held_and_marked():
    strain, fraction = [E[0], E[1, :3], E[2, :2]], [np.arange(n) / 10 for n in (5, 3, 2)]
    data = wb.dataset.paths(strain, stress=strain, phase_fraction=fraction)
    np.testing.assert_array_equal(valid(data).sum(1), [5, 3, 2])
    np.testing.assert_array_equal(data["stress"].values[2], E[2, [0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(valid(data.isel(trajectory=[0, 2])).sum(1), [5, 2])
    with pytest.raises(DatasetError, match=r"stress has paths of \[5, 3, 3\] samples, but strain has \[5, 3, 2\]"):
        wb.dataset.paths(strain, stress=[E[0], E[1, :3], E[2, :3]])
    holes = data.assign_coords(valid=(("trajectory", "time"), valid(data)[:, ::-1]))
    with pytest.raises(DatasetError, match="valid must be true from the start"):
        check(holes)


def test_unequal_lengths_survive_generation_and_files(tmp_path):
    rossi = systems.get("rossi")
    data = rossi.paths(strain=[E[0], E[1, :3], E[2, :2]])
    alone = rossi.paths(strain=E[1:2, :3])
    np.testing.assert_array_equal(data["stress"].values[1, :3], alone["stress"].values[0])
    assert np.all(data["dissipation"].values[~valid(data)] == 0)
    wb.save(tmp_path / "paths.nc", data=data)
    assert check(wb.load(tmp_path / "paths.nc").tree["data"].to_dataset()).drop_attrs().equals(data.drop_attrs())


def test_answers_to_given_strain_are_the_same_each_time():
    rossi = systems.get("rossi")
    data = rossi.paths(strain=E)
    assert data.identical(rossi.paths(strain=E))
    assert "seed" not in data.attrs
    assert rossi.paths(2, cycles=tuple(np.arange(1, 3)), seed=0).attrs["seed"] == "0"


def test_split_keeps_trajectories_whole():
    split = assign_split(wb.dataset.paths(np.tile(E, (4, 1, 1))), np.random.SeedSequence(0))["split"]
    assert split.dims == ("trajectory",)
    assert (split == "validation").sum() == 2


def test_paths_are_no_points():
    with pytest.raises(DatasetError, match="depend on its history and cannot be used as points"):
        wb.dataset.flat(wb.dataset.paths(E))


@pytest.mark.parametrize("loading", PROGRAMMES)
def test_programmes_repeat_and_do_not_depend_on_how_many(loading):
    rossi = systems.get("rossi")
    data = rossi.paths(5, loading=loading, seed=3)
    assert data.identical(rossi.paths(5, loading=loading, seed=3))
    assert not data["strain"].equals(rossi.paths(5, loading=loading, seed=4)["strain"])
    np.testing.assert_array_equal(data["strain"].values[:2], rossi.paths(2, loading=loading, seed=3)["strain"].values)
    assert not data["strain"].values[:, 0].any()


def test_sawtooth_turns_where_it_should():
    time = np.arange(13) / 12
    data = systems.get("rossi").paths(50, cycles=(3, 3), time=time, seed=0)
    E11 = data["strain"].values[..., 0]
    assert (np.abs(E11[:, 1::2]) >= 0.1).all()
    assert (np.abs(E11[:, 1::2]) <= 0.25).all()
    np.testing.assert_array_equal(np.sign(E11[:, 1::2]), np.tile([1, -1], (50, 3)))
    np.testing.assert_allclose(E11[:, 2:-1:2], (E11[:, 1:-2:2] + E11[:, 3::2]) / 2, atol=1e-15)
    np.testing.assert_allclose(E11[:, [0, -1]], 0, atol=1e-15)
    assert not data["strain"].values[..., 1:].any()


def test_compression_returns_to_zero():
    E11 = systems.get("rossi").paths(50, loading="compression", cycles=(2, 2), time=np.arange(5) / 4, seed=0)["strain"]
    E11 = E11.values[..., 0]
    assert not E11[:, ::2].any()
    assert ((E11[:, 1::2] <= -0.1) & (E11[:, 1::2] >= -0.25)).all()


def test_random_turns_have_the_amplitude_asked_for():
    data = systems.get("rossi").paths(200, loading="random", cycles=(2, 2), time=np.arange(5) / 4, seed=0)
    size = np.sqrt((data["strain"].values[:, 1:] ** 2) @ [1, 1, 1, 2, 2, 2])
    assert size.min() >= 0.1 - 1e-12
    assert size.max() <= 0.25 + 1e-12
    mean = (data["strain"].values[:, 1:] / size[..., None]).mean((0, 1))
    np.testing.assert_allclose(mean, 0, atol=4 / np.sqrt(6 * 800))


def test_uniaxial_along_any_axis():
    data = systems.get("rossi").paths(3, axis=(0.0, 3.0, 4.0), seed=0)
    T = data["strain"].values[..., TENSOR]
    np.testing.assert_allclose(
        T @ [0.0, 0.6, 0.8], T.trace(axis1=-2, axis2=-1)[..., None] * [0.0, 0.6, 0.8], atol=1e-15
    )
    np.testing.assert_allclose(T @ [1.0, 0.0, 0.0], 0, atol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be an integer >= 1, got 0"),
        ({"count": 10**10}, "need at least .* GiB; request fewer"),
        ({}, "paths needs a count of paths to draw, or strain="),
        ({"count": 1, "strain": E}, "not both"),
        ({"count": 1, "samples": 1}, "samples must be an integer >= 2, got 1"),
        ({"count": 1, "loading": "saw"}, "loading must be one of sawtooth, compression, random, got 'saw'"),
        ({"count": 1, "axis": (0, 0, 0)}, "axis must be a vector of three numbers that are not all zero"),
        ({"count": 1, "cycles": (0, 2)}, "cycles must be a range of integers >= 1"),
        ({"count": 1, "cycles": 3}, r"cycles must be a range of integers >= 1, such as \(1, 4\), got 3"),
        ({"count": 1, "amplitude": 0.1}, "amplitude must be a range of positive strains"),
        ({"count": 1, "time": 0.5}, "a path needs at least two samples"),
        ({"count": 1, "time": []}, "time must be finite, not negative, and strictly increasing"),
        ({"count": 1, "amplitude": (0.2, 0.1)}, "amplitude must be a range of positive strains"),
        ({"count": 1, "time": [0.0, 2.0, 1.0]}, "time must be finite, not negative, and strictly increasing"),
        ({"count": 1, "seed": -1}, "seed must be an integer"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        systems.get("rossi").paths(**options)
