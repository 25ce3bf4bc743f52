"""The Fourier side of a periodic grid: transforms, derivatives, dealiasing, resampling.

Coefficients follow `numpy.fft.rfftn` over the last `ndim` axes, unnormalised, half the modes on the
last axis.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from jaxpbdl.grids.periodic import Periodic


def highest_kept(n: int, keep: float) -> int:
    """The highest mode number of an axis of `n` points that dealiasing keeps: the largest integer
    strictly below `keep * n / 2`, or `n // 2` for `keep = 1`.

    Strictly, since a mode at exactly n/3 still aliases onto its mirror image; and in integers,
    since `keep * n / 2` in floating point falls on either side of an integer as rounding has it.
    """
    if keep == 1:
        return n // 2
    share = Fraction(keep).limit_denominator(1000)
    return max(share.numerator * n - 1, 0) // (2 * share.denominator)


class Spectrum(eqx.Module):
    """Wavenumbers and transforms of a grid, with the modes beyond the dealiasing limit removed.

    **Arguments:**

    - `grid`: the grid.
    - `keep`: fraction of the wavenumbers per axis that survive, 1 for all. A product of `p` fields
      is free of aliasing with `keep = 2 / (p + 1)` (Orszag 1971): 2/3 for quadratic, 1/2 for cubic
      terms.

    **Attributes:** (each broadcasts against the coefficients of one scalar field)

    - `k`: wavenumbers, one array per axis, zero at the Nyquist mode; the multiplier of `d/dx` is
      `1j * k`.
    - `k_squared`: squared length of the wave vector, the multiplier of minus the Laplacian.
    - `inverse_k_squared`: its inverse on the kept modes, 0 for the mean.
    - `mask`: 1 on kept modes, 0 elsewhere.
    """

    trainable_fields = ()

    grid: Periodic
    keep: float = eqx.field(static=True)
    k: tuple[Float[Array, "..."], ...]
    k_squared: Float[Array, "*modes"]
    inverse_k_squared: Float[Array, "*modes"]
    mask: Float[Array, "*modes"]

    def __init__(self, grid: Periodic, keep: float = 1.0):
        if not 0 < keep <= 1:
            raise ValueError(f"keep must be in (0, 1], got {keep}")
        self.grid, self.keep = grid, keep
        k, squares, kept = [], [], []
        for axis, n in enumerate(grid.shape):
            along = tuple(-1 if other == axis else 1 for other in range(grid.ndim))
            wavenumbers = grid.wavenumbers(axis)
            kept.append((np.abs(grid.modes(axis)) <= highest_kept(n, keep)).reshape(along))
            k.append(np.where(grid.is_nyquist(axis), 0.0, wavenumbers).reshape(along))
            squares.append((wavenumbers**2).reshape(along))
        k_squared = sum(squares) + np.zeros(self.modes)
        mask = np.ones(self.modes)
        for along_axis in kept:
            mask = mask * along_axis
        safe = np.where(k_squared == 0, 1.0, k_squared)
        self.k = tuple(_constant(array, grid) for array in k)
        self.k_squared = _constant(k_squared, grid)
        self.inverse_k_squared = _constant(np.where(k_squared == 0, 0.0, mask / safe), grid)
        self.mask = _constant(mask, grid)

    @property
    def modes(self) -> tuple[int, ...]:
        """Shape of the coefficients of one scalar field."""
        return (*self.grid.shape[:-1], self.grid.shape[-1] // 2 + 1)

    def transform(
        self, values: Float[Array, "*value_and_grid"]
    ) -> Complex[Array, "*value_and_modes"]:
        """Coefficients of `values`, all modes."""
        return jnp.fft.rfftn(values, axes=tuple(range(-self.grid.ndim, 0)))

    def to_modes(
        self, values: Float[Array, "*value_and_grid"]
    ) -> Complex[Array, "*value_and_modes"]:
        """Coefficients of `values`, those beyond the dealiasing limit set to zero."""
        coefficients = self.transform(values)
        return coefficients if self.keep == 1.0 else coefficients * self.mask

    def to_grid(
        self, coefficients: Complex[Array, "*value_and_modes"]
    ) -> Float[Array, "*value_and_grid"]:
        """Values on the grid."""
        ndim = self.grid.ndim
        return jnp.fft.irfftn(coefficients, s=self.grid.shape, axes=tuple(range(-ndim, 0)))

    def derivative(
        self, coefficients: Complex[Array, "*modes"], axis: int
    ) -> Complex[Array, "*modes"]:
        """Coefficients of the first derivative along `axis`."""
        k = self.k[axis]
        return lax.complex(-k * coefficients.imag, k * coefficients.real)

    def gradient(self, coefficients: Complex[Array, "*modes"]) -> Complex[Array, "dim *modes"]:
        """Coefficients of the derivatives along every axis."""
        return jnp.stack([self.derivative(coefficients, axis) for axis in range(self.grid.ndim)])


class CentredModes(eqx.Module):
    """The kept modes of a two-dimensional grid in ascending order, -K .. K along both axes.

    Both halves of the spectrum are there, so that two real fields travel as one complex field, and
    the mirror image of a mode is a plain reversal of the array. Made for `NavierStokes2D`;
    coefficients are unnormalised as elsewhere.

    **Attributes:** `k`, `k_squared`, `inverse_k_squared` as of `Spectrum`; `wave`, kx + i ky, and
    `velocity`, (kx + i ky) / k^2, which makes the complex velocity u + i v of the vorticity; `own`
    and `mirrored`, what makes minus the transport of vorticity, again as a complex velocity, of the
    square of u + i v and of its conjugate mirror image (see `NavierStokes2D.nonlinear`).
    """

    trainable_fields = ()

    grid: Periodic
    highest: tuple[int, int] = eqx.field(static=True)
    k: tuple[Float[Array, "nx 1"], Float[Array, "1 ny"]]
    k_squared: Float[Array, "nx ny"]
    inverse_k_squared: Float[Array, "nx ny"]
    wave: Complex[Array, "nx ny"]
    velocity: Complex[Array, "nx ny"]
    own: Complex[Array, "nx ny"]
    mirrored: Complex[Array, "nx ny"]

    def __init__(self, spectrum: Spectrum):
        grid = self.grid = spectrum.grid
        # Without the Nyquist mode, which has no mirror image.
        top_x, top_y = (min(highest_kept(n, spectrum.keep), (n - 1) // 2) for n in grid.shape)
        self.highest = (top_x, top_y)
        kx, ky = (
            2 * np.pi / length * np.arange(-top, top + 1)
            for length, top in zip(grid.lengths, self.highest, strict=True)
        )
        squared = kx[:, None] ** 2 + ky**2
        inverse = np.where(squared == 0, 0.0, 1 / np.where(squared == 0, 1.0, squared))
        self.k = (_constant(kx[:, None], grid), _constant(ky[None], grid))
        self.k_squared = _constant(squared, grid)
        self.inverse_k_squared = _constant(inverse, grid)
        # Multiplied out here: XLA would do it again at every step.
        wave = kx[:, None] + 1j * ky
        self.wave, self.velocity = _constant(wave, grid), _constant(wave * inverse, grid)
        self.own = _constant(np.conj(wave) / 4j, grid)
        self.mirrored = _constant(-(wave**3) * inverse / 4j, grid)

    def from_half(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "nx ny"]:
        """From the layout of `Spectrum`, dropping what is not kept."""
        top_x, top_y = self.highest
        negative = modes[modes.shape[0] - top_x :] if top_x else modes[:0]
        right = jnp.concatenate([negative, modes[: top_x + 1]])[:, : top_y + 1]
        return jnp.concatenate([jnp.conj(jnp.flip(right[:, 1:], (0, 1))), right], axis=1)

    def to_half(self, centred: Complex[Array, "nx ny"]) -> Complex[Array, "mx my"]:
        """To the layout of `Spectrum`, zero where nothing was kept."""
        (top_x, top_y), (n_x, n_y) = self.highest, self.grid.shape
        right = centred[:, top_y:]
        gap = jnp.zeros((n_x - right.shape[0], right.shape[1]), right.dtype)
        columns = jnp.concatenate([right[top_x:], gap, right[:top_x]])
        return jnp.pad(columns, ((0, 0), (0, n_y // 2 + 1 - right.shape[1])))

    def square(self, centred: Complex[Array, "nx ny"]) -> Complex[Array, "nx ny"]:
        """Coefficients of the square of the complex field with the given coefficients: one
        transform each way.

        Storing mode -K first multiplies the field by a plane wave, and its square by the square of
        that wave; the modes of the product are then found 2K further on.
        """
        room = [(0, n - 2 * top - 1) for n, top in zip(self.grid.shape, self.highest, strict=True)]
        field = jnp.fft.ifft2(jnp.pad(centred, room))
        product = jnp.fft.fft2(field * field)
        for axis, (n, top) in enumerate(zip(self.grid.shape, self.highest, strict=True)):
            if 3 * top < n:
                product = lax.slice_in_dim(product, top, 3 * top + 1, axis=axis)
            else:
                product = jnp.take(product, np.arange(top, 3 * top + 1) % n, axis=axis)
        return product


def _constant(array: np.ndarray, grid: Periodic) -> Array:
    # Cast before JAX sees it: a cast there compiles a program for every shape.
    dtype = np.result_type(grid.dtype, np.complex64) if np.iscomplexobj(array) else grid.dtype
    return jnp.asarray(array.astype(dtype))


def total(terms: Iterable[Array]) -> Array:
    """The sum of arrays, at least one (the built-in starts from the integer 0)."""
    return reduce(add, terms)


def scaled(multiplier: Array, coefficients: Array) -> Array:
    """`multiplier * coefficients` without promoting a real multiplier to complex (half the
    work).
    """
    if jnp.iscomplexobj(multiplier) or not jnp.iscomplexobj(coefficients):
        return multiplier * coefficients
    return lax.complex(multiplier * coefficients.real, multiplier * coefficients.imag)


def resample(
    values: Float[Array, "..."], source: Periodic, target: Periodic
) -> Float[Array, "..."]:
    """Trigonometric interpolation of `values` to the points of another grid of the same box.

    Going coarser cuts the modes the target cannot hold, so it is a sharp spectral filter. The
    Nyquist mode of an even axis is dropped: on a coarser grid it could not be told from its mirror
    image.
    """
    if (source.lengths, source.origin) != (target.lengths, target.origin):
        raise ValueError(
            f"source and target must be the same box, got lengths {source.lengths} and "
            f"{target.lengths}, origins {source.origin} and {target.origin}"
        )
    if source.shape == target.shape:
        return values
    ndim = source.ndim
    coefficients = jnp.fft.rfftn(values, axes=tuple(range(-ndim, 0)))
    for axis, (old, new) in enumerate(zip(source.shape, target.shape, strict=True)):
        along = values.ndim - ndim + axis
        highest = (min(old, new) - 1) // 2
        low = jnp.take(coefficients, np.arange(highest + 1), axis=along)
        if axis == ndim - 1:
            parts, modes = [low], new // 2 + 1
        else:
            count = coefficients.shape[along]
            parts = [low, jnp.take(coefficients, np.arange(count - highest, count), axis=along)]
            modes = new
        gap = list(low.shape)
        gap[along] = modes - sum(part.shape[along] for part in parts)
        parts.insert(1, jnp.zeros(gap, low.dtype))
        coefficients = jnp.concatenate(parts, axis=along)
    scaled = coefficients * (target.size / source.size)
    return jnp.fft.irfftn(scaled, s=target.shape, axes=tuple(range(-ndim, 0)))
