"""Run notebooks from top to bottom and write them back with their pictures.

    python notebooks/execute.py            # all of them
    python notebooks/execute.py 03 05      # those whose names begin so

They run at their full setting, a few minutes each; the tests run them at their quick one.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT = {"image/png", "image/gif", "text/plain"}
"""Kinds of output that are kept; progress bars and HTML are not."""


def paths(beginnings: tuple[str, ...] = ("",)) -> list[Path]:
    """The notebooks whose names begin with one of these."""
    return [path for path in sorted(FOLDER.glob("*.ipynb")) if path.name.startswith(beginnings)]


def executed(path: Path, timeout: int = 3600) -> nbformat.NotebookNode:
    """A notebook with the outputs of a new run, each cell at most `timeout` seconds."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": FOLDER}}).execute()
    return notebook


def clean(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs from run to run: counts, times, versions, progress bars, warnings."""
    notebook.metadata = METADATA
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [output for output in map(_cleaned, cell.outputs) if output]


def _cleaned(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if "text/html" in output.data and "image/png" not in output.data:
        return None
    output.data = {kind: value for kind, value in output.data.items() if kind in KEPT}
    output.metadata = {}
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


def pictures(notebook: nbformat.NotebookNode) -> int:
    """How many outputs hold a PNG."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


if __name__ == "__main__":
    for path in paths(tuple(sys.argv[1:]) or ("",)):
        notebook = executed(path)
        clean(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {pictures(notebook)} pictures, {path.stat().st_size / 1e3:.0f} kB")
