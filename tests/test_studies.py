"""Contracts of every registered study at small size, and the gene-circuit study held to its bounds."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from small import SMALL

import studies
import workbench as wb
from studies import contract, metrics_dataset
from studies.metrics import Metric, judged
from systems import ParameterError
from workbench.errors import FileError
from workbench.files import comparison, results
from workbench.fitting import checkpoints

pytestmark = [  # small studies choose on weak grounds, and say so
    pytest.mark.filterwarnings("ignore:the largest number of modes tried, 2,"),
    pytest.mark.filterwarnings("ignore:the number of modes was chosen with fewer than 10 held-out samples .6."),
]


APART = {"schlogl"}  # studies that are run in two processes first, and rerun in one


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a function of a name that returns a small study and its file, run once."""
    done = {}

    def of(name):
        if name not in done:
            study, workers = studies.get(name, **SMALL[name]), 2 if name in APART else 1
            done[name] = study, study.run(tmp_path_factory.mktemp(name) / "small.nc", seed=7, workers=workers)
        return done[name]

    return of


@pytest.fixture(scope="module", params=studies.names())
def run(request, small):
    return small(request.param)


def test_every_study_has_presets_that_are_valid():
    for name in studies.names():
        for preset in studies.STUDIES[name].presets:
            assert studies.get(name, preset=preset).name == name
        assert all(entry["meaning"] for entry in studies.STUDIES[name].declared().values())


def test_every_study_is_declared_and_its_file_rebuilds_it(run):
    study, path = run
    contract.check_declared(study)
    contract.check_file(study, path)
    tree = results.read(path)
    assert tree.attrs["elapsed_seconds"] > 0
    numbers = tree["analysis/metrics"].to_dataset()
    assert {"value", "at_most", "at_least", "meaning"} <= set(numbers.data_vars)


POTENTIALS = {"potential", "potential_true", "well_potential", "saddle_potential"}


def test_groups_say_what_they_hold_and_where_their_potential_is_zero(run):
    _, path = run
    tree = results.read(path)
    groups = [node for node in tree.subtree if node.data_vars]
    assert len(groups) >= 8
    for node in groups:
        assert node.attrs["description"].endswith("."), node.path
        if POTENTIALS & set(node.data_vars) and not node.path.endswith("predictions"):  # zero where their fit is
            assert node.attrs["gauge"], node.path


FLAGS = {
    "crossings": ["landscape/near_data"],
    "gene_circuit": ["analysis/stationary_points/inside_data"],
    "mechanochemical": ["analysis/extrapolation/inside_data", "analysis/stationary_points/inside_data"],
    "wells": ["analysis/wells/inside_data"],
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_booleans_without_units(small, name):
    tree = results.read(small(name)[1])
    for flag in FLAGS[name]:
        assert tree[flag].dtype == bool


def test_a_variable_without_a_name_breaks_the_contract(small, tmp_path):
    study, path = small("schlogl")
    tree = results.read(path)
    del tree["landscape/potential"].attrs["long_name"]
    spoiled = results.write(tree, tmp_path / "spoiled.nc")
    contract.check_file(study, path)
    with pytest.raises(AssertionError, match="schlogl: /landscape/potential has no long_name"):
        contract.check_file(study, spoiled)


def test_figures_are_drawn_from_the_file_alone(run, tmp_path):
    study, path = run
    formats = ("png", "pdf") if study.name in APART else ("png",)
    drawn = study.draw(path, tmp_path / "figures", formats)
    assert len(drawn) >= 3 * len(formats)
    moving = study.name == "gene_circuit"
    assert {p.suffix for p in drawn} == {f".{one}" for one in formats} | ({".gif"} if moving else set())
    assert all(p.stat().st_size > 5000 for p in drawn)
    for path_of_film in (p for p in drawn if p.suffix == ".gif"):
        with Image.open(path_of_film) as film:
            assert film.n_frames == -(-results.read(path)["simulation"].sizes["time"] // 2)


def test_rerun_gives_the_same_bits(run, tmp_path):
    study, path = run
    again = study.run(tmp_path / "again.nc", seed=7, workers=1)
    compared, different = comparison.differences(results.read(path), results.read(again))
    assert different == {}
    assert compared > 50
    spoiled = results.read(path)
    potential = spoiled["landscape/potential"]
    potential[dict.fromkeys(potential.dims, 0)] += 1e-15 * abs(float(potential.max()))
    assert list(comparison.differences(results.read(path), spoiled)[1]) == ["/landscape/potential"]


def test_plain_xarray_without_torch_finds_everything(run):
    _, path = run
    code = f"""
import sys, xarray as xr
tree = xr.open_datatree({str(path)!r}).load()
assert tree.attrs["status"] == "complete" and tree.attrs["git_commit"] and tree.attrs["versions_json"]
assert set(tree.children) >= {{"data", "fits", "landscape", "analysis"}}
assert "potential_true" in tree["landscape"]
assert all("V1" in fit and "validation_loss" in fit["history"] for fit in tree["fits"].children.values())
assert all("split" in data.coords for data in tree["data"].children.values())
assert "value" in tree["analysis/metrics"]
assert not {{"torch", "workbench", "systems", "studies"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def gene_circuit(small):
    return small("gene_circuit")[1]


def test_landscape_in_the_file_is_that_of_the_model(gene_circuit):
    result = wb.load(gene_circuit)
    grid = result["landscape"].to_dataset()
    for case in ("psi_1", "psi_2"):
        here = grid.sel(case=case)
        x = here["x"].values
        np.testing.assert_allclose(here["potential"].values, result.models[case].value(x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(here["gradient"].values, result.models[case].gradient(x), rtol=1e-12, atol=1e-12)


def test_truth_in_the_file_is_exact(gene_circuit):
    tree = results.read(gene_circuit)
    points = tree["analysis/stationary_points"].to_dataset()
    true = points.isel(point=((points["source"] == "truth") & (points["case"] == "psi_2")).values)
    np.testing.assert_allclose(true["x"].values[0], (0.405621017867140, 1.543999494460613), atol=1e-9)
    split = tree["analysis/split"].to_dataset().sel(source="truth")
    assert float(split["time"]) == pytest.approx(5.2740, abs=1e-3)
    run = tree["simulation"].to_dataset()
    t = run["time"].values
    np.testing.assert_allclose(run["b"].values, 1 / (1 + 99 * np.exp(-0.7 * t)), rtol=1e-12)
    assert not np.isin(tree["data/long"]["split"].values[8:], ["train", "validation"]).any()


WELLS = studies.get("wells", **SMALL["wells"] | {"epochs": 400})


def test_an_interrupted_study_goes_on_from_its_checkpoints(tmp_path):
    target, folder = tmp_path / "wells.nc", tmp_path / "wells.nc.checkpoints"
    settings = [f"--set={name}={json.dumps(value)}" for name, value in WELLS.model_dump().items()]
    settings += ["--set=epochs=100000", "-o", str(target)]
    command = [sys.executable, "-m", "workbench.cli.app", "run", "wells", *settings]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list(folder.glob("*.ckpt"))) < 2 and child.poll() is None:
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert "to resume: workbench run wells" in stderr
    assert "--resume" in stderr
    assert not target.exists()
    with pytest.raises(FileError, match=r"an interrupted run left checkpoints in .*resume=True"):
        WELLS.run(target, seed=0)
    states = {path.stem: checkpoints._read(path)["state"] for path in folder.glob("*.ckpt")}
    assert len(states) == 2
    more = WELLS.model_copy(update={"epochs": max(state["epoch"] for state in states.values()) + 20})
    more.run(target, seed=0, resume=True, workers=1)
    assert not folder.exists()
    straight = more.run(tmp_path / "straight.nc", seed=0, workers=1)
    assert comparison.differences(results.read(target), results.read(straight))[1] == {}
    for name, state in states.items():
        elapsed = results.read(target)[f"fits/{name}_adam/history/elapsed"].values[0]
        kept = state["each"][0]["records"]["elapsed"].numpy()
        end = min(3, len(kept))
        np.testing.assert_array_equal(elapsed[1:end], kept[1:end])  # it went on, and did not start again


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(KeyError, match=r"unknown study 'gene_cirquit', did you mean 'gene_circuit'\?"):
        studies.get("gene_cirquit")
    with pytest.raises(ParameterError, match=r"no preset 'quik', did you mean 'quick'\? Known: quick, paper"):
        studies.get("gene_circuit", preset="quik")
    with pytest.raises(ParameterError, match=r"no parameter 'mode', did you mean 'modes'\?"):
        studies.get("gene_circuit", mode=3)
    with pytest.raises(ParameterError, match="modes of gene_circuit: .*, got 0"):
        studies.get("gene_circuit", modes=0)
    (tmp_path / "there.nc").touch()
    with pytest.raises(FileError, match="exists"):
        studies.get("gene_circuit").run(tmp_path / "there.nc")
    with pytest.raises(ValueError, match="seed must be an integer"):
        studies.get("gene_circuit").run(tmp_path / "new.nc", seed=-1)
    path = results.write(results.tree_of(), tmp_path / "bare.nc")
    with pytest.raises(FileError, match="was not written by a study"):
        studies.draw(path)


def test_numbers_know_whether_they_meet_their_bounds():
    numbers = [
        Metric("good", 1.0, "", at_most=2.0),
        Metric("high", 3.0, "", at_most=2.0),
        Metric("low", 0.0, "", at_least=1.0),
        Metric("absent", float("nan"), "", at_most=2.0),
        Metric("free", 5.0, ""),
    ]
    rows = judged(results.tree_of(analysis={"metrics": metrics_dataset(numbers)}))
    assert [row["met"] for row in rows] == [True, False, False, False, True]
    assert json.dumps(rows)


def test_metrics_of_unlike_units_carry_them_as_a_coordinate():
    alike = metrics_dataset([Metric("a", 1.0, "", unit="nm"), Metric("b", 2.0, "", unit="nm")])
    assert [alike[name].attrs["units"] for name in ("value", "at_most", "at_least")] == ["nm"] * 3
    assert "unit" not in alike.coords
    unlike = metrics_dataset([Metric("a", 1.0, "", unit="nm"), Metric("b", 2.0, "")])
    assert unlike["unit"].values.tolist() == ["nm", ""]
    assert "units" not in unlike["value"].attrs
    assert "units" not in metrics_dataset([Metric("b", 2.0, "")])["value"].attrs


@pytest.mark.slow
@pytest.mark.parametrize("name", studies.names())
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_quick_preset_meets_every_bound(name, seed, tmp_path):
    path = studies.get(name).run(tmp_path / "quick.nc", seed=seed)
    missed = [row for row in judged(results.read(path)) if not row["met"]]
    assert missed == []
