"""Bases of an axis between walls: cosines for walls without flux, sines where the value is zero.

The points are the centres of equal cells, half a cell away from the walls, the same for all kinds
of wall. Along an axis of n cells and length L the basis functions are

    no flux on both sides             cos(pi m x / L),        m = 0, .., n - 1
    zero on both sides                sin(pi m x / L),        m = 1, .., n
    no flux below, zero above         cos(pi (m + 1/2) x / L)
    zero below, no flux above         sin(pi (m + 1/2) x / L),  m = 0, .., n - 1

Source: Strang, The discrete cosine transform, SIAM Rev. 41 (1999) 135; one fast Fourier transform
of n points each (Makhoul, IEEE Trans. ASSP 28 (1980) 27), of 2 n between walls of two kinds.
"""

from enum import Enum

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array


class Wall(Enum):
    """What a scalar does at a wall."""

    no_flux = "no flux"
    """Its normal derivative is zero: insulated, impermeable, a plane of symmetry."""
    zero = "zero"
    """It is zero: held at a value that is subtracted from it."""


class WallBasis(eqx.Module):
    """The transform of an axis of `n` points between two walls, unnormalised, and its inverse."""

    n: int = eqx.field(static=True)
    lower: Wall = eqx.field(static=True)
    upper: Wall = eqx.field(static=True)

    @property
    def half_modes(self) -> np.ndarray:
        """Twice the mode numbers m, integers."""
        if self.lower != self.upper:
            return 2 * np.arange(self.n) + 1
        return 2 * (np.arange(self.n) + (self.lower is Wall.zero))

    def forward(self, values: Array, axis: int) -> Array:
        """`sum_j u_j c_m(x_j)` for every basis function c_m."""
        values = jnp.moveaxis(values, axis, -1)
        if self.lower != self.upper:
            modes = _quarter(values, self.lower)
        elif self.lower is Wall.no_flux:
            modes = _cosines(values)
        else:
            modes = jnp.flip(_cosines(values * _signs(self.n, values)), -1)
        return jnp.moveaxis(modes, -1, axis)

    def backward(self, modes: Array, axis: int) -> Array:
        """The values whose `forward` is given."""
        modes = jnp.moveaxis(modes, axis, -1)
        if self.lower != self.upper:
            values = _quarter(modes, self.lower) * (2 / self.n)
        elif self.lower is Wall.no_flux:
            values = _from_cosines(modes)
        else:
            values = _from_cosines(jnp.flip(modes, -1)) * _signs(self.n, modes)
        return jnp.moveaxis(values, -1, axis)


def _signs(n: int, like: Array) -> Array:
    """1, -1, 1, ..: what turns the cosine of mode n - m at the centres into the sine of mode m."""
    return jnp.asarray(1 - 2 * (np.arange(n) % 2), like.dtype)


def _phases(n: int, like: Array) -> Array:
    phases = np.exp(-0.5j * np.pi * np.arange(n // 2 + 1) / n)
    return jnp.asarray(phases, jnp.result_type(like.dtype, jnp.complex64))


def _cosines(values: Array) -> Array:
    n = values.shape[-1]
    folded = jnp.concatenate([values[..., ::2], jnp.flip(values[..., 1::2], -1)], -1)
    half = _phases(n, values) * jnp.fft.rfft(folded)
    upper = -jnp.flip(half[..., 1 : (n + 1) // 2].imag, -1)
    return jnp.concatenate([half.real, upper], -1)


def _from_cosines(modes: Array) -> Array:
    n = modes.shape[-1]
    mirrored = jnp.flip(jnp.concatenate([modes[..., 1:], jnp.zeros_like(modes[..., :1])], -1), -1)
    half = lax.complex(modes, -mirrored)[..., : n // 2 + 1]
    folded = jnp.fft.irfft(jnp.conj(_phases(n, modes)) * half, n)
    even, odd = folded[..., : (n + 1) // 2], jnp.flip(folded[..., (n + 1) // 2 :], -1)
    odd = jnp.pad(odd, [(0, 0)] * (odd.ndim - 1) + [(0, n % 2)])
    return jnp.stack([even, odd], -1).reshape(*modes.shape[:-1], n + n % 2)[..., :n]


def _quarter(values: Array, lower: Wall) -> Array:
    """Of odd quarter waves, its own inverse but for 2 / n."""
    n = values.shape[-1]
    dtype = jnp.result_type(values.dtype, jnp.complex64)
    before = jnp.asarray(np.exp(-0.5j * np.pi * np.arange(n) / n), dtype)
    after = jnp.asarray(np.exp(-0.25j * np.pi * (2 * np.arange(n) + 1) / n), dtype)
    waves = after * jnp.fft.fft(values * before, 2 * n)[..., :n]
    return waves.real if lower is Wall.no_flux else -waves.imag
