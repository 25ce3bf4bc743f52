"""Wakes on grids of any fineness: what they have in common are fluxes, and these balance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.wakes import data
from jaxpbdl.experiments.wakes.flow import (
    LENGTHS,
    Fluxes,
    Observer,
    Setting,
    cubic,
    family,
    flow_from,
    fluxes,
    sampled,
    stepped,
    stream_function,
    stream_of,
    viscosity_of,
    vorticity,
)
from jaxpbdl.learning import Varied

CELLS = (32, 16)
SETTING = Setting(CELLS)


@pytest.fixture(scope="module")
def coarse():
    return SETTING.solver(0.15)


@pytest.fixture(scope="module")
def fine():
    return SETTING.solver(0.075, 2)


@pytest.fixture(scope="module")
def state(fine):
    return fine.start(lambda x: jnp.stack([1 + 0.2 * jnp.sin(2 * x[1]), 0.1 * jnp.cos(x[0])]))


def test_the_viscosity_of_a_state_is_that_of_its_flow(coarse):
    start = coarse.start((1.0, 0.0))
    after = jax.jit(family(coarse))(Varied(start, jnp.asarray(0.02)))
    assert after.parameter == pytest.approx(0.02)
    own = eqx.tree_at(viscosity_of, coarse, jnp.asarray(0.02))(start)
    other = coarse(start)
    velocities = after.state.velocity, own.velocity, other.velocity
    for mine, expected, wrong in zip(*velocities, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
        assert jnp.max(jnp.abs(mine - wrong)) > 1e-3


def test_a_coarse_grid_takes_over_the_fluxes_of_a_fine_one(coarse, fine, state):
    """The volume through a coarse face is that through the two fine ones, and the flow made of it
    has no divergence, these fluxes, and the inflow."""
    through = [fraction * u for fraction, u in zip(fine.body.open, state.velocity, strict=True)]
    summed = Fluxes(
        through[0][::2].reshape(33, 16, 2).mean(2), through[1][:, ::2].reshape(32, 2, 17).mean(1)
    )
    stream = stream_function(fine, state.velocity)
    wanted = fluxes(sampled(stream, CELLS))
    for mine, expected in zip(wanted, summed, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-4)
    flow = flow_from(coarse, stream)
    assert jnp.max(jnp.abs(coarse.divergence(flow.velocity))) < 1e-5
    observed = Observer(coarse, CELLS)(Varied(flow, jnp.ones(())))
    for mine, expected in zip(observed, wanted, strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-3)
    assert flow.velocity[0][0].mean() == pytest.approx(1.0, rel=1e-3)
    assert jnp.std(flow.velocity[0]) > 0.1


def test_on_grids_that_do_not_share_corners_cubic_polynomials_are_exact():
    x, y = (np.linspace(0, 1, n + 1) for n in (12, 8))
    wanted = [np.linspace(0, 1, n + 1) for n in (18, 5)]

    def stream(x, y):
        return (x**3 - x)[:, None] * (1 + y - 2 * y**3)

    found = sampled(jnp.asarray(stream(x, y)), (18, 5))
    np.testing.assert_allclose(found, stream(*wanted), atol=1e-6)
    taken = cubic(8, 4)
    np.testing.assert_allclose(taken, np.eye(9)[::2], atol=1e-12)


def test_fluxes_of_a_stream_function_and_back():
    """A solid rotation by one: u = -y, v = x, vorticity 2."""
    x, y = (np.linspace(0, length, n + 1) for length, n in zip(LENGTHS, (40, 10), strict=True))
    stream = jnp.asarray(-(x[:, None] ** 2 + y**2) / 2)
    through = fluxes(stream - stream[:, :1] + 0 * stream)
    middle = (y[1:] + y[:-1]) / 2
    np.testing.assert_allclose(through.x, np.broadcast_to(-middle, (41, 10)), atol=1e-4)
    through = fluxes(stream)
    centre = (x[1:] + x[:-1]) / 2
    np.testing.assert_allclose(through.y, np.repeat(centre[:, None], 11, 1), atol=1e-3)
    np.testing.assert_allclose(vorticity(through), 2.0, atol=1e-3)
    level = stream - stream[:, :1]
    np.testing.assert_allclose(stream_of(through), level, atol=1e-4)


def test_the_distance_to_converged_of_second_order(monkeypatch):
    """Fluxes that are off by 0.36 / factor^2: 0.01 on the grid six times finer."""
    stream = jnp.arange(5.0) * jnp.ones((7, 1))
    monkeypatch.setattr(data, "_begun", lambda setting, factor, *_: (factor, None, 3))

    def run(factor, state, steps, count, cells):
        assert (steps, count, cells) == (3, 20, CELLS)
        return None, jnp.stack([stream * (1 + 0.36 / factor**2)] * count)

    monkeypatch.setattr(data, "_run", run)
    found = data.distance_to_converged(SETTING, stream, 100.0, 6, 8, 2.0)
    assert found == pytest.approx(0.01 / (1 + 0.36 / 64), rel=1e-3)


def test_steps_and_grids():
    assert stepped(0.1, 0.4, 1.0) == 4 and stepped(0.1, 0.41, 1.0) == 5
    assert stepped(0.1, 0.4, 0.5) == 8
    assert SETTING.solver(0.1, 1.5).grid.shape == (48, 24)
    with pytest.raises(ValueError, match=r"whole cells of \(32, 16\), got 1.2"):
        SETTING.solver(0.1, 1.2)
