"""An experiment for the tests: it counts, keeps a checkpoint, and can be told to fail."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxpbdl.experiments.contract import Experiment, Published, Result


@dataclass(frozen=True)
class Optimiser:
    rate: float = 1e-3
    """Learning rate."""
    widths: tuple[int, ...] = (8, 8)


@dataclass(frozen=True)
class Config:
    """Settings of the dummy."""

    seed: int = 0
    steps: int = 2
    """How far to count."""
    pause: float = 0.0
    data: Path | None = None
    limit: float = float("inf")
    kind: Literal["a", "b"] = "a"
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be an integer >= 1, got {self.steps}")


def run(config: Config, folder: Path) -> Result:
    counter = folder / "count"
    start = int(counter.read_text()) if counter.exists() else 0
    for step in range(start, config.steps):
        counter.write_text(str(step + 1))
        print(f"step {step + 1}", flush=True)
        time.sleep(config.pause)
    return Result(
        metrics={"dummy.steps": config.steps, "dummy.start": start, "other.error": float("nan")},
        published={"dummy.steps": Published(3, "a book")},
    )


EXPERIMENT = Experiment("dummy", "counts", {"quick": Config(), "full": Config(steps=5)}, run)
