"""Losses and batches for maps between functions: pairs of an input and an output, one at a time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks

Pairs = tuple[Float[Array, "batch *input"], Float[Array, "batch *output"]]


class Samples(eqx.Module):
    """Random pairs of a data set: `samples(key)` gives `batch` inputs and their outputs.

    Each is drawn independently of the others. Raises ValueError for unequal numbers of inputs and
    outputs.
    """

    inputs: Float[Array, "samples *input"]
    outputs: Float[Array, "samples *output"]
    batch: int = eqx.field(static=True)

    def __init__(self, inputs: Any, outputs: Any, batch: int):
        self.inputs, self.outputs = jnp.asarray(inputs), jnp.asarray(outputs)
        checks.count("batch", batch)
        count = len(self.inputs)
        if len(self.outputs) != count:
            raise ValueError(
                f"there must be one output an input, got {count} and {len(self.outputs)}"
            )
        self.batch = batch

    def __call__(self, key: PRNGKeyArray) -> Pairs:
        chosen = jax.random.randint(key, (self.batch,), 0, len(self.inputs))
        return self.inputs[chosen], self.outputs[chosen]


def relative_l2_loss(model: Callable[[Array], Array], pairs: Pairs) -> Float[Array, ""]:
    """The mean over a batch of `|model(a) - u| / |u|`, norms over all points and channels.

    Every sample counts alike whatever its size: what tables of neural operators report.
    """
    inputs, outputs = pairs
    return jnp.mean(_relative(jax.vmap(model)(inputs) - outputs, outputs))


def relative_h1_loss(model: Callable[[Array], Array], pairs: Pairs) -> Float[Array, ""]:
    """The same in the norm `|u|^2 + |grad u|^2` of fields `(channels, *grid)` on the unit box.

    The gradient is the difference of neighbouring points inside the box, so nothing is assumed at
    its boundary.
    """
    inputs, outputs = pairs
    return jnp.mean(_relative(jax.vmap(model)(inputs) - outputs, outputs, gradient=True))


def _relative(error: Array, truth: Array, gradient: bool = False) -> Array:
    """One number a sample."""

    def energy(field: Array) -> Array:
        axes = tuple(range(1, field.ndim))
        total = jnp.mean(field**2, axes)
        for axis in axes[1:] if gradient else ():
            slope = jnp.diff(field, axis=axis) * field.shape[axis]
            total = total + jnp.mean(slope**2, axes)
        return total

    # The square root has no slope at zero: a perfect prediction would give NaN.
    tiny = jnp.finfo(error.dtype).tiny
    return jnp.sqrt(jnp.maximum(energy(error) / jnp.maximum(energy(truth), tiny), tiny))
