"""What a result file says of its origin."""

import subprocess
from pathlib import Path

import pytest

import workbench
from workbench.files.provenance import provenance

ROOT = Path(workbench.__file__).resolve().parent.parent


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_commit_is_that_of_the_checkout():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert provenance()["git_commit"] == head.strip()
