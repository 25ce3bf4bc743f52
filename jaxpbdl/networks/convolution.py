"""Convolution on a grid of any dimension, as gathered neighbours and one matrix product.

    y[o, x] = bias[o] + sum_{j, c} weight[j, c, o] u[c, x + dilation (j - (kernel - 1) / 2)]

XLA turns a convolution under vmap over its weights (an ensemble) into a grouped convolution, which
is slow on CPU. Here the neighbours along all axes but the first are gathered into channels, one
matrix product yields the contribution to each of the `kernel` neighbours along the first axis, and
shifted slices of that are summed. Under vmap over the weights it stays one batched matrix product.

The derivative is written out: its products have the same form and the gathered neighbours are
gathered again, where the automatic one adds padded arrays and stores every gather (twice as slow).
It serves reverse mode; `jax.jvp` of a convolution is not defined.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks


def per_axis(periodic: bool | Sequence[bool], ndim: int) -> tuple[bool, ...]:
    """One flag an axis, from one flag for all or one for each."""
    flags = (periodic,) * ndim if isinstance(periodic, bool) else tuple(periodic)
    if len(flags) != ndim:
        raise ValueError(f"periodic must be one bool or {ndim} (one an axis), got {periodic}")
    return flags


def check_field(name: str, field: Array, channels: int, ndim: int) -> None:
    """Refuse a field that is not `(channels, *grid)` with `ndim` axes of grid, or is complex."""
    if jnp.iscomplexobj(field):
        raise ValueError(
            f"{name} expects a real field, got dtype {field.dtype}; give real and imaginary part "
            "as two channels"
        )
    if field.ndim != ndim + 1 or field.shape[0] != channels:
        raise ValueError(
            f"{name} expects one field of shape ({channels} channels, *grid) with {ndim} grid "
            f"axes, got shape {tuple(field.shape)}; use jax.vmap for a batch of fields"
        )


class Stencil(NamedTuple):
    """The points that a convolution reads: offsets along each axis, and which axes wrap around."""

    offsets: tuple[int, ...]
    periodic: tuple[bool, ...]


def shifted(field: Array, offset: int, axis: int, wraps: bool) -> Array:
    """The values `offset` points further along an axis, beyond its end those of its start or
    zeros.
    """
    n = field.shape[axis]
    if wraps:
        offset %= n
        parts = [(offset, n), (0, offset)] if offset else [(0, n)]
        slices = [lax.slice_in_dim(field, *part, axis=axis) for part in parts]
        return jnp.concatenate(slices, axis) if offset else field
    pad = [(-offset, offset, 0) if a == axis else (0, 0, 0) for a in range(field.ndim)]
    return lax.pad(field, jnp.zeros((), field.dtype), pad)


def spread_out(field: Array, offsets: Sequence[int], axis: int, wraps: bool) -> Array:
    """The neighbours along an axis side by side in the channels (the last axis)."""
    return jnp.concatenate([shifted(field, j, axis, wraps) for j in offsets], axis=-1)


def drawn_in(field: Array, offsets: Sequence[int], axis: int, wraps: bool) -> Array:
    """Channels in blocks, one for each offset, summed at the points they are offset to."""
    blocks = jnp.split(field, len(offsets), axis=-1)
    pairs = zip(blocks, offsets, strict=True)
    return sum((shifted(block, j, axis, wraps) for block, j in pairs), start=jnp.zeros(()))


def gathered(field: Array, stencil: Stencil) -> Array:
    for axis in reversed(range(1, len(stencil.periodic))):
        field = spread_out(field, stencil.offsets, axis, stencil.periodic[axis])
    return field


def as_matrix(weight: Array) -> Array:
    """`(kernel^(ndim - 1) in, kernel out)`, rows as `gathered` orders them."""
    return jnp.moveaxis(weight, 0, -2).reshape(-1, weight.shape[0] * weight.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(stencil: Stencil, weight: Array, field: Array) -> Array:
    """The convolution of a field with its channels last."""
    partial_sums = gathered(field, stencil) @ as_matrix(weight)
    return drawn_in(partial_sums, stencil.offsets, 0, stencil.periodic[0])


def _forward(stencil: Stencil, weight: Array, field: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(stencil, weight, field), (weight, field)


def _backward(stencil: Stencil, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    weight, field = kept
    back = tuple(-j for j in stencil.offsets)
    rows = spread_out(cotangent, back, 0, stencil.periodic[0])
    neighbours = gathered(field, stencil)
    # One product a sample: merged over a batch, XLA would first transpose the gathered neighbours.
    of_matrix = lax.dot_general(
        neighbours.reshape(-1, neighbours.shape[-1]),
        rows.reshape(-1, rows.shape[-1]),
        (((0,), (0,)), ((), ())),
    )
    kernel, out = weight.shape[0], weight.shape[-1]
    of_weight = jnp.moveaxis(of_matrix.reshape(*weight.shape[1:-1], kernel, out), -2, 0)
    of_field = rows @ as_matrix(weight).T
    for axis in range(1, len(stencil.periodic)):
        of_field = drawn_in(of_field, back, axis, stencil.periodic[axis])
    return of_weight, of_field


convolve.defvjp(_forward, _backward)


class Convolution(eqx.Module):
    """A convolution that keeps the size of the grid.

    `weight` has the shape `(*kernel, in_channels, out_channels)`, `bias` `(out_channels,)`. Axes
    that are not periodic are padded with zeros. Weights are drawn from a normal distribution of
    standard deviation `scale / sqrt(in_channels * kernel**ndim)` (He et al. 2015 for
    `scale = sqrt(2)`), the bias starts at zero.
    """

    weight: Float[Array, "..."]
    bias: Float[Array, " out_channels"] | None
    dilation: int = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        dilation: int = 1,
        periodic: bool | Sequence[bool] = True,
        use_bias: bool = True,
        scale: float = 2**0.5,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one and for an even `kernel`, which has no centre."""
        checks.counts(
            ndim=ndim,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel=kernel,
            dilation=dilation,
        )
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to have a centre, got {kernel}")
        shape = (kernel,) * ndim + (in_channels, out_channels)
        deviation = scale / (in_channels * kernel**ndim) ** 0.5
        self.weight = deviation * jax.random.normal(key, shape)
        self.bias = jnp.zeros(out_channels) if use_bias else None
        self.dilation = dilation
        self.periodic = per_axis(periodic, ndim)

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError if `field` has another rank or number of channels."""
        check_field("Convolution", field, self.weight.shape[-2], len(self.periodic))
        return jnp.moveaxis(self.channels_last(jnp.moveaxis(field, 0, -1)), -1, 0)

    def channels_last(
        self, field: Float[Array, "*grid in_channels"]
    ) -> Float[Array, "*grid out_channels"]:
        """The same for a field with its channels last, unchecked."""
        kernel = self.weight.shape[0]
        offsets = tuple((j - kernel // 2) * self.dilation for j in range(kernel))
        result = jnp.asarray(convolve(Stencil(offsets, self.periodic), self.weight, field))
        return result if self.bias is None else result + self.bias
