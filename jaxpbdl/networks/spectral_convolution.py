"""Convolution over the whole grid: the kept Fourier modes, each multiplied by a learned matrix.

    y(x) = Re sum_{|k_a| < m_a} W_k c_k exp(2 pi i k.x / N),   c_k = mean_x u(x) exp(-2 pi i k.x /
    N)

(Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021,
arXiv:2010.08895). Along the last axis only `k >= 0` is kept, the others follow as the field is
real. The coefficients are means, so the same weights act on any grid that holds the modes.

Complex numbers travel as pairs of real ones. Where few modes are kept, or the grid is small, both
transforms are products with a real matrix along one axis after the other, and the factor of a mode
is one real block `[[Re, Im], [-Im, Re]]`: no complex array, no modes computed to be dropped, no
padding with zeros. Otherwise the fast transform takes over; the two agree to rounding.
"""

from collections.abc import Sequence
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.convolution import check_field

SMALL = 64
"""Points along an axis up to which a matrix product beats the fast transform whatever the modes."""


def mode_counts(modes: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """One number an axis, from one for all or one for each, checked."""
    counts = (modes,) * ndim if isinstance(modes, int) else tuple(modes)
    if len(counts) != ndim:
        raise ValueError(f"modes must be one number or {ndim} (one an axis), got {modes}")
    for count in counts:
        checks.count("modes", count)
    return counts


def check_modes(modes: Sequence[int], grid: Sequence[int]) -> None:
    """Refuse a grid on which a kept wavenumber is not below that of two points a wave."""
    most = tuple((points + 1) // 2 for points in grid)
    if any(kept > limit for kept, limit in zip(modes, most, strict=True)):
        raise ValueError(
            f"modes {tuple(modes)} keep wavenumbers |k| < modes, more than a grid of "
            f"{tuple(grid)} points holds; it admits modes up to {most}"
        )


def few_modes(modes: Sequence[int], grid: Sequence[int]) -> bool:
    """Whether matrix products are the faster transform along every axis."""
    return all(n <= SMALL or m <= n // 4 for m, n in zip(modes, grid, strict=True))


def wavenumbers(modes: int, both_signs: bool) -> np.ndarray:
    """`-m + 1 .. m - 1`, or `0 .. m - 1`."""
    return np.arange(1 - modes if both_signs else 0, modes)


@lru_cache(maxsize=256)
def waves(points: int, modes: int, both_signs: bool) -> tuple[np.ndarray, np.ndarray]:
    """`(cos, sin)` of `2 pi k x / points`, both `(wavenumbers, points)`, in double precision."""
    # The product modulo the number of points is exact; the angle of a large product is not.
    turns = np.outer(wavenumbers(modes, both_signs), np.arange(points)) % points
    angle = 2 * np.pi * turns / points
    return np.cos(angle), np.sin(angle)


def analysis(field: Array, modes: Sequence[int]) -> Array:
    """The kept coefficients of a field `(*grid, channels)` as `(2, *kept, channels)`."""
    grid = field.shape[:-1]
    last = len(grid) - 1
    cos, sin = waves(grid[last], modes[last], False)
    matrix = jnp.asarray(np.stack([cos, -sin]) / grid[last], field.dtype)
    pairs = jnp.moveaxis(jnp.tensordot(matrix, field, axes=(2, last)), 1, -2)
    for axis in range(last):
        cos, sin = waves(grid[axis], modes[axis], True)
        matrix = np.stack([np.stack([cos, sin]), np.stack([-sin, cos])]) / grid[axis]
        matrix = jnp.asarray(matrix, field.dtype)  # (part out, part in, wavenumber, point)
        pairs = jnp.tensordot(matrix, pairs, axes=((1, 3), (0, axis + 1)))
        pairs = jnp.moveaxis(pairs, 1, axis + 1)
    return pairs


def synthesis(pairs: Array, modes: Sequence[int], grid: Sequence[int]) -> Array:
    """The field `(*grid, channels)` of coefficients `(2, *kept, channels)`."""
    last = len(grid) - 1
    for axis in range(last):
        cos, sin = waves(grid[axis], modes[axis], True)
        matrix = np.stack([np.stack([cos, -sin]), np.stack([sin, cos])])
        pairs = jnp.tensordot(jnp.asarray(matrix, pairs.dtype), pairs, axes=((1, 2), (0, axis + 1)))
        pairs = jnp.moveaxis(pairs, 1, axis + 1)
    cos, sin = waves(grid[last], modes[last], False)
    # All but k = 0 stand for their mirror images too.
    twice = np.where(wavenumbers(modes[last], False) == 0, 1.0, 2.0)[:, None]
    matrix = jnp.asarray(np.stack([cos, -sin]) * twice, pairs.dtype)
    return jnp.moveaxis(jnp.tensordot(matrix, pairs, axes=((0, 1), (0, last + 1))), 0, last)


def mixed(weight: Array, pairs: Array) -> Array:
    """Every mode times its matrix: `(*kept, 2, in, out)` on `(2, *kept, in)`."""
    real, imaginary = weight[..., 0, :, :], weight[..., 1, :, :]
    top = jnp.concatenate([real, imaginary], axis=-1)
    block = jnp.concatenate([top, jnp.concatenate([-imaginary, real], axis=-1)], axis=-2)
    rows = jnp.concatenate([pairs[0], pairs[1]], axis=-1)
    result = jnp.einsum("...i,...io->...o", rows, block)
    return jnp.stack(jnp.split(result, 2, axis=-1))


def by_products(weight: Array, field: Array, modes: Sequence[int]) -> Array:
    """The convolution of a field with its channels last, transformed by real matrix products."""
    return synthesis(mixed(weight, analysis(field, modes)), modes, field.shape[:-1])


def by_fft(weight: Array, field: Array, modes: Sequence[int]) -> Array:
    """The same by fast transforms; modes are dropped after each axis, and zeros come in before."""
    grid = field.shape[:-1]
    last = len(grid) - 1
    spectrum = jnp.fft.rfft(field, axis=last, norm="forward")
    spectrum = jax.lax.slice_in_dim(spectrum, 0, modes[last], axis=last)
    for axis in range(last):
        spectrum = jnp.fft.fft(spectrum, axis=axis, norm="forward")
        # The result of the fast transform begins with k = 0, negative wavenumbers stand at the end.
        spectrum = jnp.roll(spectrum, modes[axis] - 1, axis)
        spectrum = jax.lax.slice_in_dim(spectrum, 0, 2 * modes[axis] - 1, axis=axis)
    factor = jax.lax.complex(weight[..., 0, :, :], weight[..., 1, :, :])
    spectrum = jnp.einsum("...i,...io->...o", spectrum, factor)
    for axis in range(last):
        pad = [(0, grid[axis] - (2 * modes[axis] - 1) if a == axis else 0) for a in range(last + 2)]
        spectrum = jnp.roll(jnp.pad(spectrum, pad), 1 - modes[axis], axis)
        spectrum = jnp.fft.ifft(spectrum, axis=axis, norm="forward")
    return jnp.fft.irfft(spectrum, grid[last], axis=last, norm="forward")


def spectral(weight: Array, field: Array, modes: Sequence[int]) -> Array:
    """The convolution by whichever transform suits the shapes, in single precision at least: sums
    over a whole grid of numbers of eight bits lose most of what they sum."""
    check_modes(modes, field.shape[:-1])
    apply = by_products if few_modes(modes, field.shape[:-1]) else by_fft
    precise = jnp.promote_types(field.dtype, jnp.float32)
    return apply(weight.astype(precise), field.astype(precise), modes).astype(field.dtype)


def drawn(
    key: PRNGKeyArray, kept: Sequence[int], in_channels: int, out_channels: int, scale: float
) -> Array:
    deviation = scale / (2 * in_channels) ** 0.5
    return deviation * jax.random.normal(key, (*kept, 2, in_channels, out_channels))


class SpectralConvolution(eqx.Module):
    """The kept Fourier modes of a field, each multiplied by a learned complex matrix.

    `modes = m` keeps the wavenumbers `|k| < m` along an axis, `2 m - 1` of them, and the `m` that
    are not negative along the last: the set is its own mirror image. (Other libraries mean by 16
    modes 16 rows in all, or 32.) `weight` has the shape `(*kept, 2, in_channels, out_channels)`
    with real and imaginary parts apart, so that every optimiser sees real numbers. It is normal
    with a deviation that keeps the energy of the kept modes, times `scale`.

    Any number of points along an axis will do, odd ones too, if it is at least `2 modes - 1`.
    """

    weight: Float[Array, "*kept 2 in_channels out_channels"]
    modes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        modes: int | Sequence[int],
        *,
        scale: float = 1.0,
        key: PRNGKeyArray,
    ):
        """`modes` is one number, or one an axis. Raises ValueError for numbers below one."""
        checks.counts(ndim=ndim, in_channels=in_channels, out_channels=out_channels)
        self.modes = mode_counts(modes, ndim)
        kept = (*(2 * m - 1 for m in self.modes[:-1]), self.modes[-1])
        self.weight = drawn(key, kept, in_channels, out_channels, scale)

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError for another rank or number of channels, or too small a grid."""
        check_field("SpectralConvolution", field, self.weight.shape[-2], len(self.modes))
        return jnp.moveaxis(self.channels_last(jnp.moveaxis(field, 0, -1)), -1, 0)

    def channels_last(
        self, field: Float[Array, "*grid in_channels"]
    ) -> Float[Array, "*grid out_channels"]:
        """The same for a field with its channels last; only the grid is checked."""
        return spectral(self.weight, field, self.modes)


class FactorisedSpectralConvolution(eqx.Module):
    """The sum of one spectral convolution along each axis alone.

    Its weights grow with the sum of the modes instead of their product (Tran, Mathews, Xie, Ong,
    "Factorized Fourier neural operators", ICLR 2023, arXiv:2111.13802). `weights[a]` has the shape
    `(modes[a], 2, in_channels, out_channels)`; arguments are those of `SpectralConvolution`.
    """

    weights: tuple[Float[Array, "_modes 2 in_channels out_channels"], ...]
    modes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        modes: int | Sequence[int],
        *,
        scale: float = 1.0,
        key: PRNGKeyArray,
    ):
        """`modes` is one number, or one an axis. Raises ValueError for numbers below one."""
        checks.counts(ndim=ndim, in_channels=in_channels, out_channels=out_channels)
        self.modes = mode_counts(modes, ndim)
        # The sum over the axes has the energy of one of them.
        scale = scale / ndim**0.5
        self.weights = tuple(
            drawn(k, (m,), in_channels, out_channels, scale)
            for k, m in zip(jax.random.split(key, ndim), self.modes, strict=True)
        )

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError for another rank or number of channels, or too small a grid."""
        check_field(
            "FactorisedSpectralConvolution", field, self.weights[0].shape[-2], len(self.modes)
        )
        return jnp.moveaxis(self.channels_last(jnp.moveaxis(field, 0, -1)), -1, 0)

    def channels_last(
        self, field: Float[Array, "*grid in_channels"]
    ) -> Float[Array, "*grid out_channels"]:
        """The same for a field with its channels last; only the grid is checked."""
        check_modes(self.modes, field.shape[:-1])
        total = jnp.zeros((), field.dtype)
        for axis, (weight, modes) in enumerate(zip(self.weights, self.modes, strict=True)):
            lines = jnp.moveaxis(field, axis, -2)
            flat = lines.reshape(-1, *lines.shape[-2:])
            out = jax.vmap(lambda line, w=weight, m=modes: spectral(w, line, (m,)))(flat)
            total = total + jnp.moveaxis(out.reshape(*lines.shape[:-1], -1), -2, axis)
        return total
