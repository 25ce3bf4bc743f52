"""Reaction and diffusion, phase fields and patterns."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, parameter
from jaxpbdl.equations.semilinear import SemilinearEquation
from jaxpbdl.fields import Field, at_time, gradient, laplacian, time_derivative
from jaxpbdl.grids.spectrum import Spectrum


def _diffusion_residual(diffusivity: Array, field: Field, point: Float[Array, " dim"]) -> Array:
    """du/dt - diffusivity lap u, the divergence of the diffusive flux."""
    diffusion = diffusivity * laplacian(at_time(field, point[-1]))(point[:-1])
    return time_derivative(field)(point) - diffusion


def _diffusive_flux(diffusivity: Array, field: Field, point: Float[Array, " dim"]) -> Array:
    """(-diffusivity grad u, u)."""
    return jnp.append(-diffusivity * gradient(field)(point)[:-1], field(point))


class AllenCahn(SemilinearEquation):
    """du/dt = diffusivity lap u + growth u - saturation u^3: two phases and their interface."""

    diffusivity: Parameter = parameter(default=1e-4)
    growth: Parameter = parameter(default=5.0)
    saturation: Parameter = parameter(default=5.0)

    def __check_init__(self):
        checks.non_negative("diffusivity", self.diffusivity)

    @property
    def keep(self) -> float:
        return 1 / 2

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.diffusivity * spectrum.laplacian + self.growth

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        return -self.saturation * spectrum.transform(spectrum.to_grid(modes) ** 3)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        return _diffusion_residual(self.diffusivity, field, point) - self.production(field, point)

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """(-diffusivity grad u, u)."""
        return _diffusive_flux(self.diffusivity, field, point)

    def production(self, field: Field, point: Float[Array, " dim"]) -> Array:
        value = field(point)
        return self.growth * value - self.saturation * value**3


class FisherKPP(SemilinearEquation):
    """du/dt = diffusivity lap u + growth u (1 - u): a population that spreads."""

    diffusivity: Parameter = parameter(default=0.01)
    growth: Parameter = parameter(default=1.0)

    def __check_init__(self):
        checks.non_negative("diffusivity", self.diffusivity)

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.diffusivity * spectrum.laplacian + self.growth

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        return -self.growth * spectrum.transform(spectrum.to_grid(modes) ** 2)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        return _diffusion_residual(self.diffusivity, field, point) - self.production(field, point)

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """(-diffusivity grad u, u)."""
        return _diffusive_flux(self.diffusivity, field, point)

    def production(self, field: Field, point: Float[Array, " dim"]) -> Array:
        value = field(point)
        return self.growth * value * (1 - value)


class GrayScott(SemilinearEquation):
    """Two species that react and diffuse, state (substrate, activator) of shape (2, *grid).

    du/dt = diffusivities[0] lap u - u v^2 + feed (1 - u);  dv/dt = diffusivities[1] lap v + u v^2 -
    (feed + kill) v (Pearson, Science 261 (1993) 189).
    """

    diffusivities: Parameter = parameter(default=(2e-5, 1e-5))
    feed: Parameter = parameter(default=0.04)
    kill: Parameter = parameter(default=0.06)

    def __check_init__(self):
        checks.non_negative("diffusivities", self.diffusivities)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def keep(self) -> float:
        return 1 / 2

    def symbol(self, spectrum: Spectrum) -> Array:
        substrate = self.diffusivities[0] * spectrum.laplacian - self.feed
        activator = self.diffusivities[1] * spectrum.laplacian - self.feed - self.kill
        return jnp.stack([substrate, activator])

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        substrate, activator = spectrum.to_grid(modes)
        reaction = spectrum.transform(substrate * activator**2)
        return jnp.stack([-reaction, reaction])

    def source(self, spectrum: Spectrum) -> Array:
        feed = self.feed * spectrum.transform(jnp.ones(spectrum.grid.shape, spectrum.grid.dtype))
        return jnp.stack([feed, jnp.zeros_like(feed)])

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        substrate, activator = field(point)
        reaction = substrate * activator**2
        source = jnp.stack(
            [self.feed * (1 - substrate) - reaction, reaction - (self.feed + self.kill) * activator]
        )
        diffusion = self.diffusivities * laplacian(at_time(field, point[-1]))(point[:-1])
        return time_derivative(field)(point) - diffusion - source


class SwiftHohenberg(SemilinearEquation):
    """du/dt = growth u - (wavenumber^2 + lap)^2 u + asymmetry u^2 - u^3: stripes and hexagons."""

    growth: Parameter = parameter(default=0.7)
    wavenumber: Parameter = parameter(default=1.0)
    asymmetry: Parameter = parameter(default=0.0)

    def __check_init__(self):
        checks.positive("wavenumber", self.wavenumber)

    @property
    def keep(self) -> float:
        return 1 / 2

    def symbol(self, spectrum: Spectrum) -> Array:
        return self.growth - (self.wavenumber**2 + spectrum.laplacian) ** 2

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        value = spectrum.to_grid(modes)
        return spectrum.transform(self.asymmetry * value**2 - value**3)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        value, position = field(point), point[:-1]
        curvature = laplacian(at_time(field, point[-1]))
        k_squared = self.wavenumber**2
        band = (
            k_squared**2 * value
            + 2 * k_squared * curvature(position)
            + laplacian(curvature)(position)
        )
        reaction = self.growth * value + self.asymmetry * value**2 - value**3
        return time_derivative(field)(point) + band - reaction


class CahnHilliard(SemilinearEquation):
    """du/dt = mobility lap (u^3 - u - interface_width^2 lap u): phases that separate and keep their
    mass.
    """

    mobility: Parameter = parameter(default=1.0)
    interface_width: Parameter = parameter(default=0.1)

    def __check_init__(self):
        checks.non_negative("mobility", self.mobility)
        checks.positive("interface_width", self.interface_width)

    @property
    def keep(self) -> float:
        return 1 / 2

    def symbol(self, spectrum: Spectrum) -> Array:
        k_squared = spectrum.k_squared
        return self.mobility * (k_squared - self.interface_width**2 * k_squared**2)

    def nonlinear(self, modes: Array, spectrum: Spectrum) -> Array:
        cube = spectrum.transform(spectrum.to_grid(modes) ** 3)
        return self.mobility * spectrum.laplacian * cube

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        snapshot = at_time(field, point[-1])
        curvature = laplacian(snapshot)

        def potential(position: Array) -> Array:
            value = snapshot(position)
            return value**3 - value - self.interface_width**2 * curvature(position)

        return time_derivative(field)(point) - self.mobility * laplacian(potential)(point[:-1])
