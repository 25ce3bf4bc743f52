"""Flow on the sphere: exact solutions, balances, orders, invariants, gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.equations import BarotropicVorticity, ShallowWater
from jaxpbdl.equations.sphere import EARTH_RADIUS
from jaxpbdl.grids import Sphere, SphericalHarmonics, equiangular, sphere_for
from jaxpbdl.solvers.sphere import (
    barotropic_wave,
    mountain,
    on_sphere,
    shallow_water_wave,
    solid_rotation,
    unstable_jet,
)
from jaxpbdl.solvers.sphere.initial import DAY, GRAVITY, wave_speed
from jaxpbdl.solvers.time import etdrk2, etdrk4, imex

pytestmark = pytest.mark.x64


def earth(truncation, latitudes=equiangular):
    return SphericalHarmonics(sphere_for(truncation, EARTH_RADIUS, latitudes), truncation)


def gauss(truncation):
    return SphericalHarmonics(sphere_for(truncation, EARTH_RADIUS), truncation)


@eqx.filter_jit
def after(step, state, steps):
    """The state `steps` steps later; compiled once for each kind of step."""
    working = jax.lax.fori_loop(0, steps, lambda _, w: step.advance(w), step.enter(state))
    return step.leave(working)


def off(harmonics, found, known):
    """The L2 norm of the difference, relative."""
    integral = harmonics.grid.integral
    return float(jnp.sqrt(integral((found - known) ** 2) / integral(known**2)))


@pytest.mark.parametrize("scheme", [etdrk4, imex])
def test_solid_rotation_stays(scheme):
    """Case 2 at T21 over six hours; a grid turned against the rotation moves it at once."""
    harmonics = gauss(21)
    for tilt in (0.0, 0.05, np.pi / 2):
        equation, state = solid_rotation(harmonics, tilt)
        step = on_sphere(equation, harmonics, 600.0, scheme)
        found = after(step, state, 36)
        assert off(harmonics, found[2], state[2]) < 1e-13, tilt
        assert off(harmonics, found[0], state[0]) < 1e-12, tilt
    other, _ = solid_rotation(harmonics, np.pi / 2 - 0.01)
    moved = after(on_sphere(other, harmonics, 600.0, scheme), state, 36)
    assert off(harmonics, moved[2], state[2]) > 1e-4


def test_solid_rotation_on_latitudes_with_poles():
    harmonics = earth(10)
    equation, state = solid_rotation(harmonics, 0.5)
    found = after(on_sphere(equation, harmonics, 900.0), state, 24)
    assert off(harmonics, found[2], state[2]) < 1e-13


def test_the_barotropic_wave_moves_at_its_speed():
    """12.195 degrees a day, without a change of shape, over five days."""
    harmonics = gauss(21)
    equation, state = barotropic_wave(harmonics)
    found = after(on_sphere(equation, harmonics, 3600.0), state, 120)
    first, last = (harmonics.transform(each)[4, 5] for each in (state, found))
    turned = float(-jnp.angle(last / first)) / 4 % (np.pi / 2)
    expected = wave_speed() * 5 * DAY % (np.pi / 2)
    degrees = np.rad2deg(wave_speed()) * DAY
    assert degrees == pytest.approx(12.195, abs=5e-4)
    assert degrees + np.rad2deg(turned - expected) / 5 == pytest.approx(degrees, rel=1e-5)
    assert off(harmonics, found, barotropic_wave(harmonics, 5 * DAY)[1]) < 1e-5


def test_the_wave_of_shallow_water_starts_balanced():
    """Its depth is the one for which the divergence does not change at first."""
    harmonics = gauss(21)
    equation, state = shallow_water_wave(harmonics)

    def change(state):
        working = equation.enter(harmonics.transform(state), harmonics)
        slope = equation.symbol(harmonics) * working + equation.nonlinear(working, harmonics)
        return harmonics.to_grid(equation.leave(slope, harmonics))[1]

    flat = state.at[2].set(8000 * GRAVITY)
    assert float(jnp.max(jnp.abs(change(state)))) < 1e-9 * float(jnp.max(jnp.abs(change(flat))))


def test_a_gravity_wave_in_closed_form():
    """A small bump of degree 3 without rotation swings at sqrt(12 gravity depth) / radius, exactly
    at any dt; the divergence follows a quarter of a period behind."""
    harmonics = gauss(21)
    depth, small = 1e4, 1e-6
    rate = np.sqrt(12 * depth) / EARTH_RADIUS
    modes = jnp.zeros(harmonics.modes, complex).at[2, 3].set(small)
    bump = harmonics.to_grid(modes)
    equation = ShallowWater(depth, rotation=0.0)
    state = jnp.stack([0 * bump, 0 * bump, depth + bump])
    step = on_sphere(equation, harmonics, 4000.0)
    vorticity, divergence, found = after(step, state, 5)
    time = 5 * 4000.0
    np.testing.assert_allclose(found - depth, np.cos(rate * time) * bump, atol=1e-4 * small)
    expected = rate * np.sin(rate * time) / depth * bump
    np.testing.assert_allclose(divergence, expected, atol=1e-4 * rate * small / depth)
    assert float(jnp.max(jnp.abs(vorticity))) < 1e-4 * rate * small / depth


def test_water_at_rest_over_a_mountain_stays():
    """A level surface above the cone, which the truncation has rounded."""
    harmonics = gauss(21)
    equation, _ = mountain(harmonics)
    ground = harmonics.to_grid(harmonics.transform(equation.ground(harmonics.grid)))
    assert 1000 < float(jnp.max(ground)) / GRAVITY < 2000
    state = jnp.stack([0 * ground, 0 * ground, 5400 * GRAVITY - ground])
    step = on_sphere(equation, harmonics, 900.0)
    found = after(step, state, 20)
    assert off(harmonics, found[2], state[2]) < 1e-13
    assert float(jnp.max(jnp.abs(found[:2]))) < 1e-17
    tipped = after(step, state.at[2].add(2 * ground), 20)
    assert float(jnp.max(jnp.abs(tipped[1]))) > 1e-6


def test_diffusion_in_closed_form():
    """A zonal flow of degree 4 decays as exp(-(viscosity k^2 + hyper k^6) t), k^2 = 20 / a^2."""
    harmonics = gauss(21)
    square = 20 / EARTH_RADIUS**2
    modes = jnp.zeros(harmonics.modes, complex).at[0, 4].set(1e-5)
    state = harmonics.to_grid(modes)
    equation = BarotropicVorticity(viscosity=1e6, hyper_diffusivity=2e30, order=3)
    found = after(on_sphere(equation, harmonics, 3600.0), state, 12)
    decay = np.exp(-(1e6 * square + 2e30 * square**3) * 12 * 3600)
    assert 0.3 < decay < 0.99 and 2e30 * square**2 > 1e5
    np.testing.assert_allclose(found, decay * state, atol=1e-16)
    water = ShallowWater(1e4, rotation=0.0, viscosity=1e6, hyper_diffusivity=2e30, order=3)
    symbol = water.symbol(harmonics)[:, 0, 4]
    np.testing.assert_allclose(symbol.real, np.log(decay) / 12 / 3600, rtol=1e-12)


@pytest.mark.parametrize("scheme, order", [(etdrk4, 4), (imex, 2)])
def test_orders_in_time(scheme, order):
    """Of the wave of case 6 at T21, over three hours, against small steps of the first scheme."""
    harmonics = gauss(21)
    equation, state = shallow_water_wave(harmonics)
    truth = after(on_sphere(equation, harmonics, 75.0), state, 144)[2]
    coarse, fine = (
        off(harmonics, after(on_sphere(equation, harmonics, dt, scheme), state, n)[2], truth)
        for dt, n in ((600.0, 18), (300.0, 36))
    )
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.35)


def test_invariants_over_a_mountain():
    """Mass to round-off, energy and potential enstrophy as well as time steps keep them; the
    surface stays between its first extrema, nearly."""
    harmonics = gauss(21)
    equation, state = mountain(harmonics)
    step = on_sphere(equation, harmonics, 1200.0)
    found = after(step, state, 72)
    before, later = (np.asarray(equation.invariants(each, harmonics)) for each in (state, found))
    drift = later / before - 1
    assert abs(drift[0]) < 1e-14 and abs(drift[1]) < 1e-7 and abs(drift[2]) < 1e-4
    ratio = before[1] / before[0] / GRAVITY
    assert 2500 < ratio < 3500  # of energy to mass: half the height of the surface, in metres
    assert off(harmonics, found[2], state[2]) > 1e-3


def test_the_start_of_the_jet():
    """Extrema of a solver in double precision: 9071.2 to 10158.2 m, -9.83e-5 to 1.124e-4 1/s."""
    harmonics = gauss(63)
    _, state = unstable_jet(harmonics)
    height = np.asarray(state[2]) / GRAVITY
    assert height.min() == pytest.approx(9071.2, abs=0.3)
    assert height.max() == pytest.approx(10158.2, abs=0.3)
    assert float(jnp.min(state[0])) == pytest.approx(-9.83e-5, rel=5e-3)
    assert float(jnp.max(state[0])) == pytest.approx(1.124e-4, rel=5e-3)
    mean = harmonics.grid.integral(unstable_jet(harmonics, bump=0.0)[1][2])
    assert float(mean) / harmonics.grid.volume / GRAVITY == pytest.approx(10000, rel=1e-12)


def test_members_gradients_and_eager_steps():
    """vmap is the loop, jit the eager step, and the gradient to the start a central difference."""
    harmonics = gauss(5)
    equation, state = shallow_water_wave(harmonics)
    step = on_sphere(equation, harmonics, 1800.0, etdrk2)
    both = jnp.stack([state, state.at[2].multiply(1.01)])
    compiled = jax.jit(step)
    alone = jnp.stack([compiled(each) for each in both])
    scales = jnp.array([1e-5, 1e-6, 1e4])[:, None, None]
    np.testing.assert_allclose(jax.jit(jax.vmap(step))(both) / scales, alone / scales, atol=1e-12)
    np.testing.assert_allclose(step(state) / scales, alone[0] / scales, atol=1e-12)
    probe = jax.random.normal(jax.random.key(0), state.shape) / scales

    @jax.jit
    def loss_and_slope(state):
        return jax.value_and_grad(lambda s: jnp.sum(probe * jp.repeat(step, 2)(s)))(state)

    direction = jax.random.normal(jax.random.key(1), state.shape) * scales
    slope = jnp.sum(loss_and_slope(state)[1] * direction)
    ahead, back = (loss_and_slope(state + sign * 1e-4 * direction)[0] for sign in (1, -1))
    np.testing.assert_allclose(slope, (ahead - back) / 2e-4, rtol=1e-6)


def test_an_input_is_a_rate():
    """A push on the geopotential's mean alone raises it by the push times dt."""
    harmonics = gauss(5)
    equation, state = shallow_water_wave(harmonics)
    step = on_sphere(equation, harmonics, 600.0, etdrk2)
    push = jnp.zeros_like(state).at[2].set(0.5)
    raised = jax.jit(step)(state, push)
    mean = harmonics.grid.integral(raised[2] - state[2]) / harmonics.grid.volume
    assert float(mean) == pytest.approx(300.0, rel=1e-9)


def test_bad_input():
    harmonics = gauss(21)
    equation, state = shallow_water_wave(harmonics)
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        on_sphere(equation, harmonics, 0.0)
    crowded = SphericalHarmonics(harmonics.grid, 25)
    with pytest.raises(ValueError, match="truncation must be at most 21 on 32 lat.* got 25"):
        on_sphere(equation, crowded, 600.0)
    with pytest.raises(ValueError, match="must have the radius of the equation"):
        on_sphere(equation, SphericalHarmonics(Sphere((8, 16))), 600.0)
    step = on_sphere(equation, harmonics, 2e4)
    with pytest.raises(ValueError, match=r"dt = 2e\+04 is above the stability limit"):
        jp.rollout(step, state, 1)
    with pytest.raises(ValueError, match=r"state must have shape \(3, 32, 64\)"):
        step(state[:2])
    with pytest.raises(ValueError, match="state must be finite"):
        step(state.at[0, 0, 0].set(jnp.nan))
    limit = float(step.largest_dt(state))
    assert bool(
        jnp.all(jnp.isfinite(after(on_sphere(equation, harmonics, 0.9 * limit), state, 60)))
    )
