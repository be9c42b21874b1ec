"""One interface for every potential: learned, exact, summed, symmetrised, blended."""

import numpy as np
import pytest
import torch
from conftest import random_model

import systems
import workbench as wb

WEAK, STRONG = systems.get("gene_circuit", b=0.1), systems.get("gene_circuit", b=1.0)
BLEND = wb.Blend(WEAK, STRONG, wb.Logistic(rate=0.7, start=0.01))
POTENTIALS = {
    "exact": STRONG,
    "learned": random_model(0),
    "sum": wb.WeightedSum([random_model(0), STRONG], [0.3, 0.7]),
    "symmetrised": wb.Symmetrised(random_model(0), [(1, 0)]),
    "symmetrised in 3-D": wb.Symmetrised(random_model(1, dim=3), [(1, 2, 0)]),
    "symmetrised by rotations": wb.Symmetrised(random_model(0), [[[0, -1], [1, 0]]]),
    "at b": BLEND.at(b=0.4),
    "at t": wb.Blend(random_model(0), random_model(1), wb.Ramp(0.0, 10.0)).at(time=3.0),
}


@pytest.mark.parametrize("potential", POTENTIALS.values(), ids=POTENTIALS)
def test_interface(potential):
    assert isinstance(potential, wb.Potential)
    dim = len(potential.states)
    array = np.random.default_rng(0).uniform(0.1, 2, (4, 3, dim))
    x = torch.as_tensor(array).requires_grad_()
    value, gradient, hessian = potential.value(x), potential.gradient(x), potential.hessian(x)
    assert value.shape == (4, 3)
    (by_autograd,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-10, atol=1e-11)
    rows = [torch.autograd.grad(gradient[..., k].sum(), x, retain_graph=True)[0] for k in range(dim)]
    torch.testing.assert_close(hessian, torch.stack(rows, -2), rtol=1e-10, atol=1e-10)
    for name in ("value", "gradient", "hessian"):
        result = getattr(potential, name)(array)
        assert isinstance(result, np.ndarray)
        expected = getattr(potential, name)(x.detach()).detach().numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-13 * np.abs(expected).max())
    with pytest.raises(ValueError, match="expected"):
        potential.value(np.zeros((2, dim + 1)))


def test_blend_is_the_circuit_in_between():
    x = np.random.default_rng(0).uniform(0, 2, (50, 2))
    for t in (0.0, 5.0, 15.0):
        b = 1 / (1 + 99 * np.exp(-0.7 * t))
        between = systems.get("gene_circuit", b=0.1 + 0.9 * b)
        np.testing.assert_allclose(BLEND.value(x, t), between.value(x), rtol=1e-13)
        np.testing.assert_allclose(BLEND.gradient(x, t), between.gradient(x), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(BLEND.hessian(x, t), BLEND.at(b=b).hessian(x), rtol=1e-13)


def test_symmetrised_is_invariant_and_leaves_the_symmetric_alone():
    x = np.random.default_rng(0).uniform(-1, 3, (20, 3))
    symmetric = wb.Symmetrised(random_model(1, dim=3), [(1, 2, 0)])
    assert len(symmetric.group) == 3
    np.testing.assert_allclose(symmetric.value(x), symmetric.value(x[:, [1, 2, 0]]), rtol=1e-13)
    np.testing.assert_allclose(
        symmetric.gradient(x)[:, [1, 2, 0]], symmetric.gradient(x[:, [1, 2, 0]]), rtol=1e-12, atol=1e-13
    )
    assert len(wb.Symmetrised(random_model(1, dim=3), [(1, 2, 0), (1, 0, 2)]).group) == 6
    rotated = wb.Symmetrised(random_model(0), [[[0, -1], [1, 0]]])
    assert len(rotated.group) == 4
    np.testing.assert_allclose(rotated.value(x[:, :2]), rotated.value(x[:, [1, 0]] * [-1, 1]), rtol=1e-13)
    y = x[:, :2]
    np.testing.assert_allclose(wb.Symmetrised(STRONG, [(1, 0)]).hessian(y), STRONG.hessian(y), rtol=1e-12)


def test_ensembles_compose():
    ensemble = random_model(0, members=3)
    x = np.random.default_rng(0).uniform(0, 2, (5, 2))
    both = wb.WeightedSum([ensemble, STRONG], [1.0, 1.0])
    assert both.members == 3
    np.testing.assert_allclose(both.gradient(x), ensemble.gradient(x) + STRONG.gradient(x), rtol=1e-12)
    assert wb.Symmetrised(ensemble, [(1, 0)]).hessian(x).shape == (3, 5, 2, 2)
    for whole in (both, wb.Symmetrised(ensemble, [(1, 0)])):
        np.testing.assert_allclose(whole.member(1).value(x), whole.value(x)[1], rtol=1e-12)
        assert set(wb.stationary_points(whole, within=[(-1, 3)] * 2, starts=16)["member"].values) <= {0, 1, 2}


def test_the_parameter_of_a_blend_has_a_name():
    ramp = wb.Ramp(0.0, 10.0)
    loaded = wb.Blend(WEAK, STRONG, ramp, parameter="load")
    assert (loaded.parameter, BLEND.parameter) == ("load", "b")
    assert repr(loaded) == f"Blend({WEAK!r}, {STRONG!r}, {ramp!r}, parameter='load')"
    x = [0.3, 1.2]
    assert loaded.at(load=0.25).value(x) == loaded.at(time=2.5).value(x) == BLEND.at(b=0.25).value(x)
    with pytest.raises(ValueError, match="the parameter of this blend is called load, got b=…"):
        loaded.at(b=0.25)
    with pytest.raises(ValueError, match="expected either load=… or time=…, got both"):
        loaded.at(load=0.25, time=1.0)
    with pytest.raises(ValueError, match="expected either load=… or time=…, got neither"):
        loaded.at()
    with pytest.raises(ValueError, match="at a single load or a single time, got several"):
        loaded.at(load=[0.1, 0.2])
    with pytest.raises(TypeError, match=r"take blend.at\(load=…\) or blend.at\(time=…\)"):
        wb.stationary_points(loaded, within=[(0, 2)] * 2)
    for taken in ("time", "potential", "my load"):
        with pytest.raises(ValueError, match=f"cannot be called '{taken}'"):
            wb.Blend(WEAK, STRONG, ramp, parameter=taken)


def test_members_of_a_blend_are_blends():
    ensemble = random_model(0, members=3)
    blend = wb.Blend(ensemble, STRONG, wb.Ramp(0.0, 10.0), parameter="load")
    assert blend.members == 3
    one = blend.member(1)
    assert (one.members, one.parameter, one.schedule) == (None, "load", blend.schedule)
    np.testing.assert_allclose(one.value([[1.0, 0.5]], 3.0), blend.value([[1.0, 0.5]], 3.0)[1], rtol=1e-12)


def test_dtype_and_device_are_those_of_the_potential():
    single = random_model(0, dtype=torch.float32)
    for whole in (wb.WeightedSum([single, single], [1.0, 1.0]), wb.Symmetrised(single, [(1, 0)])):
        assert (whole.dtype, whole.device) == (torch.float32, torch.device("cpu"))
    assert (BLEND.at(b=0.0).dtype, BLEND.at(b=0.0).device) == (torch.float64, None)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="different states"):
        wb.Blend(STRONG, random_model(0, dim=3), wb.Ramp(0.0, 1.0))
    with pytest.raises(ValueError, match="one weight per potential"):
        wb.WeightedSum([STRONG], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"expected either b=… or time=…, got neither"):
        BLEND.at()
    with pytest.raises(ValueError, match="at a single b or a single time, got several"):
        BLEND.gradient(np.ones((2, 2)), np.array([1.0, 2.0]))
    with pytest.raises(TypeError, match="expected a potential .*, got function"):
        wb.Blend(STRONG, lambda x: x, wb.Ramp(0.0, 1.0))
    with pytest.raises(TypeError, match=r"of a fit take fit\.model"):
        wb.score(object(), wb.dataset.points([[1.0, 1.0]], potential=[1.0]))
    with pytest.raises(TypeError, match=r"take blend.at\(b=…\)"):
        wb.stationary_points(BLEND, within=[(0, 2)] * 2)
    with pytest.raises(ValueError, match="not a permutation"):
        wb.Symmetrised(STRONG, [(1, 1)])
    with pytest.raises(ValueError, match="expected a permutation or an orthogonal matrix of 2 coordinates"):
        wb.Symmetrised(STRONG, [[[1, 1], [0, 1]]])
    irrational = [[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]
    with pytest.raises(ValueError, match="a finite group is needed"):
        wb.Symmetrised(STRONG, [irrational])
    with pytest.raises(ValueError, match=r"different numbers of members: \[2, 3\]"):
        _ = wb.WeightedSum([random_model(0, members=2), random_model(0, members=3)], [1, 1]).members
