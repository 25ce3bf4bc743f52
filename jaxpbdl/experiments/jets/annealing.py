"""Descent at falling temperatures: soft choices that harden on the way."""

from collections.abc import Callable

import equinox as eqx
import jax
import optax
from jax import lax
from jaxtyping import Array, Float


def annealed(
    loss: Callable[[Array, Array], Array],
    start: Float[Array, " n"],
    temperatures: Float[Array, " updates"],
    learning_rate: float,
    every: int,
) -> Float[Array, "passed n"]:
    """What Adam passes through after every `every`-th update on `loss(x, temperature)`, one update
    for each temperature, at a learning rate that falls along a cosine."""
    optimiser = optax.adam(optax.cosine_decay_schedule(learning_rate, len(temperatures)))

    def update(
        state: tuple[Array, optax.OptState], temperature: Array
    ) -> tuple[tuple[Array, optax.OptState], Array]:
        x, memory = state
        change, memory = optimiser.update(jax.grad(loss)(x, temperature), memory)
        x = eqx.apply_updates(x, change)
        return (x, memory), x

    return lax.scan(update, (start, optimiser.init(start)), temperatures)[1][every - 1 :: every]
