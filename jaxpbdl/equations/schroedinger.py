"""The Schroedinger equation of a wave function that acts on itself."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, parameter
from jaxpbdl.equations.semilinear import SemilinearEquation
from jaxpbdl.fields import Field, at_time, laplacian, time_derivative
from jaxpbdl.grids.spectrum import Spectrum


class Schroedinger(SemilinearEquation):
    """i dh/dt + dispersion lap h + interaction |h|^2 h = 0, with h as its real and imaginary part,
    shape (2, *grid).

    Attractive (focusing, bright solitons) for dispersion and interaction of one sign; free, and
    exact for any dt, without interaction. In Fourier space the pair is carried as the coefficients
    of h and of its conjugate, whose symbols are -+i dispersion k^2.
    """

    dispersion: Parameter = parameter(default=0.5)
    interaction: Parameter = parameter(default=1.0)

    def __check_init__(self):
        checks.finite("dispersion", self.dispersion)
        checks.finite("interaction", self.interaction)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def keep(self) -> float:
        return 1 / 2

    def symbol(self, spectrum: Spectrum) -> Array:
        rotation = 1j * self.dispersion * spectrum.laplacian
        return jnp.stack([rotation, -rotation])

    def enter(self, modes: Array, spectrum: Spectrum) -> Array:
        real, imaginary = modes
        return jnp.stack([real + 1j * imaginary, real - 1j * imaginary])

    def leave(self, modes: Array, spectrum: Spectrum) -> Array:
        wave, conjugate = modes
        return jnp.stack([(wave + conjugate) / 2, (wave - conjugate) / 2j])

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        real, imaginary = spectrum.to_grid(self.leave(modes, spectrum))
        rate = self.interaction * (real**2 + imaginary**2)
        return self.enter(spectrum.transform(jnp.stack([-rate * imaginary, rate * real])), spectrum)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Float[Array, "2"]:
        """Real and imaginary part of -i times the left-hand side."""
        value, snapshot = field(point), at_time(field, point[-1])
        turning = self.dispersion * laplacian(snapshot)(point[:-1])
        turning = turning + self.interaction * jnp.sum(value**2) * value
        return time_derivative(field)(point) + jnp.stack([turning[1], -turning[0]])
