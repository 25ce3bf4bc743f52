"""Which measurements count for which value of a state."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks


def gaspari_cohn(distance: Float[Array, "*shape"], radius: float) -> Float[Array, "*shape"]:
    """A correlation that falls from one to zero at `2 radius`, in pieces of fifth order: with
    `r = distance / radius`

        1 - 5/3 r^2 + 5/8 r^3 + 1/2 r^4 - 1/4 r^5                     for r <= 1
        4 - 5 r + 5/3 r^2 + 5/8 r^3 - 1/2 r^4 + 1/12 r^5 - 2/(3 r)    for 1 < r <= 2

    (Gaspari and Cohn, Q. J. R. Meteorol. Soc. 125 (1999) 723, equation 4.10).

    **Raises:** ValueError for a radius that is not above 0; an infinite one leaves all at one.
    """
    if checks.is_concrete(radius) and not radius > 0:
        raise ValueError(f"radius must be > 0, got {radius}")
    r = jnp.abs(distance) / radius
    near = 1 + r**2 * (-5 / 3 + r * (5 / 8 + r * (1 / 2 - r / 4)))
    apart = jnp.maximum(r, 1.0)  # no division by zero where the other piece is meant
    far = 4 - 5 * r + r**2 * (5 / 3 + r * (5 / 8 + r * (-1 / 2 + r / 12))) - 2 / (3 * apart)
    return jnp.where(r <= 1, near, jnp.where(r < 2, far, 0.0))


def periodic_distances(
    points: Float[Array, " n"], others: Float[Array, " m"], length: float
) -> Float[Array, "n m"]:
    """Distances on a circle of circumference `length`, the shorter way round.

    **Raises:** ValueError for a length that is not above 0."""
    checks.positive("length", length)
    apart = jnp.abs(points[:, None] - others) % length
    return jnp.minimum(apart, length - apart)
