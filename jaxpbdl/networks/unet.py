"""U-Net: convolutions on a ladder of resolutions (Ronneberger et al. 2015, arXiv:1505.04597)."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.convolution import Convolution, check_field, per_axis
from jaxpbdl.networks.stacks import ConvNet


def halve(field: Array, periodic: tuple[bool, ...]) -> Array:
    """The mean of each pair of points along each axis; n points become ceil(n / 2). An odd axis is
    first continued by one point, by its period or its edge."""
    for axis, wraps in enumerate(periodic, start=1):
        if field.shape[axis] % 2:
            pad = [(0, int(a == axis)) for a in range(field.ndim)]
            field = jnp.pad(field, pad, mode="wrap" if wraps else "edge")
        shape = field.shape
        pairs = field.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
        field = pairs.mean(axis + 1)
    return field


def double(field: Array, sizes: tuple[int, ...]) -> Array:
    """Each point twice along each axis, cut to `sizes`: the adjoint of `halve` up to a factor."""
    for axis, size in enumerate(sizes, start=1):
        field = jax.lax.slice_in_dim(jnp.repeat(field, 2, axis=axis), 0, size, axis=axis)
    return field


class UNet(eqx.Module):
    """Two convolutions a level; each level below has half the points and twice the channels.

    The grid may have any size of at least `2**levels` points along each axis. On a periodic grid
    whose sizes `2**levels` divides, the network commutes with shifts by `2**levels` points.
    """

    down: tuple[ConvNet, ...]
    bottom: ConvNet
    up: tuple[ConvNet, ...]
    decoder: Convolution
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 16,
        levels: int = 3,
        kernel: int = 3,
        activation: Callable[[Array], Array] = jax.nn.relu,
        periodic: bool | Sequence[bool] = True,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """`width` is the number of channels of the finest level, `levels` how often the grid is
        halved. Raises ValueError for sizes below one."""
        checks.count("levels", levels)
        widths = [width * 2**level for level in range(levels + 1)]
        keys = jax.random.split(key, 2 * levels + 2)

        def block(inputs: int, outputs: int, key: PRNGKeyArray) -> ConvNet:
            return ConvNet(
                ndim,
                inputs,
                outputs,
                width=outputs,
                depth=2,
                kernel=kernel,
                activation=activation,
                periodic=periodic,
                key=key,
            )

        inputs = [in_channels, *widths]
        self.down = tuple(block(inputs[i], widths[i], keys[i]) for i in range(levels))
        self.bottom = block(widths[-2], widths[-1], keys[levels])
        self.up = tuple(
            block(widths[i] + widths[i + 1], widths[i], keys[levels + 1 + i]) for i in range(levels)
        )
        scale = 0.0 if zero_last else 1.0
        flags = per_axis(periodic, ndim)
        self.decoder = Convolution(
            ndim, width, out_channels, 1, periodic=flags, scale=scale, key=keys[-1]
        )
        self.activation = activation

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError for another rank or channel count, or a grid too small to halve."""
        periodic = self.decoder.periodic
        check_field("UNet", field, self.down[0].layers[0].weight.shape[-2], len(periodic))
        minimum = 2 ** len(self.down)
        if min(field.shape[1:]) < minimum:
            raise ValueError(
                f"UNet with levels = {len(self.down)} needs at least {minimum} points along each "
                f"axis, got a grid of {tuple(field.shape[1:])}; use fewer levels or a finer grid"
            )
        skips = []
        for block in self.down:
            skips.append(self.activation(block(field)))
            field = halve(skips[-1], periodic)
        field = self.activation(self.bottom(field))
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            field = jnp.concatenate([skip, double(field, skip.shape[1:])])
            field = self.activation(block(field))
        return self.decoder(field)
