"""An experiment for the tests: it counts, keeps a checkpoint, and can be told to fail."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxpbdl.checks import DataError
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.learning import RunLock


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
    fails: Literal["", "value", "package"] = ""
    fit: bool = False
    """Train instead of counting."""
    updates: int = 10
    kind: Literal["a", "b"] = "a"
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be an integer >= 1, got {self.steps}")


def trained(config: Config, folder: Path) -> Result:
    """A fit of three weights, which a signal may end."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxpbdl.learning import fit

    def loss(weight: jax.Array, batch: jax.Array) -> jax.Array:
        return jnp.sum(weight**2)

    batches = lambda key: jnp.zeros(())  # noqa: E731
    optimiser = optax.sgd(config.optimiser.rate)
    options = dict(key=jax.random.key(0), chunk=10, folder=folder / "checkpoints")
    _, history = fit(jnp.ones(3), loss, batches, optimiser, config.updates, **options)
    return Result({"fit.loss": history.loss[-1]}, histories={"fit": history.loss})


def run(config: Config, folder: Path) -> Result:
    if config.fails == "value":
        raise ValueError("no such value")
    if config.fails == "package":
        with RunLock(folder / "jets"):  # as a generator of data makes its folder first
            pass
        raise ImportError('install it: pip install "jaxpbdl[jets]"')
    if config.fit:
        return trained(config, folder)
    counter = folder / "count"
    start = int(counter.read_text()) if counter.exists() else 0
    for step in range(start, config.steps):
        counter.write_text(str(step + 1))
        print(f"step {step + 1}", flush=True)
        time.sleep(config.pause)
    return Result(
        metrics={"dummy.steps": config.steps, "dummy.start": start, "other.error": float("nan")},
        published={"dummy.steps": Published(3, "a book")},
        histories={"counting": range(config.steps)},
    )


def files(config: Config) -> list[Path]:
    if config.data is not None and not config.data.exists():
        raise DataError(f"{config.data}: no such file")
    return [] if config.data is None else [config.data]


PRESETS = {"quick": Config(), "full": Config(steps=5)}
EXPERIMENT = Experiment("dummy", "counts", PRESETS, run, files)
