"""Burgers' equation, the model of steepening fronts."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, parameter, require_ndim
from jaxpbdl.equations.semilinear import SemilinearEquation, advective_rate
from jaxpbdl.fields import Field, at_time, gradient, laplacian, partial, time_derivative
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.spectrum import Spectrum, total


class Burgers(SemilinearEquation):
    """du/dt + (u . grad) u = viscosity lap u.

    A scalar on a one-dimensional grid, a vector with one component per axis otherwise.

    **Arguments:** `viscosity` >= 0; `ndim`, the dimension of the grid.
    """

    viscosity: Parameter = parameter(default=0.01)
    ndim: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        checks.non_negative("viscosity", self.viscosity)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return () if self.ndim == 1 else (self.ndim,)

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, self.ndim)

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.viscosity * spectrum.laplacian

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        velocity = spectrum.to_grid(modes)
        if self.ndim == 1:
            return spectrum.derivative(spectrum.transform(-0.5 * velocity**2), 0)
        transport = total(
            velocity[axis] * spectrum.to_grid(spectrum.derivative(modes, axis))
            for axis in range(self.ndim)
        )
        return -spectrum.transform(transport)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        position, snapshot = point[:-1], at_time(field, point[-1])
        velocity = jnp.atleast_1d(field(point))
        return (
            time_derivative(field)(point)
            + gradient(snapshot)(position) @ velocity
            - self.viscosity * laplacian(snapshot)(position)
        )

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """(u^2 / 2 - viscosity du/dx, u), in one dimension."""
        if self.ndim > 1:
            return super().space_time_flux(field, point)
        u, slope = field(point), partial(field, 0)(point)
        return jnp.stack([u**2 / 2 - self.viscosity * slope, u])

    def transport_rate(self, state: Array, spectrum: Spectrum) -> Array:
        speeds = jnp.max(jnp.abs(state.reshape(self.ndim, -1)), axis=1)
        return advective_rate(speeds, spectrum.k)
