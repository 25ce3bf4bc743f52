"""Convolution on a grid of any dimension, as gathered patches and one matrix product.

    y[o, x] = bias[o] + sum_{j, c} weight[j, c, o] u[c, x + dilation (j - (kernel - 1) / 2)]

XLA turns a convolution under vmap over its weights (an ensemble) into a grouped convolution, which
is slow on CPU. Here the neighbours along all axes but the first are gathered into channels, one
matrix product yields the contribution to each of the `kernel` neighbours along the first axis, and
shifted slices of that are summed. Gathering on one side and scattering on the other keeps both
sides of the product narrow, forward and backward (the transpose has the same form), and under vmap
over the weights it stays one batched matrix product.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks


def per_axis(periodic: bool | Sequence[bool], ndim: int) -> tuple[bool, ...]:
    """One flag an axis, from one flag for all or one for each."""
    flags = (periodic,) * ndim if isinstance(periodic, bool) else tuple(periodic)
    if len(flags) != ndim:
        raise ValueError(f"periodic must be one bool or {ndim} (one an axis), got {periodic}")
    return flags


def check_field(name: str, field: Array, channels: int, ndim: int) -> None:
    """Refuse a field that is not `(channels, *grid)` with `ndim` axes of grid."""
    if field.ndim != ndim + 1 or field.shape[0] != channels:
        raise ValueError(
            f"{name} expects one field of shape ({channels} channels, *grid) with {ndim} grid "
            f"axes, got shape {tuple(field.shape)}; use jax.vmap for a batch of fields"
        )


def patches(
    field: Array, kernel: int, dilation: int, periodic: tuple[bool, ...]
) -> Float[Array, "*padded channels"]:
    """The padded field, channels last, with the neighbours along all axes but the first gathered
    into the channels: `kernel**(ndim - 1) * channels` of them, the last axis varying fastest."""
    sizes = field.shape[1:]
    margin = dilation * (kernel - 1) // 2
    field = jnp.moveaxis(field, 0, -1)
    for axis, wraps in enumerate(periodic):
        pad = [(margin, margin) if a == axis else (0, 0) for a in range(field.ndim)]
        field = jnp.pad(field, pad, mode="wrap" if wraps else "constant")
    for axis in reversed(range(1, len(sizes))):
        starts = [j * dilation for j in range(kernel)]
        slices = [jax.lax.slice_in_dim(field, s, s + sizes[axis], axis=axis) for s in starts]
        field = jnp.concatenate(slices, axis=-1)
    return field


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
        sizes = dict(ndim=ndim, in_channels=in_channels, out_channels=out_channels)
        for name, size in (sizes | dict(kernel=kernel, dilation=dilation)).items():
            checks.count(name, size)
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
        kernel, (channels, out) = self.weight.shape[0], self.weight.shape[-2:]
        check_field("Convolution", field, channels, len(self.periodic))
        shifts = [j * self.dilation for j in range(kernel)]
        # the patches are cheap to gather again and `kernel**(ndim - 1)` times as large as the
        # field: not kept for the backward pass
        gather = jax.checkpoint(patches, prevent_cse=False, static_argnums=(1, 2, 3))
        neighbours = jnp.moveaxis(self.weight, 0, -2).reshape(-1, kernel * out)
        partial = gather(field, kernel, self.dilation, self.periodic) @ neighbours
        parts = [partial[..., j * out : (j + 1) * out] for j in range(kernel)]
        n = field.shape[1]
        result = sum(part[shift : shift + n] for part, shift in zip(parts, shifts, strict=True))
        if self.bias is not None:
            result = result + self.bias
        return jnp.moveaxis(jnp.asarray(result), -1, 0)
