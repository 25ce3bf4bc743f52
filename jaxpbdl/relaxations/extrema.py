"""The largest and the smallest of several values, softly.

    soft maximum          temperature log sum_j exp(x_j / temperature)     from above
    Boltzmann maximum     sum_j w_j x_j,  w = soft_argmax(x)               from below
    soft argmax           w_j = exp(x_j / temperature) / sum_k exp(x_k / temperature)

The temperature is in the units of `x`. Of `n` values the first is at most `temperature log n` above
the largest, and convex; the second is a mean, and falls where a value far below the others rises
(Asadi and Littman, ICML 2017, PMLR 70, 243).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl.relaxations.inputs import Scalar, check, in_temperatures


def soft_maximum(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """`temperature log sum exp(x / temperature)` along an axis, which the answer does not have.

    Raises ValueError for a temperature that is not above zero and an axis that is not there or is
    empty.
    """
    largest, weights = _relative(x, temperature, axis)
    return jnp.squeeze(largest, axis) + temperature * jnp.log(jnp.sum(weights, axis))


def soft_minimum(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """`-temperature log sum exp(-x / temperature)`, at most the smallest; see `soft_maximum`."""
    return -soft_maximum(-x, temperature, axis)


def soft_argmax(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "*shape"]:
    """Weights that add to one along an axis and tend to one at the largest value, or to equal
    shares where several are largest.

    Raises ValueError as `soft_maximum` does.
    """
    weights = _relative(x, temperature, axis)[1]
    return weights / jnp.sum(weights, axis, keepdims=True)


def boltzmann_maximum(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """The mean with the weights of `soft_argmax`, at most the largest value.

    Raises ValueError as `soft_maximum` does.
    """
    return jnp.sum(soft_argmax(x, temperature, axis) * x, axis)


def boltzmann_minimum(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """The mean with weights that tend to one at the smallest value; see `boltzmann_maximum`."""
    return -boltzmann_maximum(-x, temperature, axis)


def _relative(x: Array, temperature: Scalar, axis: int) -> tuple[Array, Array]:
    """The largest value, and the exponentials relative to its own. It cancels in every answer, so
    that no gradient need pass through it."""
    check(x, temperature, axis)
    largest = lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return largest, jnp.exp(-in_temperatures(largest - x, temperature))
