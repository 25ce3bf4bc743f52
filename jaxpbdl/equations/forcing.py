"""Body forces: fields of space that give the force vector at a position."""

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl.equations.equation import Parameter, parameter


class Kolmogorov(eqx.Module):
    """Force along the first axis that varies sinusoidally along the second; created by
    `kolmogorov`.
    """

    wavenumber: Parameter = parameter()
    amplitude: Parameter = parameter()

    def __call__(self, position: Float[Array, " dim"]) -> Float[Array, " dim"]:
        strength = self.amplitude * jnp.sin(self.wavenumber * position[1])
        return jnp.zeros_like(position).at[0].set(strength)


def kolmogorov(wavenumber: ArrayLike = 4.0, amplitude: ArrayLike = 1.0) -> Kolmogorov:
    """f = amplitude sin(wavenumber y) along x (Kolmogorov flow; Kochkov et al. 2021 use 4 and
    1).
    """
    return Kolmogorov(wavenumber, amplitude)
