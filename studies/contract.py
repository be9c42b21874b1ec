"""The contract of studies, for the tests of this package and of users' own studies.

    from studies import contract
    contract.check(MyStudy(samples=10), folder)       # AssertionError with an explanation if the contract is broken

The study runs twice, so choose settings that make it small.
"""

from pathlib import Path

import workbench as wb
from studies.base import Study
from workbench.files.comparison import differences

__all__ = ["check", "check_declared", "check_file", "check_figures", "check_repeats"]


def check(study: Study, folder: str | Path, *, seed: int = 7) -> Path:
    """Run a study twice and check its declaration, file, figures and reproducibility.

    Parameters
    ----------
    study : Study
        Registered study, with settings that make it small.
    folder : str or pathlib.Path
        Folder for the files and figures, created if necessary.
    seed : int, default 7
        Seed of the runs.

    Returns
    -------
    pathlib.Path
        Path of the result file.

    Raises
    ------
    AssertionError
        If the contract is broken; the message states what was expected.

    Examples
    --------
    >>> import tempfile
    >>> import studies, systems
    >>> import workbench as wb
    >>> from workbench import plot
    >>> @studies.register("small")
    ... class Small(studies.Study):
    ...     title = "A small fit"
    ...     samples: int = systems.parameter(12, "points to learn from", ge=10)
    ...
    ...     def compute(self, seed, options):
    ...         data = systems.get("asymmetric_quartic").points(self.samples, seed=seed)
    ...         two_steps = wb.LevenbergMarquardt(steps=2)
    ...         fit = wb.fit(
    ...             wb.LSEICNN(1, 1, (2,)), data, match="potential", seed=seed, restarts=1, optimiser=two_steps
    ...         )
    ...         metrics = studies.metrics_dataset([studies.Metric("error", fit.error, "validation error")])
    ...         return {"data": data, "fits": fit, "analysis": {"metrics": metrics}}
    ...
    ...     @staticmethod
    ...     def figures(tree):
    ...         figure, axes = plot.figure(1, 1, size=(2, 2))
    ...         axes[0, 0].plot(tree["data/x"].values[:, 0], tree["data/potential"].values, "o")
    ...         return {"data": figure}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check(Small(samples=10), folder).name
    'small.nc'
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check_declared(study)
    path = study.run(folder / f"{study.name}.nc", seed=seed, workers=1, progress=False)
    check_file(study, path, seed=seed)
    check_figures(study, path, folder / "figures")
    check_repeats(study, path, folder / f"{study.name}-again.nc", seed=seed)
    return path


def check_declared(study: Study) -> None:
    """Check that a study has a title, a meaning for each setting, and valid presets.

    Parameters
    ----------
    study : Study
        The study.

    Raises
    ------
    AssertionError
        If one of these is missing.

    Examples
    --------
    >>> import studies
    >>> check_declared(studies.get("wells"))
    """
    assert study.title, f"{study.name} has no title"
    for name, entry in study.declared().items():
        assert entry["meaning"], f"{study.name}: the setting {name} has no meaning; describe it in a few words"
    assert "quick" in study.presets, f"{study.name} has no preset 'quick'; it has {', '.join(study.presets) or 'none'}"
    for preset in study.presets:
        assert isinstance(study.preset(preset), Study), f"{study.name}: the preset {preset} gives no study"


def check_file(study: Study, path: Path, *, seed: int = 7) -> None:
    """Check that a result file rebuilds its study, has the required groups, and that its variables say what they are.

    Every variable has a `long_name`; `units` are optional, as they may be unknown.

    Parameters
    ----------
    study : Study
        Registered study.
    path : pathlib.Path
        Its result file.
    seed : int, default 7
        Seed of the run.

    Raises
    ------
    AssertionError
        If the file rebuilds another study, has no data, fits, analysis or metrics, or a variable has no `long_name`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import studies
    >>> @studies.register("empty")
    ... class Empty(studies.Study):
    ...     title = "No results"
    ...
    ...     def compute(self, seed, options):
    ...         return {}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_file(Empty(), Empty().run(pathlib.Path(folder) / "empty.nc", seed=7))
    Traceback (most recent call last):
    AssertionError: empty: the file has no group /data...
    """
    tree = wb.load(path).tree
    rebuilt, recorded = Study.from_tree(tree)
    assert (rebuilt, recorded) == (study, seed), f"{study.name}: the file rebuilds {rebuilt!r} with seed {recorded}"
    assert tree.attrs["title"] == study.title, f"{study.name}: the file has the title {tree.attrs['title']!r}"
    for group in ("data", "fits", "analysis"):
        assert group in tree.children, f"{study.name}: the file has no group /{group}"
    assert "metrics" in tree["analysis"].children, f"{study.name}: the file has no /analysis/metrics"
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=False).variables.items():
            where, named = f"{study.name}: {node.path}/{name}", variable.attrs.get("long_name")
            assert named, f"{where} has no long_name; make it with workbench.dataset.variables.variable"
            unit = variable.attrs.get("units", "1")
            assert isinstance(unit, str), f"{where} has the units {unit!r}; they must be text, or absent if unknown"


def check_figures(study: Study, path: Path, folder: Path) -> None:
    """Check that figures can be drawn from the result file alone and are not empty.

    Parameters
    ----------
    study : Study
        Registered study.
    path : pathlib.Path
        Its result file.
    folder : pathlib.Path
        Folder for the figures.

    Raises
    ------
    AssertionError
        If there are no figures, or one of them is empty.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import studies
    >>> @studies.register("empty")
    ... class Empty(studies.Study):
    ...     title = "No results"
    ...
    ...     def compute(self, seed, options):
    ...         return {}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Empty().run(pathlib.Path(folder) / "empty.nc")
    ...     check_figures(Empty(), path, path.parent)
    Traceback (most recent call last):
    AssertionError: empty draws no figures...
    """
    drawn = Study.draw(path, folder)
    assert drawn, f"{study.name} draws no figures"
    for figure in drawn:
        assert figure.stat().st_size > 2000, f"{study.name}: the figure {figure.name} is empty"


def check_repeats(study: Study, path: Path, again: Path, *, seed: int = 7) -> None:
    """Check that a second run with the same seed gives identical results.

    Parameters
    ----------
    study : Study
        Registered study.
    path : pathlib.Path
        Its result file.
    again : pathlib.Path
        File to write in the second run.
    seed : int, default 7
        Seed of the run.

    Raises
    ------
    AssertionError
        If a variable differs.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import studies
    >>> @studies.register("empty")
    ... class Empty(studies.Study):
    ...     title = "No results"
    ...
    ...     def compute(self, seed, options):
    ...         return {}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Empty().run(pathlib.Path(folder) / "empty.nc", seed=7)
    ...     check_repeats(Empty(), path, path.with_name("again.nc"))
    """
    study.run(again, seed=seed, workers=1, progress=False)
    _, different = differences(wb.load(path).tree, wb.load(again).tree)
    assert not different, f"{study.name}: {len(different)} variable(s) differ in a second run, such as {min(different)}"
