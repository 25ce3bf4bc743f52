"""Steps from zero to one that have a slope, choices by them, and hard values with soft gradients.

The step of Heaviside has no slope but at zero. Here it rises over a stretch of the size of the
temperature, in the units of `x`; as the temperature falls to zero, all steps tend to that of
Heaviside, with 1/2 at zero.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.relaxations.inputs import Scalar, Step

Answer = TypeVar("Answer", bound=PyTree)


def soft_step(x: Float[Array, "*shape"], temperature: Scalar) -> Float[Array, "*shape"]:
    """`1 / (1 + exp(-x / temperature))`: smooth, and never quite zero or one.

    Raises ValueError for a temperature that is not above zero.
    """
    checks.positive("temperature", temperature)
    return jax.nn.sigmoid(x / temperature)


def cubic_step(x: Float[Array, "*shape"], temperature: Scalar) -> Float[Array, "*shape"]:
    """`t^2 (3 - 2 t)` with `t = (1 + x / temperature) / 2`: zero up to `x = -temperature`, one from
    `x = temperature`, with a continuous slope (C1).

    Raises ValueError for a temperature that is not above zero.
    """
    t = _share(x, temperature)
    return t**2 * (3 - 2 * t)


def quintic_step(x: Float[Array, "*shape"], temperature: Scalar) -> Float[Array, "*shape"]:
    """`t^3 (10 - 15 t + 6 t^2)`, between the ends of `cubic_step`, with a continuous curvature
    (C2).

    Raises ValueError for a temperature that is not above zero.
    """
    t = _share(x, temperature)
    return t**3 * (10 - 15 * t + 6 * t**2)


def _share(x: Array, temperature: Scalar) -> Array:
    """Of the way from `-temperature` to `temperature`."""
    checks.positive("temperature", temperature)
    return jnp.clip(0.5 + 0.5 * (x / temperature), 0, 1)


def soft_where(
    score: Float[Array, "*shape"],
    positive: Float[Array, "..."],
    negative: Float[Array, "..."],
    temperature: Scalar,
    step: Step = soft_step,
) -> Float[Array, "..."]:
    """`positive` where the score is above zero and `negative` where it is below, mixed about zero
    by `step(score, temperature)`; the three broadcast.

    Raises ValueError for a temperature that is not above zero.
    """
    weight = step(score, temperature)
    return weight * positive + (1 - weight) * negative


def straight_through(
    hard: Callable[..., Answer], soft: Callable[..., Answer]
) -> Callable[..., Answer]:
    """A function with the values of `hard` and the derivatives of `soft`, bit by bit (Bengio,
    Leonard and Courville, arXiv:1308.3432, 2013).

    **Arguments**

    - `hard`, `soft`: from the same positional arguments to arrays, or trees of them, of the same
      shapes. `hard` is never differentiated; whole numbers and truth values that it returns become
      the floats of `soft`.

    **Raises** ValueError, when called, for answers of different shapes.
    """

    def joined(*arguments: PyTree) -> Answer:
        smooth = soft(*arguments)
        exact = hard(*jax.tree.map(lax.stop_gradient, arguments))
        return jax.tree.map(_exact_value, exact, smooth)

    return joined


def _exact_value(exact: ArrayLike, smooth: Array) -> Array:
    if jnp.shape(exact) != jnp.shape(smooth):
        raise ValueError(
            f"hard must return the shape of soft, {jnp.shape(smooth)}, got {jnp.shape(exact)}"
        )
    return _first(jnp.asarray(exact, jnp.result_type(smooth)), smooth)


@jax.custom_jvp
def _first(exact: Array, smooth: Array) -> Array:
    return exact


@_first.defjvp
def _(values: tuple[Array, Array], changes: tuple[Array, Array]) -> tuple[Array, Array]:
    # Of a function, so that second derivatives are those of the soft one too.
    return _first(*values), changes[1]
