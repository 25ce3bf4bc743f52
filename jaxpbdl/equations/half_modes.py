"""The modes of a two-dimensional flow as a spectrum has them, for boxes that devices share."""

import equinox as eqx
from jax import lax
from jaxtyping import Array, Complex, Float

from jaxpbdl.grids.spectrum import Spectrum, scaled


class HalfModes(eqx.Module):
    """Coefficients of the vorticity in the layout of a spectrum, of `NavierStokes2D` on a mesh.

    Four real transforms do what `CentredModes` does with two complex ones: half of the coefficients
    travel, and none has to meet its mirror image on another device.

    **Attributes:** `k`, `k_squared`, `inverse_k_squared` as of `Spectrum`.
    """

    trainable_fields = ()

    spectrum: Spectrum

    @property
    def k(self) -> tuple[Float[Array, "..."], ...]:
        return self.spectrum.k

    @property
    def k_squared(self) -> Float[Array, "mx my"]:
        return self.spectrum.k_squared

    @property
    def inverse_k_squared(self) -> Float[Array, "mx my"]:
        return self.spectrum.inverse_k_squared

    @property
    def mask(self) -> Float[Array, "mx my"]:
        """1 on modes that dealiasing keeps, 0 elsewhere."""
        return self.spectrum.mask

    def truncate(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "mx my"]:
        """Without the modes that dealiasing removes."""
        return self.spectrum.truncate(modes)

    def enter(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "mx my"]:
        """Without the mean, zero in a periodic flow."""
        return scaled((self.k_squared > 0).astype(self.k_squared.dtype), modes)

    def leave(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "mx my"]:
        """The same."""
        return modes

    def transport(self, modes: Complex[Array, "mx my"]) -> Complex[Array, "mx my"]:
        """-u . grad w = -(d_xx - d_yy)(u v) - d_xy (v^2 - u^2), see `NavierStokes2D.nonlinear`."""
        kx, ky = self.k
        stream = scaled(self.inverse_k_squared, modes)
        along = lax.complex(-ky * stream.imag, ky * stream.real)
        across = lax.complex(kx * stream.imag, -kx * stream.real)
        u, v = self.spectrum.each_to_grid((along, across))
        shear, normal = self.spectrum.transform_each((u * v, v * v - u * u))
        return scaled(kx**2 - ky**2, shear) + scaled(kx * ky, normal)
