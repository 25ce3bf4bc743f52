"""A U-shaped Fourier neural operator: Fourier layers on a ladder of resolutions."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import resample
from jaxpbdl.networks.dense import Dense
from jaxpbdl.networks.fno import (
    FourierLayer,
    Padding,
    check_lifted,
    fourier_layer,
    lifted,
    padding_of,
    projected,
)
from jaxpbdl.networks.spectral_convolution import check_modes, mode_counts


def resampled(field: Float[Array, "*grid width"], grid: Sequence[int]) -> Array:
    """The field's waves on another grid, those that it cannot hold left out."""
    source, target = Periodic(field.shape[:-1]), Periodic(grid)
    return jnp.moveaxis(resample(jnp.moveaxis(field, -1, 0), source, target), 0, -1)


class UNO(eqx.Module):
    """Fourier layers with half the points, half the modes and twice the channels from level to
    level, down and up again, each level up beside what it was on the way down (Rahman, Ross,
    Azizzadenesheli, "U-NO: U-shaped neural operators", TMLR 2023, arXiv:2204.11127).

        down: v_l = activation(F_l v_{l-1}) on the grid of level l, v_0 = lift(a, x)
        up:   w_l = activation(G_l (v_l, w_{l+1}))

    Between grids a field is its trigonometric interpolant, so that as in `FNO` the weights know no
    grid: any number of points will do that holds the modes.

    **Arguments**

    - `modes`: wavenumbers `|k| < modes` are kept at the finest level, one number or one an axis.
    - `width`: channels of the finest level; `levels`: how often the grid is halved.
    - `hidden`, `activation`, `coordinates`, `padding`, `zero_last` as of `FNO`.
    """

    lift: Dense
    down: tuple[FourierLayer, ...]
    bottom: FourierLayer
    up: tuple[FourierLayer, ...]
    project: Dense
    activation: Callable[[Array], Array] = eqx.field(static=True)
    coordinates: bool = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int] = 12,
        width: int = 16,
        levels: int = 2,
        hidden: int = 64,
        activation: Callable[[Array], Array] = jax.nn.gelu,
        coordinates: bool = False,
        padding: float | Sequence[float] = 0.0,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one or a negative padding."""
        checks.counts(
            ndim=ndim, in_channels=in_channels, out_channels=out_channels, width=width,
            levels=levels, hidden=hidden,
        )  # fmt: skip
        finest = mode_counts(modes, ndim)
        kept = [tuple(max(1, m // 2**level) for m in finest) for level in range(levels + 1)]
        widths = [width * 2**level for level in range(levels + 1)]
        first, last, low, *keys = jax.random.split(key, 2 * levels + 3)
        inputs = [width, *widths]
        self.lift = Dense((in_channels + ndim * coordinates, width), key=first)
        self.down = tuple(
            fourier_layer(inputs[i], widths[i], kept[i], key=keys[i]) for i in range(levels)
        )
        self.bottom = fourier_layer(inputs[levels], widths[levels], kept[levels], key=low)
        self.up = tuple(
            fourier_layer(widths[i] + widths[i + 1], widths[i], kept[i], key=keys[levels + i])
            for i in range(levels)
        )
        self.project = Dense(
            (width, hidden, out_channels), activation=activation, zero_last=zero_last, key=last
        )
        self.activation, self.coordinates = activation, coordinates
        self.padding = padding_of(padding, ndim)

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError for another rank or number of channels, or too small a grid."""
        modes = self.down[0].convolution.modes
        check_lifted("UNO", self.lift, field, len(modes), self.coordinates)
        grid = field.shape[1:]
        check_modes(modes, grid)
        field = lifted(self.lift, field, self.coordinates, self.padding)
        skips = []
        for layer in self.down:
            skips.append(layer.channels_last(field, self.activation, False))
            half = [-(-points // 2) for points in field.shape[:-1]]
            field = resampled(skips[-1], half)
        field = self.bottom.channels_last(field, self.activation, False)
        for layer, skip in zip(reversed(self.up), reversed(skips), strict=True):
            field = jnp.concatenate([skip, resampled(field, skip.shape[:-1])], axis=-1)
            field = layer.channels_last(field, self.activation, False)
        return projected(self.project, field, grid)
