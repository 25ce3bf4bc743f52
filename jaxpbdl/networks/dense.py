"""A fully connected network on one vector."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks


class Dense(eqx.Module):
    """Layers `x -> activation(x @ weight + bias)`, the last without the activation.

    `sizes = (in, hidden, ..., out)`. Weights are drawn from a normal distribution of standard
    deviation `scale / sqrt(fan in)`, which keeps the variance of a tanh network; take
    `scale = sqrt(2)` for relu (He et al. 2015). `zero_last` starts the network at zero output.
    """

    weights: tuple[Float[Array, "_fan_in _fan_out"], ...]
    biases: tuple[Float[Array, " _fan_out"], ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: Callable[[Array], Array] = jnp.tanh,
        scale: float | Array = 1.0,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for fewer than two sizes or a size below one."""
        if len(sizes) < 2:
            raise ValueError(f"sizes must name at least the input and the output, got {sizes}")
        for index, size in enumerate(sizes):
            checks.count(f"sizes[{index}]", size)
        keys = jax.random.split(key, len(sizes) - 1)
        weights = [
            scale / fan_in**0.5 * jax.random.normal(k, (fan_in, fan_out))
            for k, fan_in, fan_out in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
        if zero_last:
            weights[-1] = jnp.zeros_like(weights[-1])
        self.weights = tuple(weights)
        self.biases = tuple(jnp.zeros(size) for size in sizes[1:])
        self.activation = activation

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        """Raises ValueError if `x` is not one vector of the input size."""
        expected = self.weights[0].shape[:1]
        if x.shape != expected:
            raise ValueError(
                f"Dense expects one vector of shape {expected}, got shape {tuple(x.shape)}; "
                "use jax.vmap for a batch of vectors"
            )
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]


def parameter_count(model: eqx.Module) -> int:
    """The number of trainable (inexact) numbers of a model; a complex one counts once."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
