"""A fully connected network that knows the time: for vectors of few components."""

from collections.abc import Callable, Sequence
from math import pi, sqrt

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense

Embedding = Callable[[Float[Array, ""]], Float[Array, " features"]]


def plain(t: Float[Array, ""]) -> Float[Array, " 1"]:
    """The time itself."""
    return t[None]


class Waves(eqx.Module):
    """The time and its sines and cosines of 1, 2, 4, ... half periods: `1 + 2 count` features."""

    count: int = eqx.field(static=True)

    def __check_init__(self):
        checks.count("count", self.count)

    def __call__(self, t: Float[Array, ""]) -> Float[Array, " features"]:
        phases = pi * 2.0 ** jnp.arange(self.count) * t
        return jnp.concatenate([t[None], jnp.sin(phases), jnp.cos(phases)])


class TimeDense(eqx.Module):
    """`network(x, t, condition)`: a `Dense` of the vector `x`, features of the time, and the
    numbers of the condition, any pytree of arrays, one after the other."""

    network: Dense
    embed: Embedding = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int],
        *,
        condition: int = 0,
        embed: Embedding = plain,
        activation: Callable[[Array], Array] = jax.nn.silu,
        key: PRNGKeyArray,
    ):
        """`dim` is that of `x` and of the output, `condition` the number of numbers of a condition.
        Raises ValueError for sizes below one and a negative `condition`."""
        checks.count("dim", dim)
        checks.count("condition", condition, 0)
        features = jax.eval_shape(embed, jax.ShapeDtypeStruct((), float)).size
        sizes = (dim + features + condition, *hidden, dim)
        self.network = Dense(sizes, activation=activation, scale=sqrt(2), key=key)
        self.embed = embed

    def __call__(
        self, x: Float[Array, " dim"], t: Float[Array, ""], condition: PyTree = None
    ) -> Float[Array, " dim"]:
        """Raises ValueError where the numbers are not as many as were announced."""
        given = [jnp.ravel(leaf) for leaf in jax.tree.leaves(condition)]
        return self.network(jnp.concatenate([x, self.embed(t), *given]))
