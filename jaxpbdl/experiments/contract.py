"""What an experiment is, and what it leaves behind.

An experiment is a frozen dataclass of settings and a function `run(config, folder) -> Result` that
keeps its checkpoints and pictures in `folder` and continues from the checkpoints it finds there.
`execute` measures it and writes two files beside them:

`result.json`: `experiment`, `preset`, `seed`, `config`, `metrics` (name -> number), `published`
(name -> `value`, `source`), `trained_here` (the same for figures of other software that we ran
ourselves), `notes` (on methods), `histories` (of each fit the loss of every `every`-th update),
`data` (`file` and `sha256` of what was read), `date` (UTC), `command` (null for a run from Python),
`commit` (of the package in its git repository, with `-dirty` where files differ from it; null
outside one), `seconds` (of the session that finished the run), `versions`. Names are
`method.metric`. JSON knows no NaN or infinity: such a metric or loss is `null`, and `nonfinite`
says of a metric which it was (name -> `"nan"`, `"inf"`, `"-inf"`).

`table.md`: the metrics, one row a method, published values beside one's own.
"""

import json
import math
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from jaxpbdl.checks import Numbers
from jaxpbdl.experiments.configuration import plain
from jaxpbdl.experiments.report import Cell, show, table
from jaxpbdl.files import sha256, write_text
from jaxpbdl.learning.loop import changes_allowed

RESULT = "result.json"
PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "jaxpbdl")
LONGEST = 500
"""Losses of one fit in the result file."""


@runtime_checkable
class Seeded(Protocol):
    """Settings of a run."""

    @property
    def seed(self) -> int: ...


Config = TypeVar("Config", bound=Seeded)


@dataclass(frozen=True)
class Published:
    """A figure to hold against one's own, and where it stands."""

    value: float
    source: str


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        metrics: numbers by `method.metric` (or `metric`, of the experiment as a whole).
        published: figures from the literature to hold against them, by the same names.
        histories: the losses of each fit by its name, one an update (`History.loss`).
        trained_here: figures of other software that we ran ourselves, which nobody has published.
        notes: what a reader of the table must know about a method, by its name.
    """

    metrics: Mapping[str, float | np.number]
    published: Mapping[str, Published] = field(default_factory=dict)
    histories: Mapping[str, Numbers] = field(default_factory=dict)
    trained_here: Mapping[str, Published] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        for name in (*self.metrics, *self.published, *self.trained_here):
            if not all(name.split(".")) or name.count(".") > 1:
                raise ValueError(f"a metric is named metric or method.metric, got {name!r}")


def no_files(config: object) -> Sequence[Path]:
    """Of an experiment that reads none."""
    return ()


@dataclass(frozen=True)
class Experiment(Generic[Config]):
    """A named `run(config, folder)` and its presets, instances of one config dataclass.

    The config has a field `seed`, and `data` if the experiment reads a file. `files(config)` are
    the data files that a run with these settings reads; it is called before anything is written,
    and raises `DataError` for a file that is not there.
    """

    name: str
    summary: str
    presets: Mapping[str, Config]
    run: Callable[[Config, Path], Result]
    files: Callable[[Config], Sequence[Path]] = no_files


def execute(
    experiment: Experiment[Config],
    preset: str,
    config: Config,
    folder: str | Path,
    command: str | None = None,
    *,
    allow_changes: bool = False,
) -> Result:
    """Run to the end, write `result.json` and `table.md`, print the table.

    **Arguments**

    - `command`: the command line that started the run, for the record.
    - `allow_changes`: continue from checkpoints although code or data of the fits have changed
      since (see `learning.fit`).

    **Returns** what the experiment found.

    **Raises** DataError for a data file that is missing, and whatever the experiment raises.
    """
    folder = Path(folder)
    # Before the run: a file or the code may change while it goes on.
    origin = {
        "data": [{"file": path.name, "sha256": sha256(path)} for path in experiment.files(config)],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit(),
    }
    start = time.perf_counter()
    with changes_allowed(allow_changes):
        result = experiment.run(config, folder)
    seconds = time.perf_counter() - start
    metrics = {name: float(value) for name, value in result.metrics.items()}
    report = {
        "experiment": experiment.name,
        "preset": preset,
        "seed": config.seed,
        "config": plain(config),
        "metrics": {name: v if math.isfinite(v) else None for name, v in metrics.items()},
        "nonfinite": {name: str(v) for name, v in metrics.items() if not math.isfinite(v)},
        "published": _as_json(result.published),
        "trained_here": _as_json(result.trained_here),
        "notes": dict(result.notes),
        "histories": {name: thinned(loss) for name, loss in result.histories.items()},
        **origin,
        "seconds": round(seconds, 3),
        "versions": versions(),
    }
    table(*rows_by_method(result), title=experiment.name, folder=folder)
    for line in overall(result):
        print(line)
    # Last, because a folder with this file counts as finished.
    write_text(folder / RESULT, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return result


def _as_json(figures: Mapping[str, Published]) -> dict[str, dict[str, float | str]]:
    return {n: {"value": float(item.value), "source": item.source} for n, item in figures.items()}


def thinned(loss: Numbers, longest: int = LONGEST) -> dict[str, int | list[float | None]]:
    """`every` and the losses of the updates `every`, `2 every`, ..., at most `longest` of them, as
    JSON can hold them."""
    values = np.asarray(loss, dtype=float)
    if values.ndim != 1:
        raise ValueError(f"a history holds one loss an update, got the shape {values.shape}")
    every = max(1, -(-len(values) // longest))
    kept = [float(f"{value:.6g}") for value in values[every - 1 :: every]]
    return {"every": every, "loss": [v if math.isfinite(v) else None for v in kept]}


def commit() -> str | None:
    """Of the git repository that holds this package; None if there is none, or no git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    here = Path(__file__).resolve()
    try:
        git("ls-files", "--error-unmatch", here.name)  # another repository may hold site-packages
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of what computes, and the device it computes on."""
    import jax

    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "device": f"{jax.device_count()} x {device.device_kind}",
    }


def rows_by_method(result: Result) -> tuple[list[list[Cell]], list[str]]:
    """Rows and columns of a table: one row a method, one column a metric, published rows last, and
    a column of notes if there are any; one row a metric where there is nothing but the experiment
    as a whole.
    """
    if not any("." in name for name in result.metrics):
        rows: list[list[Cell]] = []
        for name, value in result.metrics.items():
            kind, item = _beside(result, name)
            beside = [None, ""] if item is None else [item.value, f"{kind}: {item.source}"]
            rows.append([name, value, *beside])
        return rows, ["metric", "value", "to compare", "source"]
    numbers = {tuple(n.split(".")): value for n, value in result.metrics.items() if "." in n}
    for kind, figures in _kinds(result):
        for name, item in figures.items():
            if "." in name:
                method, metric = name.split(".")
                numbers[f"{method} ({kind})", metric] = item.value
    methods = list(dict.fromkeys(method for method, _ in numbers))
    columns = list(dict.fromkeys(column for _, column in numbers))
    rows = [[method, *(numbers.get((method, column)) for column in columns)] for method in methods]
    if not result.notes:
        return rows, ["method", *columns]
    notes = [result.notes.get(method, "") for method in methods]
    rows = [[*row, note] for row, note in zip(rows, notes, strict=True)]
    return rows, ["method", *columns, "note"]


def overall(result: Result) -> list[str]:
    """Lines of the metrics of the experiment as a whole, each beside its published value."""
    lines = []
    if not any("." in name for name in result.metrics):
        return lines  # the table has them
    for name, value in result.metrics.items():
        if "." not in name:
            kind, item = _beside(result, name)
            beside = "" if item is None else f"   ({kind} {show(item.value)}: {item.source})"
            lines.append(f"{name} = {show(value)}{beside}")
    return lines


def _kinds(result: Result) -> list[tuple[str, Mapping[str, Published]]]:
    return [("published", result.published), ("trained here", result.trained_here)]


def _beside(result: Result, name: str) -> tuple[str, Published | None]:
    """The figure to hold against a metric, and of which kind it is."""
    for kind, figures in _kinds(result):
        if name in figures:
            return kind, figures[name]
    return "", None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
