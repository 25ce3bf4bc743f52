"""Every example of the documentation runs, and the `assert` at its end holds."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path, monkeypatch):
    checks = re.search(r"^ *assert ", path.read_text(), re.MULTILINE)
    assert checks, f"{path.name} must check its result by an assert"
    monkeypatch.chdir(tmp_path)  # what it writes goes there
    if "jax.config.update" in path.read_text():  # would change it for all tests, or come too late
        subprocess.run([sys.executable, str(path)], check=True)
    else:
        runpy.run_path(str(path), run_name="__main__")
