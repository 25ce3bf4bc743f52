"""The training of most experiments: its settings, its optimiser, and the fit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optax
from jaxtyping import Array, PRNGKeyArray

from jaxpbdl.experiments.configuration import Count, Fraction, Positive, Validated
from jaxpbdl.learning import History, fit
from jaxpbdl.learning.update import Batches

Model = TypeVar("Model")


@dataclass(frozen=True)
class Training(Validated):
    """Settings of the optimiser and of the batches that it sees."""

    updates: Count
    batch: Count
    """Samples of one update."""
    learning_rate: Positive
    """The largest learning rate."""
    warmup_fraction: Fraction = 0.1
    """Share of the updates over which the learning rate rises linearly from zero; then it falls
    along a cosine. 0: it starts at its largest."""
    final_fraction: Fraction = 0.0
    """The learning rate after the last update, relative to the largest."""
    clip: Positive = 1.0
    """The largest norm of a gradient; a longer one is scaled down to it."""
    average: Fraction | None = 0.99
    """Decay per update of the exponential moving average of the parameters that is returned; None
    returns the last parameters."""

    def schedule(self) -> optax.Schedule:
        """The learning rate of each update."""
        return warmup_cosine(
            self.learning_rate, self.updates, self.warmup_fraction, self.final_fraction
        )

    def optimiser(
        self, method: Callable[..., optax.GradientTransformation] = optax.adam, **options: Any
    ) -> optax.GradientTransformation:
        """`method(schedule, **options)` on gradients clipped by their norm."""
        return optax.chain(optax.clip_by_global_norm(self.clip), method(self.schedule(), **options))


def warmup_cosine(
    learning_rate: float, updates: int, warmup_fraction: float, final_fraction: float = 0.0
) -> optax.Schedule:
    """A linear rise over a share of the updates, at least one of them, then a fall along a cosine;
    the fall alone if the share is zero."""
    if warmup_fraction == 0:
        return optax.cosine_decay_schedule(learning_rate, updates, final_fraction)
    warmup = max(1, int(warmup_fraction * updates))
    return optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup, max(updates, warmup + 1), final_fraction * learning_rate
    )


def train(
    training: Training,
    network: Model,
    loss: Callable[..., Array],
    batches: Batches,
    key: PRNGKeyArray,
    folder: Path,
    name: str,
    *,
    b2: float = 0.999,
) -> tuple[Model, History]:
    """Fit by Adam with the settings of `training`; `b2` is the decay per update of Adam's mean of
    squared gradients, smaller where their size changes within few updates."""
    return fit(
        network,
        loss,
        batches,
        training.optimiser(optax.adam, b2=b2),
        training.updates,
        key=key,
        chunk=250,
        ema=training.average,
        folder=folder / "checkpoints" / name,
        name=name,
    )
