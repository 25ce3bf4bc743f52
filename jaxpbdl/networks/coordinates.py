"""Networks of coordinates: features of a point, and the architectures that trained physics-informed
networks to their records.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense
from jaxpbdl.trainable import Constant


class FourierFeatures(eqx.Module):
    """x -> (cos 2 pi B x, sin 2 pi B x) with a fixed B of normal entries with standard deviation
    `scale`: the higher the scale, the higher the frequencies a network learns first (Tancik et al.,
    NeurIPS 2020).
    """

    frequencies: Constant

    def __init__(self, dim: int, count: int, scale: float = 1.0, *, key: PRNGKeyArray):
        """`2 count` features of `dim` coordinates."""
        checks.counts(dim=dim, count=count)
        checks.positive("scale", scale)
        self.frequencies = Constant(scale * jax.random.normal(key, (dim, count)))

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " features"]:
        phase = 2 * np.pi * (x @ self.frequencies())
        return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])


class PeriodicFeatures(eqx.Module):
    """Replaces coordinate `axis` by the first `waves` harmonics of its period, so that any network
    behind it is periodic to all orders (Dong and Ni, J. Comput. Phys. 435 (2021) 110242).

    A `period` given as an array is trained with the network; a number stays.
    """

    axis: int = eqx.field(static=True)
    period: float | Float[Array, ""]
    waves: int = eqx.field(static=True, default=1)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " features"]:
        """`2 waves` features in place of the coordinate, after the other coordinates."""
        phase = 2 * np.pi / self.period * np.arange(1, self.waves + 1) * x[self.axis]
        others = jnp.concatenate([x[: self.axis], x[self.axis + 1 :]])
        return jnp.concatenate([others, jnp.cos(phase), jnp.sin(phase)])


class Chain(eqx.Module):
    """Callables one after another."""

    links: tuple[Callable, ...]

    def __init__(self, *links: Callable):
        self.links = links

    def __call__(self, x: Array) -> Array:
        for link in self.links:
            x = link(x)
        return x


class Factorised(eqx.Module):
    """A linear layer `x -> scale * (x @ direction) + bias`, each column of the weight split into a
    scale and a direction (random weight factorisation, Wang et al., arXiv:2210.01274).

    The scales start at exp of a normal number of the given mean and deviation.
    """

    log_scale: Float[Array, " fan_out"]
    direction: Float[Array, "fan_in fan_out"]
    bias: Float[Array, " fan_out"]

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        mean: float = 1.0,
        deviation: float = 0.1,
        *,
        key: PRNGKeyArray,
    ):
        weight_key, scale_key = jax.random.split(key)
        weight = jax.random.normal(weight_key, (fan_in, fan_out)) / fan_in**0.5
        self.log_scale = mean + deviation * jax.random.normal(scale_key, (fan_out,))
        self.direction = weight / jnp.exp(self.log_scale)
        self.bias = jnp.zeros(fan_out)

    def __call__(self, x: Float[Array, " fan_in"]) -> Float[Array, " fan_out"]:
        return jnp.exp(self.log_scale) * (x @ self.direction) + self.bias


def _mixed(gate: Array, u: Array, v: Array) -> Array:
    return gate * u + (1 - gate) * v


class Gated(eqx.Module):
    """A dense network whose every layer is mixed from two embeddings of the input,
    h -> h u + (1 - h) v (Wang, Teng and Perdikaris, SIAM J. Sci. Comput. 43 (2021) A3055).
    """

    embeddings: tuple[Factorised, Factorised]
    layers: tuple[Factorised, ...]
    last: Factorised
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 64,
        depth: int = 4,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """`depth` hidden layers of `width`."""
        checks.counts(inputs=inputs, outputs=outputs, width=width, depth=depth)
        keys = jax.random.split(key, depth + 3)
        fans = [inputs] + [width] * (depth - 1)
        self.embeddings = (
            Factorised(inputs, width, key=keys[0]),
            Factorised(inputs, width, key=keys[1]),
        )
        self.layers = tuple(
            Factorised(fan_in, width, key=k) for fan_in, k in zip(fans, keys[3:], strict=True)
        )
        self.last = Factorised(width, outputs, key=keys[2])
        self.activation = activation

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        u, v = (self.activation(embedding(x)) for embedding in self.embeddings)
        for layer in self.layers:
            x = _mixed(self.activation(layer(x)), u, v)
        return self.last(x)


class PirateNet(eqx.Module):
    """Residual blocks of three gated layers whose residual part starts at zero: at first the
    network is linear in the embedding of its input, and it deepens while it is trained (Wang, Li,
    Chen and Perdikaris, J. Mach. Learn. Res. 25 (2024) 402).
    """

    embeddings: tuple[Factorised, Factorised]
    blocks: tuple[tuple[Factorised, Factorised, Factorised], ...]
    openings: Float[Array, " depth"]
    last: Factorised
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        depth: int = 3,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ):
        """`inputs` features (of `FourierFeatures`, say) are the width of the network."""
        checks.counts(inputs=inputs, outputs=outputs, depth=depth)
        keys = iter(jax.random.split(key, 3 * depth + 3))
        layer = lambda: Factorised(inputs, inputs, key=next(keys))  # noqa: E731
        self.embeddings = (layer(), layer())
        self.blocks = tuple((layer(), layer(), layer()) for _ in range(depth))
        self.last = Factorised(inputs, outputs, key=next(keys))
        self.openings = jnp.zeros(depth)
        self.activation = activation

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        u, v = (self.activation(embedding(x)) for embedding in self.embeddings)
        for block, opening in zip(self.blocks, self.openings, strict=True):
            first, second, third = block
            h = _mixed(self.activation(first(x)), u, v)
            h = _mixed(self.activation(second(h)), u, v)
            x = _mixed(opening, self.activation(third(h)), x)
        return self.last(x)


def siren(sizes: Sequence[int], *, frequency: float = 30.0, key: PRNGKeyArray) -> Dense:
    """A dense network of sines whose first layer spans `frequency` radians a unit length (Sitzmann
    et al., NeurIPS 2020).

    Weights are uniform: in the first layer within frequency / fan in, later within sqrt(6 / fan
    in); the paper writes the factor of later layers into both weight and sine.
    """
    network = Dense(sizes, activation=jnp.sin, key=key)
    weights = []
    for index, weight in enumerate(network.weights):
        fan_in = weight.shape[0]
        limit = frequency / fan_in if index == 0 else (6 / fan_in) ** 0.5
        layer_key = jax.random.fold_in(key, index)
        weights.append(jax.random.uniform(layer_key, weight.shape, minval=-limit, maxval=limit))
    return eqx.tree_at(lambda dense: dense.weights, network, tuple(weights))
