"""A solver that lacks a term: the flow by its energy, and a run of three draws."""

import jax.numpy as jnp
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.discrepancy import EXPERIMENT, Config, Friction, WithTerm
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
