"""Searches that are done once inside a context."""

import copy

import numpy as np
import pytest
from conftest import random_model

import systems
import workbench as wb
from workbench.landscape import stationary_points as module
from workbench.landscape.reuse import remembered, reused

BOX = [(0.0, 2.0), (0.0, 2.0)]


@pytest.fixture
def searches(monkeypatch):
    """Count searches."""
    done, check = [], module._usable  # once for every search
    monkeypatch.setattr(module, "_usable", lambda *given: done.append(1) or check(*given))
    return done


def test_a_search_is_done_once_inside(searches, circuit):
    with reused():
        first = wb.stationary_points(circuit, BOX)
        first["x"][:] = np.nan  # a copy
        again = wb.stationary_points(systems.get("gene_circuit", b=1.0), BOX)
        wb.rates(circuit, BOX, 0.01)
        with reused():
            wb.graph(circuit, BOX)
    assert len(searches) == 1
    assert again["x"].notnull().all()
    outside = wb.stationary_points(circuit, BOX)
    assert len(searches) == 2
    assert outside.identical(again)


def test_other_questions_are_searched_for(searches, circuit):
    with reused():
        wb.stationary_points(circuit, BOX)
        wb.stationary_points(circuit, [(0.0, 2.0), (0.0, 1.9)])
        wb.stationary_points(circuit, BOX, starts=16)
        wb.stationary_points(circuit, BOX, index=0)
        wb.stationary_points(systems.get("gene_circuit", b=0.9), BOX)
    assert len(searches) == 5


def test_changed_weights_are_another_potential_and_members_are_themselves(searches):
    model = random_model(0, members=2)
    with reused():
        wb.stationary_points(model.member(1), BOX)
        wb.stationary_points(copy.deepcopy(model).member(1), BOX)
        assert len(searches) == 1
        wb.stationary_points(model, BOX)
        assert len(searches) == 2  # the other member
        model.offset.data += 1
        wb.stationary_points(model.member(1), BOX)
    assert len(searches) == 3


def test_what_cannot_be_pickled_is_searched_for_every_time():
    done, found = [], wb.stationary_points(systems.get("gene_circuit"), BOX)
    search = remembered(lambda _: done.append(1) or found)
    with reused():
        search(lambda x: x)
        search(lambda x: x)
    assert len(done) == 2
