"""The command line: output, error messages and exit codes."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from small import SMALL
from typer.testing import CliRunner

import studies.contract
import systems.contract
import workbench
import workbench as wb
from workbench.cli import console
from workbench.cli.app import app
from workbench.cli.models import match_of
from workbench.files import results

SETTINGS = [f"--set={name}={json.dumps(value)}" for name, value in SMALL["schlogl"].items()]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def plain_consoles(monkeypatch):
    """Let the consoles write to the stdout and stderr of each test."""
    from rich.console import Console

    monkeypatch.setattr(console, "out", Console(highlight=False, soft_wrap=True, width=200))
    monkeypatch.setattr(console, "err", Console(stderr=True, highlight=False, soft_wrap=True, width=200))


def test_systems_and_studies_are_listed():
    listed = call("systems")
    assert listed.exit_code == 0
    assert "gene_circuit" in listed.stdout
    assert "strength of cross-inhibition" in listed.stdout
    parameters = json.loads(call("systems", "--json").stdout)["gene_circuit"]["parameters"]
    assert parameters["b"] == {"default": 1.0, "symbol": "b", "unit": "1", "meaning": "strength of cross-inhibition"}
    assert "modes" in json.loads(call("studies", "--json").stdout)["gene_circuit"]["parameters"]


def test_generate_saves_what_python_gives(tmp_path):
    done = call("generate", "gene_circuit", "--kind", "points", "--count", 5, "--set", "b=0.1", "--seed", 3, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["sizes"] == {"sample": 5, "state": 2}
    data = results.read(said["file"])["data"].to_dataset()
    expected = systems.get("gene_circuit", b=0.1).points(5, seed=3)
    assert data.equals(expected)
    drawn = json.loads(call("generate", "gene_circuit", "--count", 2, "-o", "b.nc", "--json").stdout)["seed"]
    assert int(drawn) > 0


def test_run_info_plot_rerun(tmp_path):
    done = call("run", "schlogl", *SETTINGS, "--seed", 2, "-o", "small.nc", "--json", "--workers", 1)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert results.read("small.nc").attrs["seed"] == "2"
    assert json.loads(results.read("small.nc").attrs["config_json"])["hidden"] == [3]
    assert all(os.path.exists(figure) for figure in said["figures"])
    assert {row["quantity"] for row in said["metrics"]} >= {"kl_joint", "normalisation", "second_mode_exact"}
    shown = call("info", "small.nc")
    assert "kl_joint" in shown.stdout
    assert "git_commit" in shown.stdout
    info = json.loads(call("info", "small.nc", "--json").stdout)
    assert info["groups"]["/fits/joint"]["mode"] == 2
    assert info["metrics"] == said["metrics"]
    assert len(json.loads(call("plot", "small.nc", "-o", "figures", "--json").stdout)["figures"]) == len(
        said["figures"]
    )
    again = call("rerun", "small.nc", "--json", "-o", "again.nc")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["verdict"] == "equal to the last bit"
    refused = call("run", "schlogl", "-o", "small.nc")
    assert refused.exit_code == 1
    assert "small.nc exists; choose another name" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["generate", "gene_circut"], 2, "unknown system 'gene_circut', did you mean 'gene_circuit'? Known:"),
        (["generate", "gene_circuit", "--set", "bb=1"], 2, "no parameter 'bb', did you mean 'b'?"),
        (["generate", "gene_circuit", "--set", "b"], 2, "--set expects NAME=VALUE, got 'b'"),
        (["generate", "gene_circuit", "--set", "b=x"], 2, "b of gene_circuit"),
        (["generate", "gene_circuit", "--count", "0"], 2, "count must be an integer >= 1"),
        (["generate", "gene_circuit", "--seed", "-1"], 2, "seed must be an integer >= 0"),
        (["generate", "schlogl", "--kind", "points"], 2, "schlogl generates no points; choose another --kind"),
        (["generate", "gene_circuit", "-o", "no/such/folder.nc"], 1, "does not exist; create it first"),
        (["generate", "mine"], 2, "To load your own: workbench --plugin FILE.py"),
        (["run", "gene"], 2, "unknown study 'gene'"),
        (["run", "mine"], 2, "To load your own: workbench --plugin FILE.py"),
        (["run", "gene_circuit", "--preset", "papr"], 2, "no preset 'papr', did you mean 'paper'?"),
        (["run", "gene_circuit", "--set", "mods=2"], 2, "no parameter 'mods', did you mean 'modes'?"),
        (["info", "nothing.nc"], 1, "nothing.nc does not exist"),
        (["plot", "nothing.nc"], 1, "nothing.nc does not exist"),
        (["rerun", "nothing.nc"], 1, "nothing.nc does not exist"),
    ],
)
def test_incorrect_usage_is_one_message(arguments, code, message):
    done = call(*arguments)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.output


def test_unknown_commands_and_options_are_incorrect_usage():
    assert call("runn").exit_code == 2
    assert call("run", "gene_circuit", "--colour").exit_code == 2
    assert "Usage" in call().output


def test_plugins_are_found(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import systems\n"
        "@systems.register('well_of_mine')\n"
        "class Well(systems.PotentialSystem):\n"
        "    state_space = (systems.State('x', 'position', box=(-1, 1)),)\n"
        "    def potential(self, x):\n"
        "        return (x**2).sum(-1)\n"
    )
    done = call("--plugin", "mine.py", "generate", "well_of_mine", "--count", 3, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sizes"]["trajectory"] == 3
    assert call("--plugin", "other.py", "systems").exit_code == 2
    (tmp_path / "bad.py").write_text("import systems\n\nsystems.regster('well')\n")
    (tmp_path / "worse.py").write_text("import systems\ndef f(:\n")
    for file, line, what in (("bad.py", 3, "AttributeError"), ("worse.py", 2, "SyntaxError")):
        done = call("--plugin", file, "systems")
        assert done.exit_code == 1
        assert f"the plug-in {file}, line {line}, fails: {what}" in done.stderr
    systems.SYSTEMS._classes.pop("well_of_mine")


def test_a_failing_formula_is_reported_by_its_line(tmp_path):
    (tmp_path / "late.py").write_text(
        "import systems\n"
        "@systems.register('late_of_mine')\n"
        "class Late(systems.PotentialSystem):\n"
        "    state_space = (systems.State('x', 'position', box=(-1, 1)),)\n"
        "    def potential(self, x):\n"
        "        return depth * x\n"
    )
    done = call("--plugin", "late.py", "generate", "late_of_mine")
    systems.SYSTEMS._classes.pop("late_of_mine")
    assert done.exit_code == 1
    assert "name 'depth' is not defined (NameError in the plug-in late.py, line 6)" in done.stderr


@pytest.mark.parametrize("kind", ["system", "study"])
def test_new_files_run_and_keep_their_contract(kind, tmp_path):
    done = call("new", kind, "my_own", "--json")
    assert done.exit_code == 0, done.output
    assert call("new", kind, "my_own").exit_code == 1
    assert call("new", kind, "My Own").exit_code == 2
    assert f"there is already a {kind} gene_circuit" in call("new", kind, "gene_circuit").stderr
    assert "would hide the package numpy" in call("new", kind, "numpy").stderr
    registry = systems.SYSTEMS if kind == "system" else studies.STUDIES
    assert call("--plugin", "my_own.py", "systems").exit_code == 0
    try:
        if kind == "system":
            systems.contract.check(systems.get("my_own", depth=2.0))
        else:
            studies.contract.check(studies.get("my_own", samples=12), tmp_path)
    finally:
        registry._classes.pop("my_own")


def test_version_is_printed():
    assert (
        call("--version").stdout.strip() == workbench.__version__ == importlib.metadata.version("multiwell-workbench")
    )


def test_debug_shows_the_traceback():
    done = call("--debug", "info", "nothing.nc")
    assert done.exit_code == 1
    assert "Traceback" in done.output
    call("systems")  # resets the option


def living(group):
    """Return the processes of a group that are not zombies (on systems with /proc)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, leader = entry.read_text().rpartition(")")[2].split()[:3]
            if int(leader) == group and state != "Z":
                found.append(entry.parent.name)
    return found


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_end_the_run_without_leftovers(tmp_path, number, code, word):
    command = [sys.executable, "-m", "workbench.cli.app", "run", "gene_circuit", "-o", str(tmp_path / "a.nc")]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(living(group=child.pid)) < 3 and child.poll() is None:  # itself, the resource tracker, a worker
        time.sleep(0.1)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == code
    assert word in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.glob("*.nc*")) == []
    patience = time.monotonic() + 5  # the resource tracker ends a moment after its parent
    while living(group=child.pid) and time.monotonic() < patience:
        time.sleep(0.05)
    assert living(group=child.pid) == []


def test_messages_name_the_options_of_the_command_line(tmp_path):
    wb.save(tmp_path / "points.nc", data=wb.dataset.points(np.arange(9.0), potential=np.arange(9.0)))
    fit = ("fit", tmp_path / "points.nc", "--match", "potential", "--modes", 1, "--hidden", "3", "--steps", 2)
    assert call(*fit).exit_code == 0
    assert "pass --overwrite" in call(*fit).stderr
    assert call(*fit, "--overwrite").exit_code == 0
    runs = wb.dataset.trajectories(np.zeros((3, 4, 1)), np.arange(4.0))
    wb.save(tmp_path / "my runs.nc", data={"my-runs": runs, "others": runs})
    said = call("fit", tmp_path / "my runs.nc", "--match", "velocity").stderr
    assert "--data my-runs" in said
    said = call("fit", tmp_path / "my runs.nc", "--match", "velocity", "--data", "others").stderr
    assert "--differentiate" in said
    assert "=True" not in said


def test_settings_of_a_match(tmp_path):
    x = np.random.default_rng(0).normal(0, 0.5, 60)
    wb.save("samples.nc", data=wb.dataset.points(x))
    fit = ("fit", "samples.nc", "--match", "density", "--modes", 1, "--hidden", "3", "--steps", 2, "--restarts", 1)
    done = call(*fit, "--match-set", "support=x1:-3,3", "--match-set", "prior=0.1")
    assert done.exit_code == 0, done.stderr
    assert wb.load("samples-fit.nc").fits["fit"].match == wb.match.Density(wb.Support({"x1": (-3, 3)}), prior=0.1)
    for given, message in (
        (["suport=x1:-3,3"], "density has no setting 'suport', did you mean 'support'?"),
        (["support=-3,3"], "a support is written STATE:LOW,HIGH, such as x1:-3,3, once per state; got '-3,3'"),
        (["prior"], "--match-set expects NAME=VALUE, got 'prior'"),
        (["prior=0.1"], "--match density --match-set support=x1:-3,3"),
        (["support=x1:-3,3", "prior=much"], "Density(…) cannot be made with"),
    ):
        said = call(*fit, "--overwrite", *(f"--match-set={each}" for each in given))
        assert said.exit_code == 2, said.output
        assert message in said.stderr
    said = call("fit", "samples.nc", "--match", "gradient", "--match-set=a=1", "--overwrite").stderr
    assert "has no setting 'a'. It has none" in said
    several = match_of("density", ["support=a:0,1", "support=b:0,2", "integer=true", "nodes=9"])
    assert several == wb.match.Density(wb.Support({"a": (0, 1), "b": (0, 2)}, integer=True, nodes=9))
