"""Result files: written atomically, restored bitwise, and refused when damaged."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

import systems
import workbench as wb
from workbench import atomic
from workbench.errors import FileError
from workbench.files import results


@pytest.fixture(scope="module")
def saved(small_fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "gene circuit, ψ.nc"
    points = wb.stationary_points(small_fit.model, within=[(0, 2)] * 2)
    run = wb.simulate(small_fit.model, [[0.5, 1.0]], [0.0, 1.0])
    return wb.save(
        path, fits={"psi": small_fit}, data=small_fit.data, analysis={"stationary_points": points}, simulation=run
    )


def test_models_come_back_to_the_last_bit(saved, small_fit):
    result = wb.load(saved)
    x = np.random.default_rng(0).uniform(0, 2, (50, 2))
    for name in ("value", "gradient", "hessian"):
        np.testing.assert_array_equal(getattr(result.models["psi"], name)(x), getattr(small_fit.model, name)(x))
    np.testing.assert_array_equal(result.ensembles["psi"].value(x), small_fit.ensemble.value(x))
    np.testing.assert_array_equal(result.models["psi"].inside_data(x), small_fit.model.inside_data(x))


def test_datasets_come_back_equal(saved, small_fit):
    tree = wb.load(saved).tree
    assert tree["data"].to_dataset().equals(small_fit.data)
    assert tree["fits/psi/history"].to_dataset()["loss"].equals(small_fit.history["loss"])
    assert tree["data"].attrs["system"] == "gene_circuit"
    predictions = tree["fits/psi/predictions"].to_dataset()
    assert predictions["velocity"].dims == ("member", "trajectory", "time", "state")
    assert predictions["velocity_r2"].sel(part="train").min() > 0.9


def test_everything_is_named_and_described(saved):
    tree = results.read(saved)
    for node in tree.subtree:
        dataset = node.to_dataset()
        assert all(dim in dataset.coords for dim in dataset.dims), node.path
        for name, variable in dataset.variables.items():
            assert "long_name" in variable.attrs, f"{node.path}/{name}"
            assert variable.attrs.get("units", "1") != "", f"{node.path}/{name}"
        assert not set(dataset.data_vars) & set(dataset.dims)
        assert not any(variable.dtype.kind == "u" for variable in dataset.variables.values())
        assert not dataset.data_vars or dataset.attrs["description"].endswith("."), node.path
        assert "potential" not in dataset or dataset.attrs["gauge"], node.path
    assert tree["analysis/stationary_points/index"].dtype == np.int8
    assert (tree.attrs["dtype"], tree.attrs["device"], tree.attrs["seed"]) == ("float64", "cpu", "0")
    for name in ("Conventions", "title", "source", "references", "license", "creator", "history", "schema",
                 "git_commit", "git_dirty", "versions_json", "platform", "device", "dtype", "created_at",
                 "threads"):  # fmt: skip
        assert isinstance(tree.attrs[name], str | int | float | np.generic), name
    assert tree.attrs["schema"] == "workbench-result/2"
    assert "torch" in json.loads(tree.attrs["versions_json"])


def test_plain_netcdf_reads_the_weights_without_torch(saved):
    code = f"""
import sys, numpy as np, xarray as xr
w = xr.open_dataset({str(saved)!r}, group="fits/psi")
w = w.isel(member=int(w.attrs["best_member"]))
softplus = lambda z: np.logaddexp(0, z)
def psi(points):
    x, f = (points - w.x_shift.values) / w.x_scale.values, []
    for m in w.mode.values:
        h = softplus(x @ w.V1[m].values.T + w.b1[m].values)
        h = softplus(x @ w.V2[m].values.T + h @ softplus(w.W2[m].values).T + w.b2[m].values)
        f.append(x @ w.V3[m].values + h @ softplus(w.W3[m].values) + w.b3[m].values)
    gate = 1 / (1 + np.exp(-10 * (w.alpha.values / 2 - 1)))
    rho = float(w.rho)
    soft = -np.log((gate[:, None] * np.exp(-rho * np.array(f))).mean(0)) / rho
    return float(w.potential_scale) * soft + float(w.offset)
p = xr.open_dataset({str(saved)!r}, group="analysis/stationary_points")
assert np.abs(psi(p.x.values) - p.potential.values).max() < 1e-12
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_own_data_and_attributes_of_any_kind_are_stored(tmp_path):
    data = wb.dataset.points(np.arange(4.0), potential=np.arange(4.0))
    odd = {
        "none": None,
        "flag": True,
        "table": {"a": 1},
        "where": Path("x"),
        "count": np.int64(3),
        "half": np.float32(0.5),
    }
    path = wb.save(tmp_path / "own.nc", data=data, attrs=odd)
    attrs = results.read(path).attrs
    assert (attrs["none"], attrs["flag"], attrs["table"], attrs["count"], attrs["half"]) == (
        "null",
        "true",
        '{"a": 1}',
        3,
        0.5,
    )


def test_targets_are_checked_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "there.nc").write_text("precious")
    with pytest.raises(FileError, match=r"there.nc exists; choose another name or pass overwrite=True"):
        wb.save(tmp_path / "there.nc", data=wb.dataset.points([1.0, 2.0]))
    assert (tmp_path / "there.nc").read_text() == "precious"
    with pytest.raises(FileError, match="is a directory"):
        results.check_target(tmp_path)
    with pytest.raises(FileError, match="no_such does not exist; create it first"):
        results.check_target(tmp_path / "no_such" / "a.nc")
    with pytest.raises(FileError, match="cannot write in"):
        results.check_target(tmp_path / ("n" * 300 + ".nc"))

    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(FileError, match="cannot write in .*: Permission denied"):
        results.check_target(tmp_path / "a.nc")


def test_contents_are_checked(tmp_path, saved):
    with pytest.raises(ValueError, match="nothing to save; give some of data, fits"):
        wb.save(tmp_path / "a.nc")
    with pytest.raises(TypeError, match=r"/fits/fit must be a fit, or a model such as fit.model; got int"):
        wb.save(tmp_path / "a.nc", fits=3)
    with pytest.raises(KeyError, match="no model 'ps' in the file, did you mean 'psi'. It holds: psi"):
        wb.load(saved).models["ps"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"some text", "is no netCDF file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no netCDF file"),
        (b"PK\x03\x04" + bytes(100), "is no netCDF file"),
        (b"CDF\x01" + bytes(100), "old netCDF-3 format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is damaged"),
        (b"\x89HDF", "is no netCDF file"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "other.nc"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        wb.load(path)


def test_missing_and_truncated_files_are_refused(saved, tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        wb.load(tmp_path / "nothing.nc")
    with pytest.raises(FileError, match="is a directory"):
        wb.load(tmp_path)
    content = saved.read_bytes()
    (tmp_path / "short.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="is damaged"):
        wb.load(tmp_path / "short.nc")


def edited(saved, tmp_path, *, sealed=True, **attrs):
    path = tmp_path / "edited.nc"
    path.write_bytes(saved.read_bytes())
    with netCDF4.Dataset(path, "a") as file:
        file.setncatts(attrs)
    if sealed:
        atomic.seal(path)
    return path


def test_incomplete_foreign_and_edited_files_are_refused(saved, tmp_path):
    with pytest.raises(FileError, match=r"incomplete \(status 'writing'\)"):
        wb.load(edited(saved, tmp_path, status="writing"))
    with pytest.raises(FileError, match="has schema 'workbench-result/9', but this version reads 'workbench-result/2'"):
        wb.load(edited(saved, tmp_path, schema="workbench-result/9"))
    with pytest.raises(FileError, match=r"has the outdated schema workbench-result/1; repeat its study or fit"):
        wb.load(edited(saved, tmp_path, schema="workbench-result/1"))
    with pytest.raises(FileError, match="damaged"):
        wb.load(edited(saved, tmp_path, sealed=False, seed="8", long="x" * 5000))
    wb.dataset.points([1.0, 2.0]).to_netcdf(tmp_path / "plain.nc")
    with pytest.raises(
        FileError, match=r"plain.nc holds plain data and no fit; fit them first: workbench.learn\(workbench.read_data\("
    ):
        wb.load(tmp_path / "plain.nc")


def test_a_flipped_bit_is_never_silent(saved, tmp_path):
    content, rng, path = saved.read_bytes(), np.random.default_rng(0), tmp_path / "flipped.nc"
    for position in [*rng.integers(0, len(content), 1000), *range(len(content) - 100, len(content))]:
        spoiled = bytearray(content)
        spoiled[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        with pytest.raises(FileError):
            results.read(path)


def test_a_killed_writer_leaves_the_old_file(saved, tmp_path):
    target = tmp_path / "result.nc"
    target.write_bytes(saved.read_bytes())
    code = f"""
import os, signal, netCDF4, workbench as wb, numpy as np
from workbench.files import results
results._open = lambda path: os.kill(os.getpid(), signal.SIGKILL)
wb.save({str(target)!r}, data=wb.dataset.points([1.0, 2.0]), overwrite=True)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_bytes() == saved.read_bytes()
    assert len(list(tmp_path.glob(".result.nc.tmp-*"))) == 1
    results.check_target(target, overwrite=True)
    assert list(tmp_path.iterdir()) == [target]


def test_signals_wait_for_the_file(tmp_path, monkeypatch):
    opened = results._open

    def interrupted(path):
        os.kill(os.getpid(), signal.SIGINT)
        return opened(path)

    monkeypatch.setattr(results, "_open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        wb.save(tmp_path / "a.nc", data=wb.dataset.points([1.0, 2.0]))
    monkeypatch.undo()
    assert wb.load(tmp_path / "a.nc")["data"].sizes["sample"] == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_leaves_nothing_behind(saved, tmp_path, monkeypatch):
    target = tmp_path / "a.nc"
    target.write_bytes(saved.read_bytes())

    def full(self, *args, **options):
        Path(args[0]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
    with pytest.raises(FileError, match="cannot write .*a.nc: No space left on device"):
        wb.save(target, data=wb.dataset.points([1.0, 2.0]), overwrite=True)
    assert target.read_bytes() == saved.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_content_that_does_not_come_back_is_refused(tmp_path, monkeypatch):
    opened = results._open
    monkeypatch.setattr(results, "_open", lambda path: opened(path).map_over_datasets(lambda ds: ds * 1.0000001))
    with pytest.raises(FileError, match="/data does not read back identically"):
        wb.save(tmp_path / "a.nc", data=wb.dataset.points([1.0, 2.0]))
    assert list(tmp_path.iterdir()) == []


def test_two_writers_never_mix(tmp_path):
    target, trees = tmp_path / "a.nc", [results.tree_of(data=wb.dataset.points(np.full(1000, k))) for k in (1.0, 2.0)]
    with netCDF4.Dataset(results.write(trees[0], target)):
        results.write(trees[1], target, overwrite=True)  # another process has it open
    assert set(np.unique(results.read(target)["data/x"])) == {2.0}


def test_saving_works_off_the_main_thread(tmp_path):
    thread = threading.Thread(target=wb.save, args=(tmp_path / "a.nc",), kwargs={"data": wb.dataset.points([1.0, 2.0])})
    thread.start()
    thread.join()
    assert wb.load(tmp_path / "a.nc")["data"].sizes["sample"] == 2


def test_models_that_do_not_fit_are_named(saved, tmp_path):
    tree = results.read(saved)
    broken = tree["fits/psi"].to_dataset(inherit=False).drop_vars("V2")
    groups = {n.path: n.to_dataset(inherit=False) for n in tree.subtree if not n.path.startswith("/fits/psi")}
    path = results.write(xr.DataTree.from_dict(groups | {"/fits/psi": broken}), tmp_path / "broken.nc")
    with pytest.raises(FileError, match=re.escape("cannot rebuild the model of /fits/psi: expected the weight V2")):
        wb.load(path)


def test_reading_is_quick_to_refuse(tmp_path):
    (tmp_path / "big.nc").write_bytes(bytes(50_000_000))
    began = time.perf_counter()
    with pytest.raises(FileError):
        wb.load(tmp_path / "big.nc")
    assert time.perf_counter() - began < 1.0


AXIS = wb.Invariants(axis=(1.0, 2.0, 0.0))
MATERIALS = {
    "play": lambda: wb.GeneralisedPlay(AXIS, operators=3, hardening=True, modes=1, hidden=(4,)),
    "elastic": lambda: wb.GeneralisedPlay(wb.Invariants(), operators=0, hidden=(4, 3), dtype=torch.float32),
    "node": lambda: wb.StateNODE(wb.Invariants(), internal=2, hidden=(4,), widths=(5, 3), method="midpoint"),
    "rate-independent node": lambda: wb.StateNODE(AXIS, hidden=(4,), widths=(5,), rate_independent=True),
}


@pytest.fixture(scope="module")
def stretched():
    return systems.get("rossi").paths(10, loading="random", samples=12, seed=0)


@pytest.mark.parametrize("name", MATERIALS)
def test_materials_come_back_to_the_last_bit(name, stretched, tmp_path):
    steps = wb.PathTraining(steps=4, polish=0, every=2)
    fit = wb.fit(MATERIALS[name](), stretched, match="stress", seed=0, restarts=1, optimiser=steps)
    result = wb.load(wb.save(tmp_path / "material.nc", fits=fit))
    strain, model = stretched["strain"].values, result.models["fit"]
    for again, once in zip(model.respond(strain), fit.model.respond(strain), strict=True):
        np.testing.assert_array_equal(again, once)
    np.testing.assert_array_equal(model.tangent(strain[:1]), fit.model.tangent(strain[:1]))
    assert repr(model) == repr(fit.model)
    assert (result.tree.attrs["dtype"], result.tree.attrs["seed"]) == (str(fit.model.potential.dtype)[6:], "0")
    predictions = result["fits/fit/predictions"].to_dataset()
    np.testing.assert_array_equal(predictions["stress"], fit.model.respond(strain).stress)
    np.testing.assert_array_equal(predictions["stress_residual"], predictions["stress"] - result["data/stress"])
    expected = wb.score(fit.model, fit.data)["stress_relative_error"].sel(part="validation")
    assert float(predictions["stress_relative_error"].sel(part="validation")) == float(expected)
    assert result["fits/fit/history"].to_dataset()["loss"].equals(fit.history["loss"])
    for node in result.tree.subtree:
        for label, variable in node.to_dataset().variables.items():
            assert "long_name" in variable.attrs, f"{node.path}/{label}"


def test_plain_netcdf_answers_for_a_material_without_torch(stretched, tmp_path):
    model = MATERIALS["play"]()
    model.initialise(np.random.default_rng(0), *(stretched[n].values for n in ("strain", "stress", "time")))
    response = model.requires_grad_(False).respond(stretched["strain"].values[0])
    path = wb.save(tmp_path / "play.nc", fits=model)
    np.savez(tmp_path / "known.npz", E=stretched["strain"].values[0], h=response.internal)
    code = f"""
import json, sys, numpy as np, xarray as xr
w, known = xr.open_dataset({str(path)!r}, group="fits/fit"), np.load({str(tmp_path / "known.npz")!r})
E, n = known["E"], np.array(json.loads(w.attrs["config_json"])["invariants"]["axis"])
EM = (E[:, :3] * n**2).sum(1) + 2 * (E[:, 3] * n[0] * n[1] + E[:, 4] * n[0] * n[2] + E[:, 5] * n[1] * n[2])
softplus, at = lambda z: np.logaddexp(0, z), dict(state=list(w.linear.values))
x = (np.stack([E[:, :3].sum(1), EM], 1) - w.x_shift.sel(at).values) / w.x_scale.sel(at).values
q, b, k = x @ w.w.values.T + w.d.values, softplus(w.b.values), softplus(w.k.values)
most = 0.999 * b
r, h, path = most * np.tanh((softplus(w.r.values) - k) / most), np.zeros(3), []
for y in -q:
    h = np.minimum(np.maximum(h, np.clip((y - k) / (b + r), 0, 1)), np.clip((y + k) / (b - r), 0, 1))
    path.append(h)
assert np.ptp(path) > 0.1 and np.abs(path - known["h"]).max() < 1e-12
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_device_is_chosen_on_loading(saved):
    assert wb.load(saved).models["psi"].device == torch.device("cpu")


FORMULA = """
import sys
import numpy as np, xarray as xr

group = xr.open_dataset(sys.argv[1], group="fits/fit")
expected = "Psi(x) = potential_scale*P(z) + offset[member], z[state] = (x[state] - x_shift[state])/x_scale[state]. "
assert group.formula.startswith(expected), group.formula
for part in ("P(z) = -(1/rho)*log((1/N)*sum_i s_i*exp(-rho*f_i(z)))", "s_i = 1/(1 + exp(-10*(alpha_i/2 - 1)))",
             "a_1 = V1 z + b1; a_k = Vk z + softplus(Wk) h_(k-1) + bk", "h_k = softplus(a_k)", "f_i = a_3, a number"):
    assert part in group.formula, part

def P(z, member, rho):
    total = 0.0
    for i in group.mode.values:
        w = {name: group[name].values[member, i] for name in ("V1", "b1", "V2", "b2", "W2", "V3", "b3", "W3")}
        a = w["V1"] @ z + w["b1"]
        for k in (2, 3):
            a = w[f"V{k}"] @ z + np.log(1 + np.exp(w[f"W{k}"])) @ np.log(1 + np.exp(a)) + w[f"b{k}"]
        total += np.exp(-rho * a) / (1 + np.exp(-10 * (group.alpha.values[member, i] / 2 - 1)))
    return -np.log(total / group.sizes["mode"]) / rho

landscape = xr.open_dataset(sys.argv[1], group="landscape")
m = int(landscape.attrs["member"])
assert m == group.attrs["best_member"]
axes = [landscape[name].values for name in group.state.values]
worst = 0.0
for index in np.ndindex(landscape.potential.shape):
    x = np.array([axis[k] for axis, k in zip(axes, index)])
    z = (x - group.x_shift.values) / group.x_scale.values
    psi = group.potential_scale.values * P(z, m, group.rho.values[m]) + group.offset.values[m]
    worst = max(worst, abs(psi - landscape.potential.values[index]))
assert worst < 1e-12 * np.ptp(landscape.potential.values), worst
assert "torch" not in sys.modules and "workbench" not in sys.modules
"""


def test_the_formula_of_a_file_gives_its_landscape_with_numpy_alone(tmp_path, circuit):
    model, quick = wb.LSEICNN(2, 3, (5, 4)), wb.LevenbergMarquardt(steps=10)
    fit = wb.fit(model, circuit.points(40, seed=0), match="potential", seed=0, members=2, restarts=1, optimiser=quick)
    landscape = wb.grid(fit.model, fit.model.box, 7, ensemble=fit.ensemble, member=fit.best)
    path = wb.save(tmp_path / "formula.nc", fits=fit, landscape=landscape)
    done = subprocess.run([sys.executable, "-c", FORMULA, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
