"""The training of most experiments, and the learning rate of more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import optax
from jaxtyping import Array, PRNGKeyArray

from jaxpbdl.learning import History, fit

Model = TypeVar("Model")


def rise_and_fall(learning_rate: float, updates: int, *, rise: int) -> optax.Schedule:
    """From zero up over one `rise`-th of the updates, then down to zero along a cosine."""
    rising = max(1, updates // rise)
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, rising, max(updates, rising + 1))


class Training(Protocol):
    """The settings that `train` reads."""

    @property
    def updates(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


def train(
    config: Training,
    network: Model,
    loss: Callable[..., Array],
    batches: Callable[[PRNGKeyArray], Any],
    key: PRNGKeyArray,
    folder: Path,
    name: str,
    *,
    rise: int = 10,
    memory: float = 0.999,
    average: float | None = 0.99,
) -> tuple[Model, History]:
    """Adam with a rise and a cosine fall of the learning rate, the parameters averaged over updates
    unless `average` is None. `memory` is that of Adam's second moments, per update: less where the
    gradient changes by more than its size over few updates."""
    schedule = rise_and_fall(config.learning_rate, config.updates, rise=rise)
    return fit(
        network,
        loss,
        batches,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=memory)),
        config.updates,
        key=key,
        chunk=250,
        ema=average,
        folder=folder / "checkpoints" / name,
        name=name,
    )
