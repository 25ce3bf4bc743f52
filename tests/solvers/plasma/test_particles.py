"""Particles in cells: shapes, what is kept, the rates of streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import BSpline
from scipy.stats import norm

from jaxpbdl.grids import Periodic
from jaxpbdl.rollouts import repeat, rollout
from jaxpbdl.solvers.plasma import (
    Electrons,
    Spline,
    cloud_in_cell,
    growth_rate,
    nearest_point,
    particle_in_cell,
    quiet_beam,
    triangular_cloud,
)

pytestmark = pytest.mark.x64


def two_streams(drift, count, length, size):
    beams = [quiet_beam(count, length, u) for u in (drift, -drift)]
    positions = jnp.concatenate([x for x, _ in beams])
    k = 2 * np.pi / length
    return positions + size / k * jnp.sin(k * positions), jnp.concatenate([v for _, v in beams])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_shapes_are_splines(degree):
    """At each point that a particle covers, the B-spline centred at the particle."""
    places = jnp.asarray(np.random.default_rng(0).uniform(0, 10, 50))
    nodes, shares = Spline(degree)(places)
    spline = BSpline.basis_element(np.arange(degree + 2) - (degree + 1) / 2, extrapolate=False)
    np.testing.assert_allclose(shares, spline(np.asarray(nodes - places)), atol=1e-14)
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-14)
    if degree:  # the centre of the cloud is the particle
        np.testing.assert_allclose(jnp.sum(shares * nodes, 0), places, atol=1e-13)


def test_named_shapes():
    assert [one.degree for one in (nearest_point, cloud_in_cell, triangular_cloud)] == [0, 1, 2]


def test_a_quiet_beam():
    positions, velocities = quiet_beam(1000, 5.0, drift=2.0, width=0.5)
    np.testing.assert_allclose(np.diff(positions), 5e-3, rtol=1e-9)
    sorted_levels = norm.cdf(np.sort((np.asarray(velocities) - 2) / 0.5))
    np.testing.assert_allclose(sorted_levels, np.arange(1, 1001) / 1001, atol=3e-3)
    # Evenly mixed: each hundred neighbours have the mean and the width of all.
    parts = np.asarray(velocities).reshape(10, 100)
    np.testing.assert_allclose(parts.mean(1), 2.0, atol=0.03)
    np.testing.assert_allclose(parts.std(1), 0.5, atol=0.03)


def test_the_field_of_displaced_electrons():
    """Electrons displaced by s sin(k x) leave E = s sin(k x); the density is one on average."""
    length, size = 4.0, 1e-3
    k = 2 * np.pi / length
    even, _ = quiet_beam(4000, length)
    step = particle_in_cell(Periodic(64, length), 0.1)
    state = step.start(even + size * jnp.sin(k * even), jnp.zeros(4000))
    x = step.grid.lines[0]
    np.testing.assert_allclose(state.electric, size * np.sin(k * x), atol=0.01 * size)
    assert float(jnp.mean(step.density(state))) == pytest.approx(1.0, abs=1e-12)


def test_a_plasma_oscillates():
    """At rest and displaced, it oscillates at the plasma frequency, between field and motion."""
    length, size = 4.0, 1e-3
    even, _ = quiet_beam(640, length)
    step = particle_in_cell(Periodic(32, length), 2 * np.pi / 100)
    state = step.start(even + size * jnp.sin(2 * np.pi / length * even), jnp.zeros(640))
    half = jax.jit(repeat(step, 50))(state)
    np.testing.assert_allclose(half.electric, -state.electric, atol=0.01 * size)
    quarter = jax.jit(repeat(step, 25))(state)
    np.testing.assert_allclose(quarter.electric, 0, atol=0.02 * size)
    expected = -size * np.sin(2 * np.pi / length * np.asarray(even))
    np.testing.assert_allclose(quarter.velocities, expected, atol=0.02 * size)


@pytest.mark.parametrize("cloud", [cloud_in_cell, triangular_cloud])
def test_cold_streams(cloud):
    """The largest growth is 1 / sqrt(8). Momentum is kept to rounding, energy while the field is
    small beside the motion."""
    k = 0.375**0.5
    step = particle_in_cell(Periodic(32, 2 * np.pi / k), 0.1, cloud)
    state = step.start(*two_streams(1.0, 500, 2 * np.pi / k, 1e-5))

    def observe(state):
        mode = jnp.fft.fft(state.electric)[1]
        return mode, step.momentum(state), step.energy(state)

    mode, momentum, energy = rollout(step, state, 220, observe=observe)
    assert float(growth_rate(mode[120:], 0.1)) == pytest.approx(8**-0.5, rel=0.01)
    assert float(jnp.max(jnp.abs(momentum))) < 1e-12
    np.testing.assert_allclose(energy, energy[0], rtol=1e-4)


def test_derivative_and_batch():
    k = 0.375**0.5
    step = particle_in_cell(Periodic(16, 2 * np.pi / k), 0.2)

    def rate(drift):
        state = step.start(*two_streams(drift, 50, 2 * np.pi / k, 1e-4))
        series = rollout(step, state, 60, observe=lambda state: jnp.fft.fft(state.electric)[1])
        return growth_rate(series[30:], 0.2)

    value = jax.jit(rate)
    slope = jax.jit(jax.grad(rate))(1.2)
    difference = float(value(1.20001) - value(1.19999)) / 2e-5
    assert float(slope) == pytest.approx(difference, rel=1e-4)
    many = jax.jit(jax.vmap(rate))(jnp.array([0.8, 1.2]))
    np.testing.assert_allclose(many, [value(0.8), value(1.2)], rtol=1e-8)


def test_jit_and_eager_agree_and_time_turns_back():
    step = particle_in_cell(Periodic(16, 5.0), 0.2)
    x, v = quiet_beam(200, 5.0, 0.3, 0.5)
    state = step.start(x + 0.1 * jnp.sin(2 * np.pi * x / 5), v)
    after = step(state)
    for one, other in zip(after, jax.jit(step)(state), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)
    back = step(after._replace(velocities=-after.velocities))
    np.testing.assert_allclose(back.velocities, -state.velocities, atol=1e-12)
    np.testing.assert_allclose(back.electric, state.electric, atol=1e-12)


def test_bad_input():
    step = particle_in_cell(Periodic(16, 5.0), 0.2)
    with pytest.raises(ValueError, match="grid must have one axis, got 2"):
        particle_in_cell(Periodic((4, 4)), 0.1)
    with pytest.raises(ValueError, match=r"velocities must have shape \(20,\), got \(19,\)"):
        step.start(jnp.zeros(20), jnp.zeros(19))
    with pytest.raises(ValueError, match="at least 16 particles, one for each point"):
        step.start(jnp.zeros(3), jnp.zeros(3))
    state = step.start(*quiet_beam(20, 5.0))
    with pytest.raises(ValueError, match="positions must be finite"):
        step(Electrons(state.positions * np.nan, *state[1:]))
    with pytest.raises(ValueError, match="dt = 3 is above the stability limit"):
        particle_in_cell(step.grid, 3.0)(state)
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        quiet_beam(0, 1.0)
    with pytest.raises(ValueError, match="length must be finite and > 0, got 0"):
        quiet_beam(5, 0.0)
