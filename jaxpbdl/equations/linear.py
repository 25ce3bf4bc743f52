"""Linear equations: advection, diffusion, dispersion, hyper-diffusion; waves."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, optional_parameter, parameter
from jaxpbdl.equations.semilinear import SemilinearEquation
from jaxpbdl.fields import Field, at_time, gradient, laplacian, partial, time_derivative
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum


class AdvectionDiffusion(SemilinearEquation):
    """du/dt + velocity . grad u = diffusivity lap u + dispersion sum_i d^3u/dx_i^3 -
    hyper_diffusivity lap^2 u.

    Terms that are None are absent: `AdvectionDiffusion(diffusivity=0.1)` is the heat equation.

    **Arguments:** `velocity` (one number for all axes or one per axis), `diffusivity` >= 0,
    `dispersion`, `hyper_diffusivity` >= 0.
    """

    velocity: Parameter = optional_parameter()
    diffusivity: Parameter = optional_parameter()
    dispersion: Parameter = optional_parameter()
    hyper_diffusivity: Parameter = optional_parameter()

    def __check_init__(self):
        for name in ("diffusivity", "hyper_diffusivity"):
            if getattr(self, name) is not None:
                checks.non_negative(name, getattr(self, name))

    @property
    def keep(self) -> float:
        return 1.0

    def check_grid(self, grid: Grid) -> None:
        if self.velocity is not None and self.velocity.ndim > 0:
            checks.shape("velocity", self.velocity, (grid.ndim,))

    def symbol(self, spectrum: Spectrum) -> Array:
        total = jnp.zeros_like(spectrum.k_squared)
        if self.diffusivity is not None:
            total = total - self.diffusivity * spectrum.k_squared
        if self.hyper_diffusivity is not None:
            total = total - self.hyper_diffusivity * spectrum.k_squared**2
        if self.velocity is not None:
            velocity = jnp.broadcast_to(self.velocity, (spectrum.grid.ndim,))
            total = total - 1j * sum(c * k for c, k in zip(velocity, spectrum.k, strict=True))
        if self.dispersion is not None:
            total = total - 1j * self.dispersion * sum(k**3 for k in spectrum.k)
        return total

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        position, snapshot = point[:-1], at_time(field, point[-1])
        total = time_derivative(field)(point)
        if self.velocity is not None:
            velocity = jnp.broadcast_to(self.velocity, position.shape)
            total = total + gradient(snapshot)(position) @ velocity
        if self.diffusivity is not None:
            total = total - self.diffusivity * laplacian(snapshot)(position)
        if self.dispersion is not None:
            third = sum(partial(snapshot, axis, 3)(position) for axis in range(len(position)))
            total = total - self.dispersion * third
        if self.hyper_diffusivity is not None:
            total = total + self.hyper_diffusivity * laplacian(laplacian(snapshot))(position)
        return total

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """(velocity u - diffusivity grad u, u), without the higher derivatives."""
        if self.dispersion is not None or self.hyper_diffusivity is not None:
            return super().space_time_flux(field, point)
        u, slopes = field(point), gradient(field)(point)[:-1]
        through = jnp.zeros_like(slopes)
        if self.velocity is not None:
            through = through + self.velocity * u
        if self.diffusivity is not None:
            through = through - self.diffusivity * slopes
        return jnp.append(through, u)


class Wave(SemilinearEquation):
    """d^2u/dt^2 = speed^2 lap u, as the state (u, du/dt) of shape (2, *grid); exact for any dt.

    In Fourier space the pair is carried as the two travelling waves du/dt +- i speed |k| u, whose
    symbols are +-i speed |k|. The mean is not a wave: it is carried as it is and grows with the
    mean of du/dt.
    """

    propagation_speed: Parameter = parameter(default=1.0)

    def __check_init__(self):
        checks.positive("propagation_speed", self.propagation_speed)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def keep(self) -> float:
        return 1.0

    def _frequency(self, spectrum: Spectrum) -> Array:
        return self.propagation_speed * jnp.sqrt(spectrum.k_squared)

    def symbol(self, spectrum: Spectrum) -> Array:
        frequency = self._frequency(spectrum)
        return jnp.stack([1j * frequency, -1j * frequency])

    def enter(self, modes: Array, spectrum: Spectrum) -> Array:
        value, rate = modes
        oscillation = 1j * self._frequency(spectrum) * value
        is_mean = spectrum.k_squared == 0
        return jnp.where(is_mean, modes, jnp.stack([rate + oscillation, rate - oscillation]))

    def leave(self, modes: Array, spectrum: Spectrum) -> Array:
        right, left = modes
        is_mean = spectrum.k_squared == 0
        frequency = jnp.where(is_mean, 1.0, self._frequency(spectrum))
        waves = jnp.stack([(right - left) / (2j * frequency), (right + left) / 2])
        return jnp.where(is_mean, modes, waves)

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        mean_rate = jnp.where(spectrum.k_squared == 0, modes[1], 0.0)
        return jnp.stack([mean_rate, jnp.zeros_like(mean_rate)])

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """Of a field that gives (u, du/dt)."""
        snapshot = at_time(field, point[-1])
        value_rate, rate_rate = time_derivative(field)(point)
        acceleration = self.propagation_speed**2 * laplacian(snapshot)(point[:-1])[0]
        return jnp.stack([value_rate - field(point)[1], rate_rate - acceleration])
