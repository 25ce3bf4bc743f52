"""What the losses of generative models have in common: a mean over samples, each with a draw of its
own.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

Model: TypeAlias = Callable[[Array, Array, PyTree], Array]
"""`(x, t, condition)` to an array of the shape of `x`."""
Batch: TypeAlias = tuple[Float[Array, "samples *shape"], PyTree]
"""Samples, and their conditions: a pytree with the same first axis, or None."""


class SampleLoss(eqx.Module):
    """The mean over samples of `of_one`: `loss(model, batch, key)`, for `fit`."""

    def __call__(self, model: Model, batch: Batch, key: PRNGKeyArray) -> Float[Array, ""]:
        samples, condition = batch
        keys = jax.random.split(key, len(samples))
        return jnp.mean(jax.vmap(lambda *each: self.of_one(model, *each))(samples, condition, keys))

    def of_one(
        self, model: Model, x: Float[Array, "*shape"], condition: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """Of one sample."""
        raise NotImplementedError(f"{type(self).__name__} must define of_one")
