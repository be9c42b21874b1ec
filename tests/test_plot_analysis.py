"""Figures of analyses show the values of the datasets."""

import numpy as np
import pytest
import xarray as xr
from test_continuation import Family1D
from test_langevin import Quartic

import workbench as wb
from workbench import plot


@pytest.fixture
def axes():
    return plot.figure(1, 1, size=(3, 3))[1][0, 0]


def test_path_and_profile(axes):
    well = Quartic(stiffness=2.0)
    found = wb.minimum_energy_path(well, (-1, 0), (1, 0), images=21)
    plot.path(axes, found)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), found["x"].values)
    plot.profile(axes, found)
    assert axes.lines[1].get_ydata().max() == pytest.approx(0.25)
    assert axes.get_xlabel() == "distance along the path"


def test_basins(axes):
    found = wb.basins(Quartic(stiffness=2.0), [(-2, 2), (-1, 1)], resolution=6)
    plot.basins(axes, found)
    assert np.abs(axes.lines[0].get_xdata()).max() < 1e-3
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[-1, 0], [1, 0]], atol=1e-9)


def test_branches(axes):
    found = wb.branches(lambda b: Family1D(1, 0, -b, 0), [(-1.5, 1.5)], between=(-0.5, 1.0))
    plot.branches(axes, found)
    solid = [line for line in axes.lines if line.get_linestyle() == "-"]
    drawn = np.concatenate([line.get_xydata() for line in solid])
    drawn = drawn[np.isfinite(drawn).all(-1)]
    b, x = drawn.T
    assert np.minimum(np.abs(x), np.abs(x**2 - b)).max() < 1e-9
    assert b[np.abs(x) < 1e-9].max() < 0.05
    np.testing.assert_allclose(axes.lines[-1].get_xydata(), [[0, 0]], atol=1e-9)


def test_branches_of_a_named_parameter(axes):
    blend = wb.Blend(Family1D(1, 0, 0.5, 0), Family1D(1, 0, -1, 0), wb.Ramp(0.0, 1.0), parameter="load")
    found = wb.branches(blend, [(-1.5, 1.5)], step=0.1)
    plot.branches(axes, found)
    np.testing.assert_allclose(axes.lines[-1].get_xydata(), [[1 / 3, 0]], atol=1e-9)


def test_labels_name_the_unit_if_it_is_known():
    said = [plot.label(xr.DataArray(0.0, attrs={"long_name": "x", **u})) for u in ({}, {"units": "1"}, {"units": "nm"})]
    assert said == ["x", "x", "x [nm]"]


@pytest.mark.parametrize("unit", ["nats", "1", None])
def test_losses_in_nats_are_drawn_as_they_are(axes, unit):
    loss = np.array([[2.0, -0.5, -1.0]])
    attrs = {"long_name": "training loss", **({} if unit is None else {"units": unit})}
    values = loss if unit == "nats" else loss**2
    record = xr.Dataset({name: (("member", "step"), values, attrs) for name in ("loss", "validation_loss")})
    record = record.assign_coords(step=[0, 1, 2])
    plot.history(axes, record)
    drawn = axes.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, loss[0] if unit == "nats" else np.abs(loss[0]), rtol=1e-15)
    assert axes.get_yscale() == ("linear" if unit == "nats" else "log")
    assert axes.get_ylabel() == ("training loss [nats]" if unit == "nats" else "relative error")
    kept = axes.lines[-1].get_xydata()[0]
    np.testing.assert_allclose(kept, (2, -1.0) if unit == "nats" else (1, 0.5))


def test_a_legend_below_names_everything_once():
    page, axes = plot.figure(1, 2, size=(4, 2))
    for panel in axes[0]:
        panel.plot([0, 1], label="fit")
        panel.plot([1, 0], label="truth")
    axes[0, 1].plot([1, 1], label="bound")
    plot.legend(page, axes[0], columns=3)
    plot.legend(page, axes[0], columns=2, order=["bound", "absent", "fit"])
    names = [[text.get_text() for text in legend.get_texts()] for legend in page.legends]
    assert names == [["fit", "truth", "bound"], ["bound", "fit"]]


def test_committor(axes):
    box, ends, options = [(-1.6, 1.6)] * 2, ((-1, 0), (1, 0)), {"radius": 0.3, "nodes": 41}
    found = wb.committor(Quartic(stiffness=1.0), box, *ends, 0.2, **options)
    filled = plot.committor(axes, found)
    np.testing.assert_allclose(filled.levels, np.linspace(0, 1, 11))
    half = axes.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(half[:, 0], 0.0, atol=1e-9)
    assert np.ptp(half[:, 1]) == pytest.approx(3.2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    with pytest.raises(ValueError, match=r"over one or two states, got \('x', 'y', 'z'\).*a member with found.isel"):
        plot.committor(axes, found.expand_dims(z=[0.0]).transpose("x", "y", "z"))


def test_committor_over_one_state(axes):
    found = wb.committor(Quartic(), [(-1.6, 1.6)], [-1.0], [1.0], 0.2, radius=0.1, nodes=201)
    assert plot.committor(axes, found) is None
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.column_stack([found["x"], found["committor"]]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "committor")
