"""Experiments: one file a system, from data to a table and a picture.

An experiment is a file below this folder with the statement

    EXPERIMENT = Experiment(name="...", summary="...", ...)

in which name and summary are plain strings: they are read from the text of the file, so that
listing the experiments imports none of them. Nothing else has to know of a new file.
"""

import ast
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxpbdl.experiments.contract import Experiment

STATEMENT = "\nEXPERIMENT = Experiment("


@dataclass(frozen=True)
class Entry:
    """Where an experiment lies: `module` exposes it as `EXPERIMENT`."""

    module: str
    summary: str


def read(folder: Path, package: str) -> list[tuple[str, Entry]]:
    """Name and entry of each experiment in the files below `folder`, the folder of `package`."""
    found = []
    for path in folder.rglob("*.py"):
        _, statement, rest = path.read_text(encoding="utf-8").partition(STATEMENT)
        if statement:
            call = ast.parse(statement + rest).body[0].value  # pyright: ignore[reportAttributeAccessIssue]
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            name, summary = (ast.literal_eval(given[each]) for each in ("name", "summary"))
            module = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
            found.append((name, Entry(module, summary)))
    return sorted(found, key=lambda pair: pair[0])


EXPERIMENTS: dict[str, Entry] = dict(read(Path(__file__).parent, __name__))


def load(name: str) -> "Experiment":
    """Import the experiment `name`.

    Raises `ValueError` for an unknown name, with the names that come close.
    """
    if name not in EXPERIMENTS:
        close = get_close_matches(name, EXPERIMENTS, n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(EXPERIMENTS)}"
        )
        raise ValueError(f"unknown experiment {name!r}; {hint}")
    return import_module(EXPERIMENTS[name].module).EXPERIMENT
