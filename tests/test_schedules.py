"""Schedules against their differential equation and closed forms; numbers, arrays and tensors alike."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import workbench as wb


def test_logistic_is_the_closed_form_and_solves_its_equation():
    schedule, time = wb.Logistic(rate=0.7, start=0.01), np.linspace(0, 15, 31)
    np.testing.assert_allclose(schedule(time), 1 / (1 + 99 * np.exp(-0.7 * time)), rtol=1e-14)
    solution = solve_ivp(lambda t, b: 0.7 * (1 - b) * b, (0, 15), [0.01], t_eval=time, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(schedule(time), solution.y[0], rtol=1e-8)


@pytest.mark.parametrize(
    "schedule",
    [
        wb.Logistic(rate=0.7, start=0.01),
        wb.Ramp(1.0, 4.0),
        wb.Step(2.0),
        wb.Table((0.0, 1.0, 3.0), (0.0, 0.8, 1.0)),
    ],
    ids=lambda s: type(s).__name__,
)
def test_numbers_arrays_and_tensors_agree(schedule):
    time = np.linspace(0, 5, 21)
    array = schedule(time)
    np.testing.assert_allclose([schedule(float(t)) for t in time], array, rtol=1e-14)
    np.testing.assert_allclose(schedule(torch.as_tensor(time)).numpy(), array, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    "schedule", [wb.Logistic(rate=0.7, start=0.01), wb.Ramp(0.0, 4.0), wb.Table((0.0, 1.0, 3.0), (0.0, 0.8, 1.0))]
)
def test_when_inverts(schedule):
    for b in (0.05, 0.288367, 0.9):
        assert schedule(schedule.when(b)) == pytest.approx(b, abs=1e-12)


def test_the_true_split_of_the_gene_circuit():
    b = (0.359530158212139 - 0.1) / 0.9
    assert wb.Logistic(rate=0.7, start=0.01).when(b) == pytest.approx(5.2740, abs=5e-5)


def test_never_is_nan():
    assert np.isnan(wb.Logistic(0.7, 0.01).when(1.0))
    assert np.isnan(wb.Ramp(0.0, 1.0).when(2.0))
    assert np.isnan(wb.Step(1.0).when(2.0))


def test_bad_schedules_are_refused():
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        wb.Logistic(rate=0.7, start=0.0)
    with pytest.raises(ValueError, match="rate must be finite and not 0"):
        wb.Logistic(rate=np.nan, start=0.1)
    with pytest.raises(ValueError, match="times must increase strictly"):
        wb.Table((0.0, 0.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="as many times as values"):
        wb.Table((0.0, 1.0), (0.0,))
