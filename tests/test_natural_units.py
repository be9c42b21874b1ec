"""Answers in any units and from any origin: for x → s x + c, Ψ → k Ψ + m, they transform."""

import functools

import numpy as np
import pytest
import torch

import workbench as wb
from systems import PotentialSystem, State, parameter
from workbench.errors import LandscapeError
from workbench.landscape.reuse import reused

EPS = np.finfo(float).eps
WIDTH = np.array([3.4, 3.0])
BOX = [(-1.7, 1.7), (-1.6, 1.4)]


def surface(y):
    """Two wells of unlike depth, joined over one saddle, in natural units; equal to (y₁² − 1)² + … at y₂ = 0."""
    u, v = y[..., 0], y[..., 1]
    return (u**2 - 1) ** 2 + 0.3 * u + 1.5 * v**2 + 0.4 * u * v


def scaled(s=1.0, c=0.0, k=1.0, m=0.0, formula=surface, names="xy"):
    """Return the system k Ψ((x − c)/s) + m, whose box is BOX in units of s about c."""
    s, c = np.broadcast_to(np.asarray(s, float), 2), np.broadcast_to(np.asarray(c, float), 2)
    space = tuple(State(name, box=(c[i] + s[i] * BOX[i][0], c[i] + s[i] * BOX[i][1])) for i, name in enumerate(names))

    class Scaled(PotentialSystem):
        state_space = space

        def potential(self, x):
            return k * formula((x - torch.tensor(c.copy()).to(x)) / torch.tensor(s.copy()).to(x)) + m

    return Scaled(), s, c


SCALES = [
    {"s": 1e-12, "k": 1e-20},
    {"s": 1e12, "k": 1e20, "m": -1e26},
    {"s": (1e-7, 1e5)},
    {"s": (1e12, 1e-12), "k": 1e-3},
    {"c": (3e9, -2e6)},
    {"s": 1e-9, "c": 2.0, "k": 4e-21},
]
LONG = [
    {"s": s, "c": tuple(shift * np.broadcast_to(s, 2)), "k": k, "m": 1e6 * k * level}
    for s in (1e-12, 1e-6, 1e3, 1e12, (1e-12, 1e12), (1e4, 1.0), (1e-3, 1e9))
    for shift in (0.0, 1e4)
    for k, level in ((1e-20, 1.0), (1.0, -1.0), (1e20, 0.0))
] + [{"c": c} for c in (1e6, 1e8, 3e9, (1e9, 0.0))]


def tolerance(s, c):
    """Return the largest error allowed, in natural units."""
    return 1e-6 + 100 * EPS * np.max(np.abs(c) / (s * WIDTH))


def answers(system, s, c, k):
    """Return the answers to every question, in natural units."""
    box = system.box
    with reused():
        graph, wells = wb.graph(system, box, starts=64), wb.wells(system, box, starts=64)
        rates = wb.rates(system, box, 0.1 * k, starts=64)["rate"].values[2]
    starts = c + s * np.array([[-0.6, 0.1], [0.7, 0.2]])
    path = wb.minimum_energy_path(system, *graph["x"].values[:2], within=box)
    free = wb.minimum_energy_path(system, *graph["x"].values[:2], direct=True)  # in a box of its own
    size = np.log(np.abs(graph["eigenvalue"].values)).sum(-1)
    return {
        "kind": graph["kind"].values.tolist(),
        "x": (graph["x"].values - c) / s,
        "joins": sorted(graph["joins"].values[2]),
        "barrier": np.sort(graph["barrier"].values[2]) / k,
        "curvature": np.linalg.eigvalsh(system.hessian(graph["x"].values) * np.outer(s, s) / k),
        "determinant": size + 2 * np.log(s).sum() - 2 * np.log(k),
        "prominence": wells["prominence"].values[1] / k,
        "labels": wb.basins(system, box, starts=starts)["label"].values.tolist(),
        "path": path["barrier"].values / k,
        "saddle": (path["saddle"].values - c) / s,
        "lowest": bool(path["lowest"]),
        "free": free["barrier"].values / k,
        "probability": wb.transition_times(graph, 0.1 * k)["probability"].values,
        "rate": np.sort(rates) * s[0] ** 2 / k,
    }


@functools.cache
def plain_answers():
    """Return the answers about the plain surface."""
    plain, one, zero = scaled()
    return answers(plain, one, zero, 1.0)


def check_every_question(case):
    """Compare the answers about a scaled surface with those about the plain one, all in natural units."""
    system, s, c = scaled(**case)
    expected, found = plain_answers(), answers(system, s, c, case.get("k", 1.0))
    close = tolerance(s, c)
    assert found["kind"] == expected["kind"] == ["minimum", "minimum", "saddle"]
    assert found["joins"] == [0, 1]
    assert found["labels"] == expected["labels"] == [0, 1]
    assert found["lowest"]
    for name in ("x", "barrier", "prominence", "path", "saddle"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=close, err_msg=name)
    np.testing.assert_allclose(found["free"], expected["path"], rtol=0, atol=close)
    for name in ("curvature", "determinant"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e3 * close, err_msg=name)
    np.testing.assert_allclose(found["probability"], expected["probability"], rtol=0, atol=1e4 * close)
    if s[0] == s[1]:  # the motion is that of the plain surface, in units of s²/k
        np.testing.assert_allclose(found["rate"], expected["rate"], rtol=1e4 * close)


@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
@pytest.mark.parametrize("case", SCALES, ids=str)
def test_answers_follow_the_units(case):
    check_every_question(case)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::workbench.errors.LandscapeWarning")
@pytest.mark.parametrize("case", LONG, ids=str)
def test_answers_follow_every_unit(case):
    check_every_question(case)


def tilted(s=1.0, c=0.0, k=1.0, low=0.0, span=1.0):
    """Return the family k (y⁴/4 − y²/2 − q y) with y = (x − c)/s and q = (b − low)/span."""

    class Tilted(PotentialSystem):
        state_space = (State("x", box=(c - 2 * s, c + 2 * s)),)
        b: float = parameter(0.0, "tilt")

        def potential(self, x):
            y, q = (x[..., 0] - c) / s, (self.b - low) / span
            return k * (y**4 / 4 - y**2 / 2 - q * y)

    return lambda b: Tilted(b=float(b))


@pytest.mark.parametrize(
    "case",
    [{"k": 1e-20}, {"k": 1e18, "s": 1e-12}, {"c": 4e8}, {"s": 1e12, "span": 1e-9}, {"low": 5.0, "span": 1e-6}],
    ids=str,
)
def test_branches_follow_the_units(case):
    s, c, low, span = (case.get(name, default) for name, default in (("s", 1), ("c", 0), ("low", 0), ("span", 1)))
    range_of_b = (low - 0.6 * span, low + 0.6 * span)
    found = wb.branches(tilted(**case), [(c - 2 * s, c + 2 * s)], range_of_b, starts=32)
    assert found["bifurcation_kind"].values.tolist() == ["fold", "fold"]
    assert found["branch"].values.max() == 0
    close = tolerance(s, c) + 100 * EPS * abs(low / span)
    order = np.argsort(found["bifurcation_b"].values)
    q, y = (found["bifurcation_b"].values[order] - low) / span, (found["bifurcation_x"].values[order, 0] - c) / s
    np.testing.assert_allclose(q, np.array([-2, 2]) / 27**0.5, rtol=0, atol=close)
    np.testing.assert_allclose(y, np.array([1, -1]) / 3**0.5, rtol=0, atol=10 * close**0.5 if c else 1e-6)


def test_a_box_that_numbers_do_not_resolve_is_refused():
    system, *_ = scaled(c=1e12)
    for question in (wb.stationary_points, wb.graph, wb.wells, wb.basins):
        with pytest.raises(LandscapeError, match=r"do not resolve the box along x: it is 3.4 wide at 1e\+12"):
            question(system, system.box)


def test_single_precision_models_find_what_double_precision_ones_do():
    torch.manual_seed(0)
    model = wb.LSEICNN(2, 2, (6, 6))
    data = scaled()[0].points(200, seed=1)
    fit = wb.fit(
        model, data, match="potential", seed=0, restarts=1, optimiser=wb.LevenbergMarquardt(steps=60, screening=5)
    )
    double = wb.stationary_points(fit.model, BOX)
    single = wb.stationary_points(fit.model.float(), BOX)
    assert single["kind"].values.tolist() == double["kind"].values.tolist()
    np.testing.assert_allclose(single["x"], double["x"], atol=1e-4)
