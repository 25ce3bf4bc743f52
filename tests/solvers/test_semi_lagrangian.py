"""Values carried along the velocity, and the diffusion before that: against exact answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.spectral.semi_lagrangian import advect

pytestmark = pytest.mark.x64


def test_values_are_carried_by_multilinear_interpolation():
    """By whole cells exactly, by parts of them as the mean of the corners."""
    grid = jp.grids.Periodic((5, 4), (10.0, 2.0))
    values = jax.random.normal(jax.random.key(0), (3, 5, 4))
    along = jnp.array([4.0, -0.5])[:, None, None] * jnp.ones((2, 5, 4))
    whole = advect(values, along, grid, 1.0)  # two cells on, one back
    np.testing.assert_allclose(whole, jnp.roll(values, (2, -1), (1, 2)), atol=1e-12)
    parts = advect(values, along, grid, 0.25)  # half a cell on, a quarter back
    half = (values + jnp.roll(values, 1, 1)) / 2
    np.testing.assert_allclose(parts, 0.75 * half + 0.25 * jnp.roll(half, -1, 2), atol=1e-12)


def test_diffusion_of_a_small_wave():
    """What hardly moves decays as the second-order stencil says, along both axes."""
    grid, viscosity, dt = jp.grids.Periodic((8, 6), (2.0, 3.0)), 0.05, 0.1
    step = jp.solvers.spectral.semi_lagrangian(jp.equations.Burgers(viscosity, ndim=2), grid, dt)
    x, y = np.meshgrid(np.arange(8) / 8, np.arange(6) / 6, indexing="ij")
    wave = 1e-9 * jnp.stack([jnp.sin(2 * jnp.pi * (x + y)), jnp.cos(2 * np.pi * (x - 2 * y))])
    rate = [(2 - 2 * np.cos(2 * np.pi * k / n)) / h**2 for k, n, h in
            ((1, 8, 0.25), (1, 6, 0.5), (2, 6, 0.5))]  # fmt: skip
    kept = 1 - dt * viscosity * np.array([rate[0] + rate[1], rate[0] + rate[2]])
    np.testing.assert_allclose(step(wave), kept[:, None, None] * wave, atol=1e-16)
    assert float(step.largest_dt(wave)) == pytest.approx(1 / (2 * viscosity * (16 + 4)))


def test_first_order_on_a_wave_that_steepens():
    """Against the spectral step, and refused above the limit of the diffusion."""
    burgers = jp.equations.Burgers(0.05)

    def error(points):
        grid = jp.grids.Periodic(points, 2 * jnp.pi)
        start, dt = jnp.sin(grid.points[..., 0]), 0.4 / points
        steps = round(0.8 / dt)
        plain = jp.solvers.spectral.semi_lagrangian(burgers, grid, dt)
        exact = jp.solvers.spectral.semilinear(burgers, grid, dt)
        found, known = (jp.rollout(step, start, steps)[-1] for step in (plain, exact))
        return float(jnp.max(jnp.abs(found - known)))

    assert 1.7 < error(32) / error(64) < 2.4
    grid = jp.grids.Periodic(32, 2 * jnp.pi)
    with pytest.raises(ValueError, match="dt"):
        jp.solvers.spectral.semi_lagrangian(burgers, grid, 1.0)
