"""Windows of several analyses that move on by one: bookkeeping of the start, where the first
windows are shorter."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

State = TypeVar("State")


def active(number: Int[Array, ""], lag: int) -> Array:
    """Which of the `lag` intervals of a window lie after the start of the experiment, when it ends
    at analysis `number` (from zero)."""
    return jnp.arange(lag) >= lag - 1 - number


def through(
    forecast: Callable[[State, PyTree], State],
    state: State,
    within: Array,
    inputs: PyTree = None,
) -> tuple[State, State]:
    """The state at the end of a window, and after each of its intervals; outside of the experiment
    it does not change."""

    def turn(state: State, given: tuple[Array, PyTree]) -> tuple[State, State]:
        state = chosen(given[0], forecast(state, given[1]), state)
        return state, state

    return lax.scan(turn, state, (within, inputs))


def chosen(which: Array, one: State, other: State) -> State:
    """`one` if `which`, else `other`, leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), one, other)
