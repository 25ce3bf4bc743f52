"""Residuals on the sphere, of exact solutions and of fields that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import BarotropicVorticity, ShallowWater
from jaxpbdl.equations.sphere import EARTH_RADIUS, EARTH_ROTATION, turned_sine
from jaxpbdl.grids import Periodic, Sphere, SphericalHarmonics
from jaxpbdl.solvers.sphere.initial import GRAVITY, WAVE, wave_speed

pytestmark = pytest.mark.x64
POINTS = np.array([[0.3, 1.0, 5e4], [-0.9, 4.0, 1e5], [1.2, 5.5, 0.0]])


def wave(speed):
    """The stream function of the Rossby-Haurwitz wave at a speed."""

    def stream(point):
        north, east, time = point
        moving = jnp.cos(north) ** 4 * jnp.cos(4 * (east - speed * time))
        return EARTH_RADIUS**2 * WAVE * jnp.sin(north) * (moving - 1)

    return stream


def test_the_barotropic_wave_solves_its_equation_at_its_speed_alone():
    equation = BarotropicVorticity()

    @jax.jit
    def residuals(speed):
        return jax.vmap(lambda point: equation.residual(wave(speed), point))(jnp.asarray(POINTS))

    right, wrong = residuals(wave_speed()), residuals(0.99 * wave_speed())
    # A hundredth of the speed is a hundredth of 30 x 4 x speed x WAVE.
    assert np.max(np.abs(wrong)) > 1e-12
    assert np.max(np.abs(right)) < 1e-9 * np.max(np.abs(wrong))


def test_viscosity_takes_a_zonal_flow():
    """Of degree 2: psi decays at the rate 6 viscosity / radius^2."""
    rate = 6 * 1e5 / EARTH_RADIUS**2

    def stream(point):
        return 1e7 * (3 * jnp.sin(point[0]) ** 2 - 1) * jnp.exp(-rate * point[2])

    def largest(viscosity):
        equation = BarotropicVorticity(viscosity=viscosity)
        found = jax.jit(jax.vmap(lambda point: equation.residual(stream, point)))(POINTS)
        return float(jnp.max(jnp.abs(found)))

    assert largest(1e5) < 1e-9 * largest(1.1e5)


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_the_balanced_rotation_solves_shallow_water(tilt):
    """With a hill below, of which the depth is less."""
    speed = 38.6

    def hill(point):
        return 1e3 * jnp.cos(point[0]) ** 2 * jnp.cos(2 * point[1])

    def field(point):
        place = tuple(point[:2])
        sine = turned_sine(place, tilt)
        north, east = place
        u = speed * (
            jnp.cos(north) * jnp.cos(tilt) + jnp.cos(east) * jnp.sin(north) * jnp.sin(tilt)
        )
        v = -speed * jnp.sin(east) * jnp.sin(tilt)
        fall = (EARTH_RADIUS * EARTH_ROTATION * speed + speed**2 / 2) * sine**2
        return jnp.stack([u, v, 2.94e4 - fall])

    def largest(terrain, tilt):
        equation = ShallowWater(2.9e4, tilt=tilt, terrain=terrain)
        found = jax.jit(jax.vmap(lambda point: equation.residual(field, point)))(POINTS)
        return np.abs(found).max(0)

    right = largest(None, tilt)
    assert right[0] < 1e-15 and right[1] < 1e-15 and right[2] < 1e-12
    assert largest(None, tilt + 0.1)[1] > 1e-4
    north, east, _ = POINTS.T
    by_longitude = 2e3 * np.cos(north) * np.sin(2 * east) / EARTH_RADIUS
    by_latitude = 1e3 * np.sin(2 * north) * np.cos(2 * east) / EARTH_RADIUS
    known = [np.abs(by_longitude).max(), np.abs(by_latitude).max()]
    np.testing.assert_allclose(largest(hill, tilt)[:2], known, rtol=1e-9)


def test_how_fast_things_are_carried():
    """By a rotation of the air at the speed U, and by the waves of what is deeper by d than the
    mean p: (U + d / sqrt(p)) k + 2 rotation."""
    grid = Sphere((16, 32), EARTH_RADIUS)
    spectrum, north = SphericalHarmonics(grid, 10), grid.coordinates[0]
    speed, deeper, mean = 30.0, 900.0, 4e4
    swirl = 2 * speed / EARTH_RADIUS * jnp.sin(north)
    state = jnp.stack([swirl, 0 * swirl, mean + deeper * jnp.sin(north) ** 2])
    rate = ShallowWater(mean, rotation=1e-5).transport_rate(state, spectrum)
    fastest = float(jnp.max(jnp.cos(north)))
    deepest = float(jnp.max(jnp.sin(north) ** 2))
    known = (speed * fastest + deeper * deepest / 200) * np.sqrt(spectrum.k_squared) + 2e-5
    np.testing.assert_allclose(rate, known, rtol=1e-10)
    still = BarotropicVorticity().transport_rate(swirl, spectrum)
    np.testing.assert_allclose(still, speed * fastest * np.sqrt(spectrum.k_squared), rtol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="mean_geopotential must be finite and > 0, got 0"):
        ShallowWater(0.0)
    with pytest.raises(ValueError, match="viscosity must be finite and >= 0, got -1"):
        BarotropicVorticity(viscosity=-1.0)
    with pytest.raises(ValueError, match="order must be an integer >= 1, got 0"):
        ShallowWater(GRAVITY, order=0)
    with pytest.raises(ValueError, match="radius must be finite and > 0"):
        BarotropicVorticity(radius=0.0)
    with pytest.raises(ValueError, match="lives on a Sphere, got Periodic"):
        BarotropicVorticity().check_grid(Periodic((4, 8)))
    with pytest.raises(ValueError, match=r"radius of the equation, 6.37122e\+06, got 1"):
        ShallowWater(GRAVITY).check_grid(Sphere((4, 8)))
    with pytest.raises(ValueError, match="hyper_diffusivity must be None"):
        BarotropicVorticity(hyper_diffusivity=1.0).residual(wave(0.0), jnp.asarray(POINTS[0]))
    with pytest.raises(ValueError, match="the residual has no diffusion"):
        ShallowWater(1.0, viscosity=1.0).residual(lambda p: p, jnp.asarray(POINTS[0]))
    with pytest.raises(ValueError, match="states on a sphere do not become fields"):
        BarotropicVorticity().judged_states(jnp.zeros((2, 4, 8)), Sphere((4, 8), EARTH_RADIUS))
