"""Flow on a rotating sphere: barotropic vorticity and shallow water.

Points are (latitude, longitude, time), in radians; longitudes grow to the east. The rotation axis
goes through the poles unless it is tilted towards the point (-tilt, 0), which is the same flow on
a tilted grid (Williamson, Drake, Hack, Jakob and Swarztrauber, J. Comput. Phys. 102 (1992) 211).
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Parameter, optional_parameter, parameter
from jaxpbdl.equations.semilinear import SemilinearEquation
from jaxpbdl.fields import Field, at_time, gradient, time_derivative
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.harmonics import SphericalHarmonics
from jaxpbdl.grids.sphere import Sphere

EARTH_RADIUS = 6.37122e6
"""Metres, as the test cases of Williamson et al. have it."""
EARTH_ROTATION = 7.292e-5
"""Radians a second."""


class BarotropicVorticity(SemilinearEquation):
    """Relative vorticity w of a flow without divergence on a rotating sphere.

        dw/dt + u . grad (w + 2 rotation sin(latitude)) = viscosity lap w
            - hyper_diffusivity (-lap)^order w,   u = k x grad psi,  lap psi = w

    The waves of the rotation, dw/dt = 2 i rotation m / (n (n + 1)) w, belong to the linear part.

    **Arguments:** `rotation` in radians a second; `viscosity`, `hyper_diffusivity` >= 0 or None;
    `order` of the hyper-diffusion; `radius` of the sphere, that of the grid.
    """

    judged_quantity = "stream function"

    rotation: Parameter = parameter(default=EARTH_ROTATION)
    viscosity: Parameter = optional_parameter()
    hyper_diffusivity: Parameter = optional_parameter()
    order: int = eqx.field(static=True, default=2)
    radius: float = eqx.field(static=True, default=EARTH_RADIUS)

    def __check_init__(self):
        _check_diffusion(self)

    def check_grid(self, grid: Grid) -> None:
        _check_sphere(grid, self.radius)

    def symbol(self, layout: SphericalHarmonics) -> Complex[Array, "orders degrees"]:
        turning = 2 * self.rotation * layout.inverse_k_squared / layout.grid.radius**2
        return 1j * layout.orders * turning - _damping(self, layout)

    def nonlinear(self, modes: Array, layout: SphericalHarmonics) -> Array:
        east, north = layout.winds(modes, jnp.zeros_like(modes))
        vorticity = layout.to_grid(modes)
        return -layout.vorticity_divergence(vorticity * east, vorticity * north)[1]

    def source(self, spectrum: SphericalHarmonics) -> None:
        return None

    def transport_rate(self, state: Array, spectrum: SphericalHarmonics) -> Array:
        modes = spectrum.transform(state)
        east, north = spectrum.winds(modes, jnp.zeros_like(modes))
        return jnp.sqrt(jnp.max(east**2 + north**2) * spectrum.k_squared)

    def judged_states(self, states: Array, grid: Grid) -> Array:
        """Not there: the interpolation between points knows boxes alone."""
        raise ValueError("states on a sphere do not become fields: give the residual a function")

    def residual(self, field: Field, point: Float[Array, " 3"]) -> Array:
        """Of a field that gives the stream function.

        **Raises** ValueError with hyper-diffusion."""
        self.check_field(field)
        if self.hyper_diffusivity is not None:
            raise ValueError("the residual has no hyper-diffusion: hyper_diffusivity must be None")
        position = point[:-1]

        def vorticity(at: Array) -> Array:
            return _laplacian(at_time(field, at[-1]), self.radius)(at[:-1])

        snapshot = at_time(vorticity, point[-1])
        cos = jnp.cos(position[0])
        by_latitude, by_longitude = gradient(at_time(field, point[-1]))(position)
        east, north = -by_latitude / self.radius, by_longitude / (self.radius * cos)
        slope, along = gradient(snapshot)(position)
        total = time_derivative(vorticity)(point)
        total = total + (east * along / cos + north * slope) / self.radius
        total = total + 2 * self.rotation * cos * north / self.radius
        if self.viscosity is not None:
            total = total - self.viscosity * _laplacian(snapshot, self.radius)(position)
        return total


class ShallowWater(SemilinearEquation):
    """Vorticity w, divergence d and geopotential p = gravity x depth of a layer of water.

        dw/dt = -div((w + f) u)
        dd/dt = k . curl((w + f) u) - lap(p + terrain + |u|^2 / 2)
        dp/dt = -div(p u),   f = 2 rotation (sin(lat) cos(tilt) - cos(lon) cos(lat) sin(tilt))

    each with `viscosity lap - hyper_diffusivity (-lap)^order` of itself. A state has the shape
    (3, latitudes, longitudes). Gravity waves of the mean depth belong to the linear part: they are
    carried as p +- i sqrt(mean_geopotential / -lap) d, whose symbols are +- i sqrt(-lap
    mean_geopotential).

    **Arguments**

    - `mean_geopotential`: gravity times a mean depth, > 0, in m^2/s^2: of the linear part alone.
    - `rotation`: radians a second. `tilt`: of its axis, radians.
    - `terrain`: gravity times the height of the ground, a function of (latitude, longitude).
    - `viscosity`, `hyper_diffusivity`: >= 0 or None. `order`: of the latter.
    - `radius`: of the sphere, that of the grid.
    """

    judged_quantity = "wind and geopotential"

    mean_geopotential: Parameter = parameter()
    rotation: Parameter = parameter(default=EARTH_ROTATION)
    tilt: Parameter = parameter(default=0.0)
    viscosity: Parameter = optional_parameter()
    hyper_diffusivity: Parameter = optional_parameter()
    terrain: Callable[[Array], Array] | None = None
    order: int = eqx.field(static=True, default=2)
    radius: float = eqx.field(static=True, default=EARTH_RADIUS)

    def __check_init__(self):
        checks.positive("mean_geopotential", self.mean_geopotential)
        _check_diffusion(self)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (3,)

    def check_grid(self, grid: Grid) -> None:
        _check_sphere(grid, self.radius)

    def symbol(self, layout: SphericalHarmonics) -> Complex[Array, "3 1 degrees"]:
        wave = 1j * jnp.sqrt(self.mean_geopotential * layout.k_squared)
        return (jnp.stack([0 * wave, wave, -wave]) - _damping(self, layout))[:, None]

    def enter(self, modes: Array, layout: SphericalHarmonics) -> Array:
        vorticity, divergence, geopotential = modes
        wave = jnp.sqrt(self.mean_geopotential * layout.inverse_k_squared)
        turned = 1j * wave * divergence
        return jnp.stack([vorticity, geopotential + turned, geopotential - turned])

    def leave(self, modes: Array, layout: SphericalHarmonics) -> Array:
        vorticity, east, west = modes
        wave = jnp.sqrt(layout.k_squared / self.mean_geopotential)
        return jnp.stack([vorticity, -0.5j * wave * (east - west), (east + west) / 2])

    def coriolis(self, grid: Sphere) -> Float[Array, "latitudes longitudes"]:
        """Twice the rotation about the vertical."""
        return 2 * self.rotation * turned_sine(grid.coordinates, self.tilt)

    def nonlinear(self, modes: Array, layout: SphericalHarmonics) -> Array:
        state = self.leave(modes, layout)
        vorticity, _, geopotential = state
        # The mean depth is in the linear part.
        geopotential = geopotential.at[0, 0].add(-self.mean_geopotential)
        spin, depth = layout.to_grid(jnp.stack([vorticity, geopotential]))
        east, north = layout.winds(vorticity, state[1])
        factors = jnp.stack([spin + self.coriolis(layout.grid), depth])
        curl, divergence = layout.vorticity_divergence(factors * east, factors * north)
        energy = layout.transform((east**2 + north**2) / 2)
        slopes = jnp.stack(
            [-divergence[0], curl[0] + layout.k_squared * energy, -divergence[1]]
        )  # fmt: skip
        return self.enter(slopes, layout)

    def ground(self, grid: Sphere) -> Float[Array, "latitudes longitudes"]:
        """The terrain at the points of a grid."""
        if self.terrain is None:
            return jnp.zeros(grid.shape, grid.dtype)
        points = grid.points.reshape(-1, 2)
        values = eqx.filter_jit(eqx.filter_vmap(self.terrain))(points)
        return values.reshape(grid.shape).astype(grid.dtype)

    def source(self, spectrum: SphericalHarmonics) -> Array | None:
        if self.terrain is None:
            return None
        push = spectrum.k_squared * spectrum.transform(self.ground(spectrum.grid))
        return jnp.stack([0 * push, push, 0 * push])

    def transport_rate(self, state: Array, spectrum: SphericalHarmonics) -> Array:
        """Of the wind, and of gravity waves as far as the depth is not its mean."""
        east, north = spectrum.winds(*spectrum.transform(state[:2]))
        speed = jnp.sqrt(jnp.max(east**2 + north**2))
        waves = jnp.max(jnp.abs(state[2] - self.mean_geopotential))
        speed = speed + waves / jnp.sqrt(self.mean_geopotential)
        return speed * jnp.sqrt(spectrum.k_squared) + 2 * jnp.abs(self.rotation)

    def invariants(
        self, state: Float[Array, "3 latitudes longitudes"], layout: SphericalHarmonics
    ) -> Float[Array, "3"]:
        """Means over the sphere of geopotential (mass), energy p |u|^2 / 2 + ((p + terrain)^2 -
        terrain^2) / 2, and potential enstrophy (w + f)^2 / (2 p): constant without diffusion."""
        east, north = layout.winds(*layout.transform(state[:2]))
        depth, ground = state[2], self.ground(layout.grid)
        energy = depth * (east**2 + north**2 + depth) / 2 + depth * ground
        enstrophy = (state[0] + self.coriolis(layout.grid)) ** 2 / (2 * depth)
        return layout.grid.integral(jnp.stack([depth, energy, enstrophy])) / layout.grid.volume

    def judged_states(self, states: Array, grid: Grid) -> Array:
        """Not there: the interpolation between points knows boxes alone."""
        raise ValueError("states on a sphere do not become fields: give the residual a function")

    def residual(self, field: Field, point: Float[Array, " 3"]) -> Float[Array, "3"]:
        """Of a field that gives (u, v, p), east and north wind: the equations of both winds and of
        the geopotential.

        **Raises** ValueError with diffusion, which is one of vorticity and divergence."""
        self.check_field(field)
        if self.viscosity is not None or self.hyper_diffusivity is not None:
            raise ValueError("the residual has no diffusion: viscosity must be None")
        position, snapshot = point[:-1], at_time(field, point[-1])
        cos, tan = jnp.cos(position[0]), jnp.tan(position[0])
        east, north, depth = snapshot(position)
        slopes = gradient(snapshot)(position) / jnp.stack([self.radius, self.radius * cos])
        spin = 2 * self.rotation * turned_sine(tuple(position), self.tilt)
        spin = spin + east * tan / self.radius
        heights = slopes[2]
        if self.terrain is not None:
            scale = jnp.stack([self.radius, self.radius * cos])
            heights = heights + gradient(self.terrain)(position) / scale
        divergence = slopes[0, 1] + slopes[1, 0] - north * tan / self.radius
        forces = jnp.stack(
            [heights[1] - spin * north, heights[0] + spin * east, depth * divergence]
        )  # fmt: skip
        return time_derivative(field)(point) + slopes @ jnp.stack([north, east]) + forces


def turned_sine(point: tuple[Array, ...], tilt: Array | float) -> Array:
    """The sine of the latitude about the tilted axis."""
    north, east = point
    return jnp.sin(north) * jnp.cos(tilt) - jnp.cos(east) * jnp.cos(north) * jnp.sin(tilt)


def _damping(
    equation: BarotropicVorticity | ShallowWater, layout: SphericalHarmonics
) -> Float[Array, " degrees"]:
    """The rate at which diffusion takes each degree."""
    rate = 0 * layout.k_squared
    if equation.viscosity is not None:
        rate = rate + equation.viscosity * layout.k_squared
    if equation.hyper_diffusivity is not None:
        rate = rate + equation.hyper_diffusivity * layout.k_squared**equation.order
    return rate


def _laplacian(scalar: Callable[[Array], Array], radius: float) -> Callable[[Array], Array]:
    """The Laplacian of a function of (latitude, longitude)."""

    def value(at: Array) -> Array:
        first, second = gradient(scalar)(at), gradient(gradient(scalar))(at)
        cos = jnp.cos(at[0])
        total = second[0, 0] - jnp.tan(at[0]) * first[0] + second[1, 1] / cos**2
        return total / radius**2

    return value


def _check_diffusion(equation: BarotropicVorticity | ShallowWater) -> None:
    for name in ("viscosity", "hyper_diffusivity"):
        if getattr(equation, name) is not None:
            checks.non_negative(name, getattr(equation, name))
    checks.count("order", equation.order)
    checks.positive("radius", equation.radius)


def _check_sphere(grid: Grid, radius: float) -> None:
    if not isinstance(grid, Sphere):
        raise ValueError(f"the equation lives on a Sphere, got {type(grid).__name__}")
    if grid.radius != radius:
        raise ValueError(
            f"the grid must have the radius of the equation, {radius:g}, got {grid.radius:g}"
        )
