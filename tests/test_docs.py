"""Every page of the guide: its Python code runs in a fresh namespace and an empty folder, and its commands exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import studies
import systems
import workbench as wb
from workbench.cli.app import app

GUIDE = Path(__file__).parent.parent / "docs" / "guide"
PAGES = sorted(GUIDE.glob("*.md"))


@pytest.fixture
def registries(monkeypatch):
    """Undo the registrations of a page."""
    for registry in (systems.SYSTEMS, studies.STUDIES):
        registry.names()
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))


def test_the_guide_has_its_pages():
    assert {page.stem for page in PAGES} == {
        "own-system", "own-data", "extending", "fitting", "result-file", "analysing", "time-varying", "writing-a-study"
    }  # fmt: skip


def test_every_public_name_has_a_place_in_the_reference():
    text = "\n".join(page.read_text() for page in (GUIDE.parent / "reference").glob("*.md"))
    offered = [f"wb.{name}" for name in wb.__all__ if name not in ("__version__", "dataset", "plot", "match")]
    offered += [f"wb.match.{name}" for name in wb.match.__all__ if name[0].isupper() and name != "Match"]
    offered += [f"systems.{name}" for name in systems.__all__ if name not in ("contract", "register")]
    offered += [f"studies.{name}" for name in studies.__all__ if name != "register"]
    missing = [name for name in offered if f"heading: {name}\n" not in text or f"[`{name}`]" not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_the_page_runs(page, registries):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    shared: dict = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, page.name, "exec"), shared)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_of_the_page_exist(page):
    blocks = "\n".join(re.findall(r"```\n(.*?)```", page.read_text(), flags=re.DOTALL))
    for command, rest in re.findall(r"^workbench (?:--plugin \S+ )?(\w+)(.*)$", blocks, flags=re.MULTILINE):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"})
        assert shown.exit_code == 0, command
        for option in re.findall(r"(?<=\s)--[\w-]+", rest):
            assert option in shown.output, f"{command} {option}"
