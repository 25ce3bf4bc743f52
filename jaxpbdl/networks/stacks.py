"""Networks that are stacks of convolutions at one resolution."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.convolution import Convolution, check_field

Activation = Callable[[Array], Array]


class ConvNet(eqx.Module):
    """`depth` convolutions with an activation between them, none after the last.

    `width` is the number of hidden channels, `kernel` the points of a convolution along an axis,
    `dilations` one number a convolution (default: ones). `zero_last` starts the network at zero
    output, so that a solver with a learned correction starts as the solver.
    """

    layers: tuple[Convolution, ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        depth: int = 5,
        kernel: int = 3,
        activation: Activation = jax.nn.relu,
        dilations: Sequence[int] | None = None,
        periodic: bool | Sequence[bool] = True,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one or not one dilation a convolution."""
        checks.count("depth", depth)
        dilations = tuple(dilations or (1,) * depth)
        if len(dilations) != depth:
            raise ValueError(f"dilations must name depth = {depth} numbers, got {dilations}")
        channels = (in_channels, *(width,) * (depth - 1), out_channels)
        scales = (2**0.5,) * (depth - 1) + (0.0 if zero_last else 1.0,)
        self.layers = tuple(
            Convolution(ndim, *pair, kernel, dilation=d, periodic=periodic, scale=scale, key=k)
            for pair, d, scale, k in zip(
                zip(channels[:-1], channels[1:], strict=True),
                dilations,
                scales,
                jax.random.split(key, depth),
                strict=True,
            )
        )
        self.activation = activation

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        first = self.layers[0]
        check_field("ConvNet", field, first.weight.shape[-2], len(first.periodic))
        field = jnp.moveaxis(field, 0, -1)
        for alike in _runs(self.layers[:-1]):
            field = self._apply(alike, field)
        return jnp.moveaxis(self.layers[-1].channels_last(field), -1, 0)

    def _apply(self, alike: Sequence[Convolution], field: Array) -> Array:
        """Layers of one shape, as a loop: unrolled, XLA on CPU fuses the end of each layer into the
        gather of the next and computes it once for every neighbour (measured: twice the time)."""
        if len(alike) == 1:
            return self.activation(alike[0].channels_last(field))
        arrays, statics = zip(*(eqx.partition(layer, eqx.is_array) for layer in alike), strict=True)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)

        def turn(field: Array, layer: Convolution) -> tuple[Array, None]:
            layer = eqx.combine(layer, statics[0])
            return self.activation(layer.channels_last(field)), None

        return jax.lax.scan(turn, field, stacked)[0]


def _runs(layers: Sequence[Convolution]) -> list[list[Convolution]]:
    """Consecutive layers grouped by shape and settings."""

    def kind(layer: Convolution) -> tuple:
        return layer.weight.shape, layer.bias is None, layer.dilation, layer.periodic

    return [list(group) for _, group in groupby(layers, kind)]


class ResNet(eqx.Module):
    """Encoder, residual blocks `u -> u + block(activation(u))`, decoder (He et al. 2016).

    Each block is a `ConvNet` with one convolution for each of `dilations`; its last convolution
    starts at zero, so each block starts as the identity. Encoder and decoder are pointwise.
    """

    encoder: Convolution
    blocks: tuple[ConvNet, ...]
    decoder: Convolution

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        depth: int = 4,
        kernel: int = 3,
        activation: Activation = jax.nn.relu,
        dilations: Sequence[int] = (1, 1),
        periodic: bool | Sequence[bool] = True,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """`depth` is the number of blocks. Raises ValueError for sizes below one."""
        checks.count("depth", depth)
        first, last, *keys = jax.random.split(key, depth + 2)
        self.encoder = Convolution(ndim, in_channels, width, 1, periodic=periodic, key=first)
        self.blocks = tuple(
            ConvNet(
                ndim,
                width,
                width,
                width=width,
                depth=len(dilations),
                kernel=kernel,
                activation=activation,
                dilations=dilations,
                periodic=periodic,
                zero_last=True,
                key=k,
            )
            for k in keys
        )
        scale = 0.0 if zero_last else 1.0
        self.decoder = Convolution(
            ndim, width, out_channels, 1, periodic=periodic, scale=scale, key=last
        )

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        field = self.encoder(field)
        for block in self.blocks:
            field = field + block(block.activation(field))
        return self.decoder(field)


DilatedResNet = partial(ResNet, dilations=(1, 2, 4, 8, 4, 2, 1))
"""The dilated residual network of Stachenfeld et al. 2022 (arXiv:2112.15275): a wide view at full
resolution. Same arguments as `ResNet`."""
