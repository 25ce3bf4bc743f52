"""The kept modes of a flow in two dimensions, in the layout that its products want."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Complex, Float

from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, constant, highest_kept


class CentredModes(eqx.Module):
    """The kept modes of a two-dimensional grid in ascending order, -K .. K along both axes.

    Both halves of the spectrum are there, so that two real fields travel as one complex field, and
    the mirror image of a mode is a plain reversal of the array. Of
    `NavierStokes2D`; coefficients are unnormalised as elsewhere.

    **Attributes:** `k`, `k_squared`, `inverse_k_squared` as of `Spectrum`; `wave`, kx + i ky, and
    `velocity`, (kx + i ky) / k^2, which makes the complex velocity u + i v of the vorticity;
    `of_square` and `of_mirror_image`, what makes minus the transport of vorticity, again as a
    complex velocity, of the square of u + i v and of its conjugate mirror image (see
    `NavierStokes2D.nonlinear`).
    """

    trainable_fields = ()

    grid: Grid
    highest: tuple[int, int] = eqx.field(static=True)
    k: tuple[Float[Array, "nx 1"], Float[Array, "1 ny"]]
    k_squared: Float[Array, "nx ny"]
    inverse_k_squared: Float[Array, "nx ny"]
    wave: Complex[Array, "nx ny"]
    velocity: Complex[Array, "nx ny"]
    of_square: Complex[Array, "nx ny"]
    of_mirror_image: Complex[Array, "nx ny"]

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
        self.k = (constant(kx[:, None], grid), constant(ky[None], grid))
        self.k_squared = constant(squared, grid)
        self.inverse_k_squared = constant(inverse, grid)
        # Multiplied out here: XLA would do it again at every step.
        wave = kx[:, None] + 1j * ky
        self.wave, self.velocity = constant(wave, grid), constant(wave * inverse, grid)
        self.of_square = constant(np.conj(wave) / 4j, grid)
        self.of_mirror_image = constant(-(wave**3) * inverse / 4j, grid)

    @property
    def mask(self) -> Float[Array, ""]:
        """Of the modes that dealiasing keeps: there are no others."""
        return jnp.ones((), self.grid.dtype)

    def truncate(self, centred: Complex[Array, "nx ny"]) -> Complex[Array, "nx ny"]:
        """Nothing to set to zero."""
        return centred

    def enter(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "nx ny"]:
        """Coefficients of the complex velocity u + i v, (kx + i ky) / k^2 times those of the
        vorticity in the layout of `Spectrum`: the products are formed from it. The mean vorticity,
        zero in a periodic flow, is dropped."""
        return self.velocity * self.from_half(modes)

    def leave(self, modes: Complex[Array, "nx ny"]) -> Complex[Array, "mx my"]:
        """Of the vorticity again."""
        return self.to_half(jnp.conj(self.wave) * modes)

    def transport(self, modes: Complex[Array, "nx ny"]) -> Complex[Array, "nx ny"]:
        """-u . grad w, again as a complex velocity, see `NavierStokes2D.nonlinear`."""
        square = self.square(modes)
        mirror_image = jnp.conj(jnp.flip(square, (0, 1)))
        return self.of_square * square + self.of_mirror_image * mirror_image

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
        padding = [
            (0, n - 2 * top - 1) for n, top in zip(self.grid.shape, self.highest, strict=True)
        ]
        field = jnp.fft.ifft2(jnp.pad(centred, padding))
        product = jnp.fft.fft2(field * field)
        for axis, (n, top) in enumerate(zip(self.grid.shape, self.highest, strict=True)):
            if 3 * top < n:
                product = lax.slice_in_dim(product, top, 3 * top + 1, axis=axis)
            else:
                product = jnp.take(product, np.arange(top, 3 * top + 1) % n, axis=axis)
        return product
