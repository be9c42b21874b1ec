"""What every study keeps: for the tests of this package, and for those of authors of their own.

    from studies import contract
    contract.check(MyStudy(samples=10), folder)       # AssertionError, and a sentence, for what is not kept

Give it a study of small size: it runs twice.
"""

from pathlib import Path

import workbench as wb
from studies.base import Study
from workbench.files.comparison import differences

__all__ = ["check", "check_declared", "check_file", "check_figures", "check_repeats"]


def check(study: Study, folder: str | Path, *, seed: int = 7) -> Path:
    """Run the study into a folder, check its file, figures and repetition, and return the path of the file."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check_declared(study)
    path = study.run(folder / f"{study.name}.nc", seed=seed, workers=1, progress=False)
    check_file(study, path, seed=seed)
    check_figures(study, path, folder / "figures")
    check_repeats(study, path, folder / f"{study.name}-again.nc", seed=seed)
    return path


def check_declared(study: Study) -> None:
    """Check title, meanings, and presets."""
    assert study.title, f"{study.name} has no title"
    for name, entry in study.declared().items():
        assert entry["meaning"], f"{study.name}: the setting {name} has no meaning; say it in a few words"
    assert "quick" in study.presets, f"{study.name} has no preset quick; it has {', '.join(study.presets) or 'none'}"
    for preset in study.presets:
        assert isinstance(study.preset(preset), Study), f"{study.name}: the preset {preset} is no study"


def check_file(study: Study, path: Path, *, seed: int = 7) -> None:
    """Check that the file rebuilds its study, and reports numbers."""
    tree = wb.load(path).tree
    rebuilt, number = Study.from_tree(tree)
    assert (rebuilt, number) == (study, seed), f"{study.name}: the file rebuilds {rebuilt!r} with seed {number}"
    assert tree.attrs["title"] == study.title, f"{study.name}: the file has the title {tree.attrs['title']!r}"
    for group in ("data", "fits", "analysis"):
        assert group in tree.children, f"{study.name}: the file has no group /{group}"
    assert "metrics" in tree["analysis"].children, f"{study.name}: the file has no /analysis/metrics"


def check_figures(study: Study, path: Path, folder: Path) -> None:
    """Check that figures are drawn from the file alone, and are not empty."""
    drawn = Study.draw(path, folder)
    assert drawn, f"{study.name} draws no figures"
    for figure in drawn:
        assert figure.stat().st_size > 2000, f"{study.name}: the figure {figure.name} is empty"


def check_repeats(study: Study, path: Path, again: Path, *, seed: int = 7) -> None:
    """Check that another run with the same seed gives the same bits."""
    study.run(again, seed=seed, workers=1, progress=False)
    _, different = differences(wb.load(path).tree, wb.load(again).tree)
    assert not different, f"{study.name}: {len(different)} variables differ in a second run, such as {min(different)}"
