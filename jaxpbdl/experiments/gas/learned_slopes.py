"""A network that chooses the slope in each cell, between two limiters whatever its weights are.

The line in a cell rises by

    superbee + choice (2 minmod - superbee)   where the choice, in (-1, 1), is positive,
    superbee + choice (superbee - minmod)     elsewhere,

from the most careful limiter (-1) over `superbee` (0) to the steepest line whose values at the
edges lie between the means of the neighbours (1; P. K. Sweby, SIAM J. Numer. Anal. 21 (1984) 995).
At extrema it is level. The fluxes are those of any other reconstruction: mass, momentum and energy
are kept.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.solvers.compressible import Reconstruction, minmod, superbee

FEATURES = 12
VALUES = 3
"""Density, velocity, pressure: one axis of space."""


class LearnedSlopes(Reconstruction):
    """Of the primitive variables of a gas in one dimension: a network of one hidden layer sees five
    cells and gives the choice for each variable. For `primitive_lines`.

    What it sees does not change with the units, with the frame of reference, or in a mirror.

    **Attributes:** weights and biases of the hidden layer and of the choices.
    """

    hidden: Float[Array, "width features"]
    hidden_bias: Float[Array, " width"]
    outer: Float[Array, "values width"]
    outer_bias: Float[Array, " values"]
    reach: int = eqx.field(static=True, default=2)

    def choice(self, *cells: Array) -> Array:
        """In (-1, 1), of each variable."""
        hidden = _bounded(_layer(self.hidden, self.hidden_bias, features(*cells)))
        return _bounded(_layer(self.outer, self.outer_bias, hidden))

    def difference(self, *cells: Array) -> Array:
        """Across the middle cell. Raises ValueError for a gas in two or three dimensions."""
        _, low, here, high, _ = cells
        if len(here) != VALUES:
            raise ValueError(
                "learned slopes are of density, velocity and pressure along one axis of space, "
                f"{VALUES} values; got {len(here)}"
            )
        before, after = here - low, high - here
        careful, middle = minmod(before, after), superbee(before, after)
        choice = self.choice(*cells)
        return middle + choice * jnp.where(choice > 0, 2 * careful - middle, middle - careful)

    def __call__(self, *cells: Array) -> Array:
        raise TypeError("learned slopes are lines of the primitive variables: primitive_lines")


def random_slopes(width: int, key: PRNGKeyArray) -> LearnedSlopes:
    """Random weights, choices near 0: `superbee`."""
    one, two = jax.random.split(key)
    return LearnedSlopes(
        hidden=2 * jax.random.normal(one, (width, FEATURES)) / FEATURES**0.5,
        hidden_bias=jnp.zeros(width),
        outer=0.1 * jax.random.normal(two, (VALUES, width)),
        outer_bias=jnp.zeros(VALUES),
    )


def features(*cells: Float[Array, "3 *points"]) -> Float[Array, "12 *points"]:
    """Of each variable how unequal both differences of the middle cell are, and how the outer two
    compare with them; of all, the pressure's part in the jump (none at a contact), how fast the gas
    is pressed together, and how strong the jump of the pressure is. All within [-1, 1]."""
    a, b, c, d, e = cells
    first, before, after, last = b - a, c - b, d - c, e - d
    scale = jnp.stack([c[0], jnp.sqrt(jnp.abs(c[2] / c[0])), c[2]])
    inner = jnp.abs(before) + jnp.abs(after) + 1e-6 * scale
    both = inner * (inner + jnp.abs(first) + jnp.abs(last))
    curved = jnp.abs(before - after) / inner
    even = (first + last) * (before + after) / both
    odd = (first - last) * (before - after) / both
    density, velocity, pressure = inner / scale
    parting = (before[1] + after[1]) / scale[1]
    together = jnp.stack(
        [
            pressure / (pressure + density),
            parting / (velocity + density),
            pressure / (1 + pressure),
        ]
    )
    return jnp.concatenate([curved, even, odd, together])


def _layer(weights: Array, bias: Array, inputs: Array) -> Array:
    """One input after the other: XLA makes one loop over the points of it, which is faster than
    a product of such small matrices."""

    def column(numbers: Array) -> Any:
        return numbers.reshape(-1, *[1] * (inputs.ndim - 1))

    total = column(bias)
    for number in range(weights.shape[1]):
        total = total + column(weights[:, number]) * inputs[number]
    return total


def _bounded(values: Array) -> Array:
    """In (-1, 1), without an exponential: a hyperbolic tangent doubles the cost of the step."""
    return values / (1 + jnp.abs(values))
