"""A solver that lacks a term: the flow by its energy, and a run of three draws."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.discrepancy import (
    EXPERIMENT,
    Config,
    Friction,
    Nothing,
    WithTerm,
)
from jaxpbdl.grids import Periodic
from jaxpbdl.solvers.spectral import semilinear


@pytest.mark.x64
def test_the_energy_that_friction_and_viscosity_take():
    """d/dt <u^2>/2 = -viscosity <(du/dx)^2> - friction <|u|^3>."""
    grid, dt = Periodic(64), 1e-4
    u = jnp.sin(grid.coordinates[0]) + 0.3 * jnp.cos(2 * grid.coordinates[0])
    step = semilinear(WithTerm(Friction(jnp.array(0.7)), 0.05), grid, dt)
    ahead = step(step(u))
    rate = (jnp.mean(ahead**2) - jnp.mean(u**2)) / 2 / (2 * dt)
    middle = step(u)
    slope = jnp.cos(grid.coordinates[0]) - 0.6 * jnp.sin(2 * grid.coordinates[0])
    expected = -0.05 * jnp.mean(slope**2) - 0.7 * jnp.mean(jnp.abs(middle) ** 3)
    assert float(rate) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.x64
def test_the_rate_of_transport():
    """That of Burgers' equation: of the fastest point, whatever its sign, on the shortest wave."""
    grid = Periodic(16)
    step = semilinear(WithTerm(Nothing(), 0.05), grid, 1e-3)
    u = jnp.zeros(16).at[3].set(-3.0).at[5].set(2.0)
    rate = step.equation.transport_rate(u, step.spectrum)
    expected = Burgers(0.05).transport_rate(jnp.full(16, 3.0), step.spectrum)
    np.testing.assert_allclose(rate, expected, rtol=1e-12)
    assert float(rate.max()) == pytest.approx(3 * 7)


@pytest.mark.x64
def test_terms_of_known_velocities():
    u = jnp.asarray([-2.0, 0.5, 3.0])
    np.testing.assert_allclose(Friction(jnp.asarray(0.5))(u), [2, -0.125, -4.5])
    np.testing.assert_array_equal(Nothing()(u), 0)


def test_a_run_of_three_draws(tmp_path):
    config = Config(draws=3, cells=24, dt=0.05, steps=20, amplitudes=(3.0,))
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    assert found["without.factor"] > 1.5  # viscosity makes up for the friction
    assert found["with.forecast_error"] < 0.7 * found["without.forecast_error"]
    assert found["right.forecast_error"] < found["with.forecast_error"]
    assert found["with.coverage"] >= 2 / 3 > found["without.coverage"]
    assert (tmp_path / "discrepancy.png").exists()


def test_bad_settings():
    with pytest.raises(ValueError, match="steps must be a multiple of 5 .* got 51"):
        Config(steps=51)
