"""From the unknown image of a photonic design to the density of its pixels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.experiments.waves.photonic_devices import Device, Mirror, background


def cone(radius: float) -> Float[np.ndarray, "n n"]:
    """Weights that fall linearly to zero at a radius in pixels; their sum is 1."""
    reach = int(np.ceil(radius)) - 1 if radius > 1 else 0
    x = np.arange(-reach, reach + 1)
    weights = np.maximum(1 - np.hypot(x[:, None], x) / max(radius, 1.0), 0.0)
    return weights / weights.sum()


class Shaping(eqx.Module):
    """From the unknown image to the density of the pixels."""

    outside: Float[Array, "nx ny"]
    """The density about the design, as wide as the cone reaches."""
    fixed: Float[Array, "x y"]
    """At the border that of the pixel outside; NaN within."""
    kernel: Float[Array, "n n"]
    mirrors: tuple[Mirror, ...] = eqx.field(static=True)

    def symmetric(self, image: Float[Array, "x y"]) -> Float[Array, "x y"]:
        for mirror in self.mirrors:
            image = (image + mirror(image)) / 2
        return image

    def smooth(self, image: Float[Array, "x y"]) -> Float[Array, "x y"]:
        reach = len(self.kernel) // 2
        whole = self.outside
        inner = slice(reach, whole.shape[0] - reach), slice(reach, whole.shape[1] - reach)
        whole = whole.at[inner].set(self.symmetric(image))
        return jax.scipy.signal.convolve(whole, self.kernel, mode="valid")

    def __call__(self, image: Float[Array, "x y"], sharpness: Array | float) -> Array:
        """The projected density."""
        smooth = self.smooth(image)
        half = jnp.tanh(sharpness / 2)
        density = (half + jnp.tanh(sharpness * (smooth - 0.5))) / (2 * half)
        return jnp.where(jnp.isnan(self.fixed), density, jnp.nan_to_num(self.fixed))


def surroundings(device: Device, cell: int, reach: int) -> np.ndarray:
    """What is solid with and about a design, as far as some pixels; guides go on beyond the box."""
    density, (x, y) = background(device, cell)
    density = np.pad(density, reach, mode="edge")
    return density[x.start : x.stop + 2 * reach, y.start : y.stop + 2 * reach] > 0.5


def shaping(device: Device, radius: float, cell: int) -> Shaping:
    """Of a device with pixels of some nm; the radius of the cone, too, is in nm."""
    density, (x, y) = background(device, cell)
    kernel = cone(radius / cell)
    reach = len(kernel) // 2
    fixed = np.full((x.stop - x.start, y.stop - y.start), np.nan)
    fixed[0], fixed[-1] = density[x.start - 1, y], density[x.stop, y]
    side = density[x, y.start - 1], density[x, y.stop]
    fixed[:, 0], fixed[:, -1] = np.fmax(fixed[:, 0], side[0]), np.fmax(fixed[:, -1], side[1])
    around = surroundings(device, cell, reach).astype(float)
    return Shaping(jnp.asarray(around), jnp.asarray(fixed), jnp.asarray(kernel), device.mirrors)
