"""A linear U-Net for a closed box: a multigrid cycle whose stencils are trained.

The solution of a linear equation is linear in its right-hand side, so no activation and no bias
stand between its convolutions. A box with walls at which the normal derivative vanishes is one half
of an even periodic field, so fields are mirrored at the walls, at every level.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.convolution import Convolution
from jaxpbdl.networks.unet import double, halve


class Mirrored(eqx.Module):
    """Convolutions of a field that goes on beyond each wall as its mirror image."""

    layers: tuple[Convolution, ...]

    def __call__(self, field: Float[Array, " channels *grid"]) -> Float[Array, " out *grid"]:
        for layer in self.layers:
            reach = layer.weight.shape[0] // 2
            padding = [(0, 0)] + [(reach, reach)] * (field.ndim - 1)
            wide = layer(jnp.pad(field, padding, mode="symmetric"))
            field = wide[(slice(None), *[slice(reach, -reach)] * (field.ndim - 1))]
        return field


class Cycle(eqx.Module):
    """Two convolutions of `width` channels a level on the way down and up; it starts at zero."""

    down: tuple[Mirrored, ...]
    up: tuple[Mirrored, ...]
    decoder: Convolution

    def __init__(self, ndim: int, *, width: int, levels: int, key: PRNGKeyArray):
        """`levels` is how often the grid is halved. Raises ValueError for sizes below one."""
        checks.counts(ndim=ndim, width=width, levels=levels)
        first, second, last = jax.random.split(key, 3)

        def convolution(inputs: int, outputs: int, kernel: int, scale: float, key: PRNGKeyArray):
            return Convolution(
                ndim, inputs, outputs, kernel, periodic=False, use_bias=False, scale=scale, key=key
            )

        def block(inputs: int, key: PRNGKeyArray) -> Mirrored:
            keys = jax.random.split(key)
            pairs = zip((inputs, width), keys, strict=True)
            return Mirrored(tuple(convolution(size, width, 3, 1.0, k) for size, k in pairs))

        inputs = [1] + [width] * levels
        keys = jax.random.split(first, levels + 1)
        self.down = tuple(block(size, k) for size, k in zip(inputs, keys, strict=True))
        self.up = tuple(block(2 * width, k) for k in jax.random.split(second, levels))
        self.decoder = convolution(width, 1, 1, 0.0, last)

    def __call__(self, field: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        walls = (False,) * field.ndim
        values = self.down[0](field[None])
        skips = []
        for block in self.down[1:]:
            skips.append(values)
            values = block(halve(values, walls))
        for block, skip in zip(self.up, reversed(skips), strict=True):
            values = block(jnp.concatenate([skip, double(values, skip.shape[1:])]))
        return self.decoder(values)[0]
