"""What the relaxations take, and distances in units of the temperature."""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks

Scalar: TypeAlias = Float[Array, ""] | float
Step: TypeAlias = Callable[[Float[Array, "*shape"], Scalar], Float[Array, "*shape"]]
"""From zero to one about `x = 0`, `step(x, temperature)`."""

FAR = 1000.0
"""Temperatures beyond which nothing weighs anything: `exp(-1000)` is zero in float64 too."""


def check(x: Float[Array, "*shape"], temperature: Scalar, axis: int) -> None:
    """Refuse a temperature that is not above zero, an axis that `x` does not have, and one that is
    empty."""
    checks.real("x", x)
    checks.positive("temperature", temperature)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must be one of the {x.ndim} axes of x, got {axis}")
    if x.shape[axis] == 0:
        raise ValueError(f"x must have entries along axis {axis}, got shape {x.shape}")


def in_temperatures(
    distance: Float[Array, "*shape"], temperature: Scalar
) -> Float[Array, "*shape"]:
    """A distance, at least zero, over the temperature; at most `FAR`, so that neither it nor its
    gradient overflows."""
    return jnp.minimum(distance, FAR * temperature) / temperature
