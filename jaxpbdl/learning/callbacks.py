"""What a fit tells while it goes on: `fit(callback=)` calls a function with a `Report` after each
chunk of updates.

    fit(..., callback=CsvLog("loss.csv"))
    fit(..., callback=each(TensorBoardLog("logs"), wandb_log(wandb.init(project="wakes"))))
    fit(..., callback=lambda report: print(report.step, report.loss))

A callback runs on the host between two compiled chunks; what it raises ends the fit.
"""

import csv
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import PyTree


class Report(NamedTuple):
    """Where a fit stands after a chunk of updates."""

    name: str
    step: int  # updates done
    steps: int  # updates to do
    losses: np.ndarray  # (members, updates) of this chunk; NaN where a member had ended
    validations: np.ndarray | None  # of each member after this chunk; None without `validate`
    seconds: float  # since the fit began, earlier parts of a resumed one included
    model_of: Callable[[PyTree], PyTree]
    member: PyTree

    @property
    def loss(self) -> float:
        """The mean over the members and updates of this chunk that are finite, or NaN."""
        return finite_mean(self.losses)

    @property
    def validation(self) -> float:
        """The mean over the members, or NaN."""
        return finite_mean(self.validations)

    @property
    def model(self) -> PyTree:
        """What the fit would return if it ended now: of an ensemble, its members stacked. A copy,
        made at each access."""
        return self.model_of(self.member)


Callback: TypeAlias = Callable[[Report], object]


@runtime_checkable
class Writer(Protocol):
    """Of TensorBoard: `tensorboardX.SummaryWriter`, or torch's of that name."""

    def add_scalar(self, tag: str, scalar_value: Any, global_step: Any) -> Any: ...


@runtime_checkable
class Run(Protocol):
    """Of Weights and Biases: what `wandb.init` returns."""

    def log(self, data: dict[str, Any], step: int) -> Any: ...


class CsvLog:
    """Appends `step, loss, validation, seconds` of each chunk to a file; an empty field where there
    is no number."""

    def __init__(self, file: str | os.PathLike):
        self.file = Path(file)

    def __call__(self, report: Report) -> None:
        new = not self.file.exists()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            if new:
                rows.writerow(("step", "loss", "validation", "seconds"))
            values = (report.loss, report.validation, round(report.seconds, 3))
            rows.writerow((report.step, *("" if math.isnan(value) else value for value in values)))


class TensorBoardLog:
    """The loss and the validation of each chunk for TensorBoard.

    Writes into a folder by the package tensorboardX, or with a `writer` of your own.
    """

    def __init__(self, folder: str | os.PathLike | None = None, writer: Writer | None = None):
        """Raises ImportError without tensorboardX, ValueError unless exactly one is given."""
        if (folder is None) == (writer is None):
            raise ValueError("give a folder or a writer, not both and not neither")
        self.writer = _writer(folder) if writer is None else writer

    def __call__(self, report: Report) -> None:
        for tag, value in _scalars(report).items():
            self.writer.add_scalar(tag, value, report.step)


def wandb_log(run: Run) -> Callback:
    """A callback for a run of Weights and Biases: `wandb_log(wandb.init(..))`."""

    def log(report: Report) -> None:
        run.log(_scalars(report), step=report.step)

    return log


def each(*callbacks: Callback) -> Callback:
    """One callback that calls several, in order."""

    def all_of_them(report: Report) -> None:
        for callback in callbacks:
            callback(report)

    return all_of_them


def _scalars(report: Report) -> dict[str, float]:
    found = {"loss": report.loss, "validation": report.validation}
    return {f"{report.name}/{tag}": v for tag, v in found.items() if not math.isnan(v)}


def _writer(folder: str | os.PathLike | None) -> Writer:
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "TensorBoardLog writes by the package tensorboardX: pip install tensorboardX"
        ) from error
    return SummaryWriter(str(folder))


def finite_mean(values: np.ndarray | None) -> float:
    """Of what is finite; NaN where nothing is."""
    finite = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(np.mean(finite)) if finite.size else float("nan")
