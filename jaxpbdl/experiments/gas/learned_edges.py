"""A network that chooses the values at the edges of each cell, bounded whatever its weights are.

The value at an edge lies between the means of the two cells that the edge parts,

    value = mean + share (mean beyond the edge - mean),   0 < share < 1,

so no density or pressure on a face is below both (0 is the scheme of first order, 1/2 the mean of
both, 1 sharpens a contact most). The fluxes are those of any other reconstruction: mass, momentum
and energy are kept.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.grids.cells import along
from jaxpbdl.solvers.compressible import Reconstruction

EVEN, ODD = 12, 9
"""Numbers that a mirror keeps, and that it turns round."""
VALUES = 3
"""Density, velocity, pressure: one axis of space."""
TINY = 1e-6
"""Of the values themselves: what is less is rounding."""


class LearnedEdges(Reconstruction):
    """Of the primitive variables of a gas in one dimension: a network of one hidden layer sees five
    cells and gives the shares at both edges of the middle one; used by `learned_edges`.

    What it sees does not change with the units or with the frame of reference. In a mirror the
    shares of both edges change places: the hidden layer has a copy for each edge, which differ in
    the sign of what a mirror turns round.

    **Attributes:** weights of what a mirror keeps and turns round, their bias, weights and biases
    of the shares.
    """

    even: Float[Array, "width even"]
    odd: Float[Array, "width odd"]
    bias: Float[Array, " width"]
    outer: Float[Array, "values width"]
    outer_bias: Float[Array, " values"]
    reach: int = eqx.field(static=True, default=2)

    def shares(self, *cells: Array) -> tuple[Array, Array]:
        """Of the way to the mean beyond the upper and the lower edge, in (0, 1)."""
        even, odd = features(*cells)
        kept, turned = _layer(self.even, even, self.bias), _layer(self.odd, odd)
        upper, lower = (
            (1 + _bounded(_layer(self.outer, _bounded(hidden), self.outer_bias))) / 2
            for hidden in (kept + turned, kept - turned)
        )
        return upper, lower

    def __call__(self, *cells: Array) -> Array:
        """At the upper edge."""
        _, _, here, after, _ = cells
        return here + self.shares(*cells)[0] * (after - here)


def random_edges(width: int, key: PRNGKeyArray) -> LearnedEdges:
    """Random weights, shares near 1/4."""
    one, two, three = jax.random.split(key, 3)
    return LearnedEdges(
        even=1.5 * jax.random.normal(one, (width, EVEN)) / EVEN**0.5,
        odd=3.0 * jax.random.normal(two, (width, ODD)) / ODD**0.5,
        bias=jnp.zeros(width),
        outer=0.3 * jax.random.normal(three, (VALUES, width)),
        outer_bias=jnp.full(VALUES, -1.0),
    )


def learned_edges(
    equation: ConservationLaw,
    state: Float[Array, "value *cells"],
    axis: int,
    reconstruction: LearnedEdges,
) -> Float[Array, "value 2 *faces"]:
    """The variables of `finite_volumes` for it: primitive ones, both edges at once.

    **Raises:** TypeError for another reconstruction, ValueError for a gas in two or three
    dimensions.
    """
    if not isinstance(reconstruction, LearnedEdges):
        raise TypeError(f"learned_edges takes LearnedEdges, got {type(reconstruction).__name__}")
    if len(state) != VALUES:
        raise ValueError(
            "learned edges are of density, velocity and pressure along one axis of space, "
            f"{VALUES} values; got {len(state)}"
        )
    values, n = equation.primitive(state), state.shape[1] - 4
    cells = [along(values, 1, first, first + n) for first in range(5)]
    _, before, here, after, _ = cells
    upper, lower = reconstruction.shares(*cells)
    above, below = here + upper * (after - here), here + lower * (before - here)
    return equation.conserved(jnp.stack([above[:, :-1], below[:, 1:]], axis=1))


def features(
    *cells: Float[Array, "3 *points"],
) -> tuple[Float[Array, "12 *points"], Float[Array, "9 *points"]]:
    """What a mirror keeps and what it turns round, all within [-1, 1]: of each variable the
    differences between the cells beside their sum, and the harmonic means of neighbouring ones,
    which tell steps from extrema; of all, the pressure's part in the jump (none at a contact), how
    fast the gas is pressed together, and how strong the jump of the pressure is."""
    a, b, c, d, e = cells
    steps = b - a, c - b, d - c, e - d
    scale = jnp.stack([c[0], jnp.sqrt(jnp.abs(c[2] / c[0])), c[2]])
    one, two, three, four = (jnp.abs(step) for step in steps)
    inner, tiny = two + three, TINY * scale
    total = one + inner + four + tiny

    def mean(first: Array, second: Array, sizes: Array) -> Array:
        return first * second / (total * (sizes + tiny))

    outside, inside, beyond = (
        mean(steps[k], steps[k + 1], size)
        for k, size in enumerate((one + two, inner, three + four))
    )
    density, velocity, pressure = (inner + tiny) / scale
    parting = (steps[1][1] + steps[2][1]) / scale[1]
    together = [
        pressure / (pressure + density), parting / (velocity + density), pressure / (1 + pressure),
    ]  # fmt: skip
    even = jnp.concatenate([inner / total, inside, outside + beyond, jnp.stack(together)])
    odd = jnp.concatenate([(three - two) / total, (four - one) / total, beyond - outside])
    return even, odd


def _layer(weights: Array, inputs: Array, bias: Array | None = None) -> Array:
    """One input after the other: XLA makes one loop over the points of it, which is faster than a
    product of such small matrices."""
    shape = (-1, *[1] * (inputs.ndim - 1))
    total = np.zeros(()) if bias is None else bias.reshape(shape)
    for number in range(weights.shape[1]):
        total = total + weights[:, number].reshape(shape) * inputs[number]
    return jnp.asarray(total)


def _bounded(values: Array) -> Array:
    """In (-1, 1), without an exponential: a hyperbolic tangent doubles the cost of the step."""
    return values / (1 + jnp.abs(values))
