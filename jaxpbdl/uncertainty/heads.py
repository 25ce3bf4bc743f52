"""Networks that say how noisy their targets are, and the loss that trains them."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.uncertainty.scores import gaussian_nll


class Normal(NamedTuple):
    """A normal distribution of each value."""

    mean: Float[Array, "*shape"]
    variance: Float[Array, "*shape"]


class Heteroscedastic(eqx.Module):
    """A network that predicts a normal distribution: `model(x) -> Normal`.

    The first half of what `network` gives along its first axis, numbers or channels, are means; the
    variances are `softplus` of the second half, plus `floor`, which bounds the probability of a
    single target in its unit squared.
    """

    network: Callable[[PyTree], Array]
    floor: float = eqx.field(static=True)

    def __init__(self, network: Callable[[PyTree], Array], floor: float = 1e-6):
        """Raises ValueError unless the floor is > 0."""
        checks.positive("floor", floor)
        self.network, self.floor = network, floor

    def __call__(self, inputs: PyTree) -> Normal:
        """Raises ValueError if the network gives an odd number of channels."""
        outputs = self.network(inputs)
        if outputs.shape[0] % 2:
            raise ValueError(
                "network must give a mean and a variance of each value, an even number along its "
                f"first axis, got the shape {outputs.shape}"
            )
        mean, raw = jnp.split(outputs, 2)
        return Normal(mean, jax.nn.softplus(raw) + self.floor)


def beta_nll(predicted: Normal, truth: Float[Array, "*shape"], beta: float = 0.5) -> Array:
    """The mean of `variance^beta` times the negative log-likelihood, the weight without a gradient.

    The likelihood alone weighs the error of a mean by one over its variance, and where a network is
    bad at first it stays so: it declares noise. `beta = 1` weighs all errors alike, `0` is the
    likelihood (Seitzer et al., ICLR 2022). Raises ValueError for a beta outside of [0, 1].
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must lie in [0, 1], got {beta}")
    weight = lax.stop_gradient(predicted.variance) ** beta
    return jnp.mean(weight * gaussian_nll(predicted.mean, predicted.variance, truth))
