"""Checkpoints: two are kept, damage is detected, no code is executed, other fits are rejected, fits are resumed."""

import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import workbench as wb
from workbench import atomic
from workbench.errors import FileError
from workbench.fitting import checkpoints
from workbench.fitting.task import Task
from workbench.losses.match import parsed
from workbench.potentials.initialisation import Initialisation

IDENTITY = {"model": "m", "data": "d"}


def written(path, *epochs):
    for epoch in epochs:
        checkpoints.save(path, {"epoch": epoch, "weights": torch.full((3,), float(epoch))}, IDENTITY)


def test_the_last_two_are_kept_and_damage_falls_back(tmp_path):
    path = tmp_path / "c.ckpt"
    assert checkpoints.load(path, IDENTITY) is None
    written(path, 1, 2, 3)
    assert {p.name for p in tmp_path.iterdir()} == {"c.ckpt", "c.ckpt.previous"}
    assert checkpoints.load(path, IDENTITY)["epoch"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged.*; resuming from the previous checkpoint"):
        assert checkpoints.load(path, IDENTITY)["epoch"] == 2
    (tmp_path / "c.ckpt.previous").write_bytes(b"")
    with pytest.raises(FileError, match="damaged"):
        checkpoints.load(path, IDENTITY)


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / "c.ckpt"
    written(path, 1)
    clean = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, 8 * len(clean), 200):
        spoiled = bytearray(clean)
        spoiled[place // 8] ^= 1 << (place % 8)
        path.write_bytes(spoiled)
        with pytest.raises(FileError, match="damaged"):
            checkpoints.load(path, IDENTITY)


def test_a_hostile_pickle_runs_no_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "c.ckpt"
    for write in (lambda: torch.save({"identity": Hostile()}, path), lambda: path.write_bytes(pickle.dumps(Hostile()))):
        write()
        atomic.seal(path)
        with pytest.raises(FileError, match="is not a checkpoint of this version"):
            checkpoints.load(path, IDENTITY)
    assert not (tmp_path / "owned").exists()


def test_a_killed_save_leaves_the_one_before(tmp_path):
    path = tmp_path / "c.ckpt"
    written(path, 1)
    code = f"""
import os, signal
from workbench.fitting import checkpoints
checkpoints.seal = lambda path: os.kill(os.getpid(), signal.SIGKILL)
checkpoints.save(__import__("pathlib").Path({str(path)!r}), {{"epoch": 2}}, {IDENTITY!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert checkpoints.load(path, IDENTITY)["epoch"] == 1
    written(path, 3)
    assert {p.name for p in tmp_path.iterdir()} == {"c.ckpt", "c.ckpt.previous"}


def test_identity_names_what_differs(tmp_path):
    path = tmp_path / "c.ckpt"
    written(path, 1)
    with pytest.raises(FileError, match="belongs to another fit: its data is d, expected e"):
        checkpoints.load(path, IDENTITY | {"data": "e"})
    x = np.linspace(-1, 1, 20)
    data = wb.dataset.points(x, potential=x**2, split=["train"] * 15 + ["validation"] * 5)
    other = data.assign(potential=data["potential"] * 1.0001)
    seeds = np.random.SeedSequence(0).spawn(2)

    def identity(modes=2, data=data, init=None, lr=1e-3, seeds=seeds):
        task = Task.of(wb.LSEICNN(dim=1, modes=modes), data, parsed("potential"), init or Initialisation())
        return checkpoints.identity(task, seeds, {"lr": lr})

    assert identity() == identity()
    changed = {"modes": 3}, {"data": other}, {"init": Initialisation(gate=0.5)}, {"lr": 1.0}, {"seeds": seeds[:1]}
    for change, name in zip(changed, ("model", "data", "init", "optimiser", "seeds"), strict=True):
        assert identity(**change)[name] != identity()[name]


SCRIPT = """
import numpy as np, workbench as wb

def train(path, epochs):
    x = np.random.default_rng(0).uniform(-2, 2, (60, 1))
    data = wb.dataset.points(x, potential=((x**2 - 1) ** 2)[:, 0])
    optimiser = wb.Adam(epochs=epochs, every=10)
    model = wb.LSEICNN(dim=1, modes=3, hidden=(4, 4))
    how = {"match": "potential", "seed": 0, "members": 2, "optimiser": optimiser, "progress": False}
    return wb.fit(model, data, checkpoint=path, **how)
"""


def trained(path, epochs):
    space = {}
    exec(SCRIPT, space)
    fit = space["train"](path, epochs)
    value = fit.ensemble.value(np.array([[0.3]])).tolist()
    return value, fit.history.sizes["step"], fit.history["elapsed"].values[0, :3].tolist()


@pytest.mark.parametrize(
    "numbers", [[signal.SIGINT], [signal.SIGINT, signal.SIGTERM, signal.SIGTERM], [signal.SIGKILL]]
)
def test_stopped_training_goes_on_to_the_same_bits(tmp_path, numbers):
    path = tmp_path / "c.ckpt"
    often = "import workbench.fitting.adam; workbench.fitting.adam.CHECKPOINT_INTERVAL = 0.0\n"
    code = f"{often}{SCRIPT}\ntrain({str(path)!r}, 100_000)"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not (tmp_path / "c.ckpt.previous").exists() and child.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    for number in numbers:
        child.send_signal(number)
        time.sleep(0.005)
    child.wait(timeout=60)
    assert child.returncode != 0
    (state,) = checkpoints._read(path)["state"]["each"]
    assert 0 < state["epoch"] < 100_000
    assert {int(one["step"]) for one in state["optimiser"]["state"].values()} == {state["epoch"]}
    target = state["epoch"] + 50
    resumed, straight = trained(path, target), trained(tmp_path / "other.ckpt", target)
    assert resumed[:2] == straight[:2]
    kept = state["records"]["elapsed"][:3].tolist()
    assert resumed[2][: len(kept)] == kept  # it was resumed, not started again
    assert straight[2][1:] != kept[1:]
