"""Every notebook runs from top to bottom, at its quick setting, and shows its pictures."""

import nbformat
import pytest
from execute import clean, executed, paths, pictures

NOTEBOOKS = pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)


@NOTEBOOKS
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("JAXPBDL_QUICK", "1")
    assert pictures(executed(path, timeout=600)) > 0


@NOTEBOOKS
def test_notebook_is_kept_with_its_pictures(path):
    """As `notebooks/execute.py` writes it: small, and without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    assert pictures(notebook) > 0 and path.stat().st_size < 300_000
    assert "pip install" in notebook.cells[0].source
    kept = nbformat.writes(notebook)
    clean(notebook)
    assert nbformat.writes(notebook) == kept


def test_notebooks_are_numbered_without_gaps():
    numbers = [int(path.name[:2]) for path in paths()]
    assert numbers == list(range(1, len(numbers) + 1))
