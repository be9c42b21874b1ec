"""The README's Python runs, and its commands exist."""

import re
from pathlib import Path

from typer.testing import CliRunner

from workbench.cli.app import app

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_python_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    shared: dict = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), shared)


def test_commands_exist():
    commands = set(re.findall(r"^workbench (\w+)", README, flags=re.MULTILINE))
    assert commands >= {"run", "info", "plot", "rerun", "generate"}
    for command in commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
