"""The learning rate of most experiments."""

import optax


def rise_and_fall(learning_rate: float, updates: int, *, rise: int) -> optax.Schedule:
    """From zero up over one `rise`-th of the updates, then down to zero along a cosine."""
    rising = max(1, updates // rise)
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, rising, max(updates, rising + 1))
