"""The documents that a reader copies from: every program runs as it stands, every link leads
somewhere, and the numbers in their comments are those that come out.
"""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *(ROOT / "docs" / name for name in ("guide.md", "devices.md", "models.md"))]
LINES = 175
"""Of the README."""
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^# prints (.*)$", re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
CLOSE = 0.3
"""Relative difference of a printed number from that of the comment: rounding, and other code of the
compiler where a network is trained."""


def programs():
    """One parameter for each block; those that switch float64 on run in float64."""
    for path in DOCUMENTS:
        for number, text in enumerate(BLOCK.findall(path.read_text()), 1):
            marks = [pytest.mark.x64] if "jax_enable_x64" in text else []
            yield pytest.param(text, id=f"{path.stem}-{number}", marks=marks)


@pytest.fixture
def double_precision():
    """Whether float64 is on, restored after the test."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("text", programs())
def test_program(text, tmp_path, monkeypatch, capsys, double_precision):
    monkeypatch.chdir(tmp_path)  # what it writes goes there
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # what it reads lies in the checkout
    exec(compile(text, "program", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert printed or len(list(tmp_path.iterdir())) > 1, "a program ends in a number or a picture"
    for said in PRINTED.findall(text):
        expected, found = (list(map(float, NUMBER.findall(part))) for part in (said, printed))
        np.testing.assert_allclose(found, expected, rtol=CLOSE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links(path):
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link]
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= LINES
