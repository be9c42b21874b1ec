"""Systems, studies, potentials, matches and materials of one's own, each one file outside the package, everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import studies
import systems
import workbench as wb
from workbench import plugins
from workbench.cli.app import app
from workbench.cli.models import constructed
from workbench.files.validation import validated
from workbench.losses.contract import MATCHES
from workbench.potentials.stored import KINDS

FOLDER = Path(__file__).parent / "plugins"
QUICK = ["--steps", 12, "--restarts", 1, "--seed", 0, "--workers", 1, "--json"]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Load all toys, and forget their systems and studies afterwards."""
    systems.names(), studies.names()
    known = [dict(registry._classes) for registry in (systems.SYSTEMS, studies.STUDIES)]
    modules = {path.stem: plugins.load(path) for path in sorted(FOLDER.glob("toy_*.py"))}
    yield modules
    for name in ("differences", "nothing"):
        MATCHES.pop(name, None)
    for registry, before in zip((systems.SYSTEMS, studies.STUDIES), known, strict=True):
        registry._classes = before


def call(*arguments, plugin=None, after=True):
    """Run the command line in this process, with a toy as plug-in before or after the command."""
    given = ["--plugin", FOLDER / f"{plugin}.py"] if plugin else []
    line = [*arguments, *given] if after else [*given, *arguments]
    return CliRunner().invoke(app, [str(each) for each in line])


def ok(*arguments, **options):
    done = call(*arguments, **options)
    assert done.exit_code == 0, done.output + done.stderr
    return json.loads(done.stdout)


def through_the_command_line(file, plugin):
    """Take a result file through validate, info and plot; the figure exists."""
    assert ok("validate", file, "--json", plugin=plugin)["fits"]
    assert ok("info", file, "--json")["groups"]
    (figure,) = ok("plot", file, "--json", plugin=plugin)["figures"]
    assert Path(figure).stat().st_size > 5000


def in_a_fresh_process(code, plugin):
    """Run code in a process that has loaded no toy, or the one given."""
    load = f"from workbench import plugins; plugins.load({str(FOLDER / f'{plugin}.py')!r})" if plugin else ""
    return subprocess.run([sys.executable, "-c", f"{load}\n{code}"], capture_output=True, text=True, check=False)


def test_toys_are_short():
    files = sorted(FOLDER.glob("toy_*.py"))
    assert [path.stem for path in files] == ["toy_match", "toy_material", "toy_potential", "toy_study", "toy_system"]
    assert all(len(path.read_text().splitlines()) <= 42 for path in files)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_system_is_generated_fitted_and_simulated(after):
    file = ok(
        "generate",
        "toy_bead",
        "--kind",
        "points",
        "--count",
        60,
        "--seed",
        0,
        "-o",
        "bead.nc",
        "--json",
        plugin="toy_system",
        after=after,
    )
    data = wb.read_data(file["file"])
    assert (data.x.attrs["units"], data.potential.attrs["units"]) == ("nm", "kJ/mol")
    systems.contract.check(systems.get("toy_bead"))
    ok("fit", "bead.nc", "--match", "potential", "--modes", 2, "--hidden", "4", *QUICK)
    through_the_command_line("bead-fit.nc", None)
    ok("simulate", "bead-fit.nc", "--start", "0.5", "--until", 1, "--json")
    assert wb.load("bead-fit-simulation.nc")["simulation/time"].attrs["units"] == "ps"


def test_a_study_is_run_drawn_and_repeated():
    done = ok("run", "toy_depths", "--seed", 0, "-o", "depths.nc", "--set", "samples=25", "--json", plugin="toy_study")
    assert Path(done["file"]).is_file()
    assert [path.name for path in Path().glob("depths-*.png")] == ["depths-landscape.png"]
    assert ok("rerun", "depths.nc", "--json", plugin="toy_study")["verdict"] == "equal to the last bit"
    assert ok("info", "depths.nc", "--json")["metrics"][0]["quantity"] == "error"
    assert validated("depths.nc")["fits"]
    unknown = in_a_fresh_process("import studies; studies.draw('depths.nc')", None)
    assert "toy_depths" in unknown.stderr


def test_a_potential_is_fitted_saved_and_asked():
    x = np.linspace(-2, 2, 60)
    data = wb.dataset.points(x, potential=(x**2 - 1) ** 2, states=["r"], units={"r": "nm", "potential": "kJ/mol"})
    wb.save("points.nc", data=data)
    options = ["--match", "potential", "--members", 2, "--set", "degree=4"]
    done = ok("fit", "points.nc", "--model", "Polynomial", *options, *QUICK, plugin="toy_potential")
    assert [row["kind"] for row in done["stationary_points"]] == ["minimum", "minimum", "maximum"]
    through_the_command_line("points-fit.nc", "toy_potential")
    found = ok("analyse", "points-fit.nc", "--question", "graph", "--json", plugin="toy_potential")
    np.testing.assert_allclose([side["barrier"] for side in found["graph"][2]["sides"]], 1.0, rtol=1e-6)
    model = wb.load("points-fit.nc").models["fit"]
    assert (model.states, model.degree if hasattr(model, "degree") else len(model.c) - 1) == (("r",), 4)
    assert wb.load("points-fit.nc")["fits/fit"].attrs["module"] == "toy_potential"
    landscape = wb.load("points-fit.nc")["landscape"]
    assert landscape["gradient"].attrs["units"] == "kJ/mol/nm"
    assert "potential_std" in landscape
    code = "import workbench as wb; print(wb.load('points-fit.nc').models['fit'].value([[1.0]])[0])"
    assert float(in_a_fresh_process(code, "toy_potential").stdout) == pytest.approx(0, abs=1e-6)
    refused = in_a_fresh_process(code, None).stderr.splitlines()[-1]
    assert "the class Polynomial of the module toy_potential, which is not loaded" in refused
    line = [sys.executable, "-m", "workbench.cli.app", "validate", "points-fit.nc"]
    told = subprocess.run(line, capture_output=True, text=True, check=False)
    assert "give the file that defines it, --plugin FILE" in told.stderr
    assert told.returncode != 0


def test_members_of_a_potential_are_fitted_in_processes():
    x = np.linspace(-2, 2, 60)
    wb.save("points.nc", data=wb.dataset.points(x, potential=(x**2 - 1) ** 2))
    line = [sys.executable, "-m", "workbench.cli.app", "fit", "points.nc", "--model", "Polynomial", "--match",
            "potential", "--members", "2", "--steps", "9", "--restarts", "1", "--workers", "2",
            "--plugin", str(FOLDER / "toy_potential.py")]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert wb.load("points-fit.nc").ensembles["fit"].members == 2


def test_a_match_is_fitted_scored_and_rebuilt(loaded):
    rng = np.random.default_rng(0)
    x, partner = rng.uniform(-2, 2, (2, 80, 1))

    def psi(x):
        return ((x**2 - 1) ** 2)[:, 0]

    data = wb.dataset.points(x, units={"x": "nm"}).assign(partner=(("sample", "state"), partner))
    wb.save("pairs.nc", data=data.assign(differences=("sample", psi(x) - psi(partner))))
    ok(
        "fit",
        "pairs.nc",
        "--match",
        "differences",
        "--modes",
        2,
        "--hidden",
        "6",
        "--steps",
        60,
        *QUICK[2:],
        plugin="toy_match",
    )
    through_the_command_line("pairs-fit.nc", "toy_match")
    result = wb.load("pairs-fit.nc")
    fit = result.fits["fit"]
    assert type(fit.match).__module__ == "toy_match"
    assert fit.error < 0.05
    scores = result["fits/fit/predictions"]
    assert {"differences", "differences_residual", "differences_r2"} <= set(scores.data_vars)
    assert float(scores["differences_r2"].sel(part="train")[0]) > 0.99
    found = wb.stationary_points(fit.model, fit.model.box)
    np.testing.assert_allclose(np.sort(found.x.values[:2, 0]), [-1, 1], atol=0.1)
    with pytest.raises(wb.DatasetError, match="match='differences' needs the variable 'partner'"):
        wb.fit(wb.LSEICNN(1, 2), data.drop_vars("partner"), match="differences", seed=0)
    adam = wb.fit(fit.model.like(members=None), fit.data, match="differences", seed=0, members=2,
                  optimiser=wb.Adam(epochs=20, every=10))  # fmt: skip
    assert adam.ensemble.members == 2
    joint = wb.fit(wb.LSEICNN(1, 2, (4,)), fit.data.assign(gradient=(("sample", "state"), 4 * x**3 - 4 * x)), seed=0,
                   match=[loaded["toy_match"].Differences(), "gradient"], restarts=1,
                   optimiser=wb.LevenbergMarquardt(steps=20))  # fmt: skip
    assert joint.match.weights == {"differences": 1.0, "gradient": 1.0}
    lost = in_a_fresh_process(
        "import workbench as wb; r = wb.load('pairs-fit.nc'); print(r.models); r.fits['fit']", None
    )
    assert "LSEICNN" in lost.stdout
    assert "the class Differences of the module toy_match, which is not loaded" in lost.stderr


def test_a_material_is_fitted_saved_and_stretched(loaded):
    hooke = loaded["toy_material"].Hooke()
    strain = systems.get("rossi").paths(8, samples=12, seed=0).strain.values
    known = {"stress": hooke.respond(strain).stress, "units": {"stress": "kPa"}}
    wb.save("paths.nc", data=wb.dataset.paths(strain, **known))
    options = ["--match", "stress", "--set", "shear=0.7"]
    ok("fit", "paths.nc", "--model", "Hooke", *options, "--steps", 300, *QUICK[2:], plugin="toy_material")
    through_the_command_line("paths-fit.nc", "toy_material")
    for question in (["analyse", "--question", "graph"], ["simulate", "--start", "0"]):
        refused = call(question[0], "paths-fit.nc", *question[1:], plugin="toy_material")
        assert refused.exit_code == 2
        assert "the fit 'fit' is a material, which has no landscape of states" in refused.stderr
    result = wb.load("paths-fit.nc")
    fit = result.fits["fit"]
    assert fit.error < 0.05
    again = wb.fit(
        fit.model, fit.data, match="stress", seed=0, warm_start=True, optimiser=wb.LevenbergMarquardt(steps=9)
    )
    np.testing.assert_allclose(again.model.moduli.detach(), [1.0, 1.0], atol=1e-8)  # linear: Gauss–Newton is exact
    assert result["fits/fit/predictions/stress"].attrs["units"] == "kPa"
    assert result["fits/fit"].attrs["config_json"] == '{"shear": 0.7}'


def test_half_written_classes_are_named_before_any_fit(tmp_path):
    file = tmp_path / "toy_half.py"
    file.write_text(
        "import workbench as wb\n"
        "class Bare(wb.TrainablePotential):\n    pass\n"
        "class Stiff(wb.Material):\n    internal = 0\n"
        "class Nothing(wb.match.Quantity):\n    pass\n"
    )
    wb.save("points.nc", data=wb.dataset.points(np.linspace(-1, 1, 30), potential=np.linspace(-1, 1, 30) ** 2))
    for options, name in (
        (["--model", "Bare", "--match", "potential"], "Bare"),
        (["--model", "Stiff", "--match", "stress"], "Stiff"),
        (["--match", "nothing"], "Nothing"),
    ):
        done = CliRunner().invoke(app, ["fit", "points.nc", "--plugin", str(file), *options])
        assert done.exit_code == 1, done.output
        assert f"abstract class {name}" in done.stderr
    wrong = call("fit", "points.nc", "--match", "potential", "--model", "Polynomal", plugin="toy_potential")
    assert "unknown model 'Polynomal', did you mean 'Polynomial'?" in wrong.stderr
    wrong = call("fit", "points.nc", "--match", "potential", "--model", "Polynomial", "--set", "degre=3",
                 plugin="toy_potential")  # fmt: skip
    assert "Polynomial has no setting 'degre', did you mean 'degree'?" in wrong.stderr


SETTINGS = [
    (["--set", "dim=3"], "dim is no setting of Polynomial: it is the number of states of the data"),
    (["--set", "states=a"], "states is no setting of Polynomial: the names of the states are those of the data"),
    (["--set", "self=1"], "Polynomial has no setting 'self'. It has: degree"),
    (["--modes", 2], "Polynomial has no setting 'modes'"),
    (["--hidden", "4"], "Polynomial has no setting 'hidden'. It has: degree"),
    (["--set", "degree=four"], "Polynomial(…) cannot be made with degree='four': "),
]


@pytest.mark.parametrize(("options", "message"), SETTINGS)
def test_settings_of_a_model_are_those_of_its_constructor(options, message):
    wb.save("points.nc", data=wb.dataset.points(np.linspace(-1, 1, 30), potential=np.linspace(-1, 1, 30) ** 2))
    done = call("fit", "points.nc", "--match", "potential", "--model", "Polynomial", *options, plugin="toy_potential")
    assert done.exit_code == 2
    assert message in done.stderr


def test_modes_and_invariants_of_materials():
    data = systems.get("rossi").paths(2, samples=5, seed=0)
    made = constructed("GeneralisedPlay", data, {"modes": 4, "hidden": (3,)}, {"axis": [1, 0, 0], "operators": 2})
    assert (made.config()["modes"], made.config()["hidden"], made.internal) == (4, [3], 2)
    assert made.invariants == wb.Invariants(axis=(1, 0, 0))
    with pytest.raises(ValueError, match=r"invariants is no setting of StateNODE: give their preferred axis, --set"):
        constructed("StateNODE", data, {}, {"invariants": 1})


def test_a_model_named_like_another_is_refused(tmp_path):
    file = tmp_path / "toy_same.py"
    file.write_text("import workbench as wb\nclass LSEICNN(wb.LSEICNN):\n    pass\n")
    wb.save("points.nc", data=wb.dataset.points(np.linspace(-1, 1, 30), potential=np.linspace(-1, 1, 30) ** 2))
    before = dict(KINDS)
    done = call("fit", "points.nc", "--match", "potential", "--plugin", file)
    KINDS.clear(), KINDS.update(before), plugins.LOADED.pop("toy_same"), sys.modules.pop("toy_same")
    assert done.exit_code == 2
    assert "called LSEICNN, workbench.potentials.lse_icnn.LSEICNN and toy_same.LSEICNN" in done.stderr


def test_a_plugin_cannot_hide_a_module(tmp_path):
    (tmp_path / "numpy.py").write_text("")
    with pytest.raises(ValueError, match="has the name of the module numpy, which is loaded: rename the file"):
        plugins.load(tmp_path / "numpy.py")


@pytest.mark.parametrize("name", ["antigravity", "sqlite3", "typing_extensions", "torchdiffeq"])
def test_a_plugin_cannot_hide_a_module_that_is_installed(name, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text("")
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)  # its own folder does not count
    with pytest.raises(ValueError, match=f"has the name of the module {name}, which is installed: rename the file"):
        plugins.load(tmp_path / f"{name}.py")
    (tmp_path / "toy_alone.py").write_text("x = 1")
    assert plugins.load(tmp_path / "toy_alone.py").x == 1
    plugins.LOADED.pop("toy_alone"), sys.modules.pop("toy_alone")


def test_a_plugin_imports_its_neighbours(tmp_path):
    (tmp_path / "toy_neighbour.py").write_text("depth = 3")
    (tmp_path / "toy_front.py").write_text("from toy_neighbour import depth")
    path = list(sys.path)
    assert plugins.load(tmp_path / "toy_front.py").depth == 3
    assert sys.path == path
    assert plugins.load(tmp_path / "toy_neighbour.py") is sys.modules["toy_neighbour"]
    for name in ("toy_front", "toy_neighbour"):
        plugins.LOADED.pop(name), sys.modules.pop(name)


def test_plugins_of_one_name_and_failing_reloads(tmp_path):
    first, second = tmp_path / "toy_twice.py", tmp_path / "other" / "toy_twice.py"
    second.parent.mkdir()
    first.write_text("x = 1")
    second.write_text("x = 2")
    module = plugins.load(first)
    with pytest.raises(ValueError, match=r"other/toy_twice.py has the name of the plug-in .*toy_twice.py: rename one"):
        plugins.load(second)
    first.write_text("x = y")
    with pytest.raises(plugins.PluginError, match="NameError"):
        plugins.load(first)
    assert sys.modules["toy_twice"] is module
    assert plugins.LOADED.pop("toy_twice") == first
    del sys.modules["toy_twice"]
