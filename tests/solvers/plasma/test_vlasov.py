"""Vlasov-Poisson on a grid: what is kept, rates of known plasmas, derivatives, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.grids import Periodic
from jaxpbdl.rollouts import repeat, rollout
from jaxpbdl.solvers.plasma import (
    HollowMaxwellian,
    Maxwellians,
    growth_rate,
    velocity_grid,
    vlasov_poisson,
    wave_frequencies,
)
from jaxpbdl.solvers.time import leapfrog, yoshida

pytestmark = pytest.mark.x64


def perturbed(distribution, k, size):
    return lambda point: (1 + size * jnp.cos(k * point[0])) * distribution(point[1])


def field_mode(step, state):
    return jnp.fft.fft(step.field(state)[0])[1] / step.grid.shape[0]


def test_free_motion_is_exact():
    """Without a field, f(x, v, t) = f(x - v t, v): a plasma so thin that it has none."""
    k, thin = 0.5, 1e-9
    grid = velocity_grid((8, 64), (2 * np.pi / k,), 6.0)
    step = vlasov_poisson(grid, 0.7)
    state = thin * step.start(perturbed(Maxwellians(), k, 0.5))
    x, v = grid.coordinates
    moved = (
        thin
        * (1 + 0.5 * jnp.cos(k * (x - 0.7 * v)))
        * jax.vmap(Maxwellians())(v.ravel())[:].reshape(v.shape)
    )
    np.testing.assert_allclose(step(state), moved, atol=1e-8 * thin)


def test_the_field_of_a_wave():
    """n = 1 + a cos(k x): E = -a sin(k x) / k, the energy of it a^2 L / (4 k^2)."""
    k, size = 0.5, 0.1
    grid = velocity_grid((16, 64), (2 * np.pi / k,), 7.0)
    step = vlasov_poisson(grid, 0.1)
    state = step.start(perturbed(Maxwellians(), k, size))
    x = grid.lines[0]
    np.testing.assert_allclose(step.field(state)[0], -size / k * np.sin(k * x), atol=1e-10)
    length = grid.lengths[0]
    assert step.mass(state) == pytest.approx(length, rel=1e-10)
    expected = length / 2 + size**2 * length / (4 * k**2)
    assert step.energy(state) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scheme, order", [(leapfrog, 2), (yoshida, 4)])
def test_the_order_in_time(scheme, order):
    grid = velocity_grid((16, 32), (4 * np.pi,), 6.0)
    state = vlasov_poisson(grid, 0.1).start(perturbed(Maxwellians(), 0.5, 0.05))

    def after(steps):
        return jax.jit(repeat(vlasov_poisson(grid, 1.6 / steps, scheme), steps))(state)

    exact = after(64)
    errors = [float(jnp.max(jnp.abs(after(n) - exact))) for n in (4, 8)]
    assert order - 0.4 < np.log2(errors[0] / errors[1]) < order + 0.7


@pytest.mark.parametrize("k, expected", [(0.5, 1.415662 - 0.153359j), (0.4, 1.285057 - 0.066128j)])
def test_landau_damping(k, expected):
    grid = velocity_grid((4, 64), (2 * np.pi / k,), 6.0)
    step = vlasov_poisson(grid, 0.1, yoshida)
    state = step.start(perturbed(Maxwellians(), k, 1e-5))
    step.check_duration(25)
    series = rollout(step, state, 250, observe=lambda state: field_mode(step, state))
    found = wave_frequencies(np.imag(series)[125:], 0.1, 2)[0]
    assert abs(found.real / expected.real - 1) < 1e-3
    assert abs(found.imag / expected.imag - 1) < 1e-3


def two_streams(drift, steps=80, observed=field_mode):
    """Rate of growth of the mode of the field of two warm streams."""
    grid = velocity_grid((4, 64), (2 * np.pi / 0.2,), 10.0)
    step = vlasov_poisson(grid, 0.25)
    both = Maxwellians(0.5, jnp.stack([drift, -drift]), 1.0)
    start = repeat(step, 80)(step.start(perturbed(both, 0.2, 1e-8)))
    series = rollout(step, start, steps, observe=lambda state: observed(step, state))
    return growth_rate(series, 0.25)


def test_streams_grow_and_the_rate_has_a_derivative():
    rate = jax.jit(two_streams)
    value, slope = jax.jit(jax.value_and_grad(two_streams))(3.0)
    assert float(rate(3.0)) == pytest.approx(0.284510, rel=4e-3)
    assert float(value) == pytest.approx(float(rate(3.0)), rel=1e-10)
    difference = (rate(3.001) - rate(2.999)) / 2e-3
    assert float(slope) == pytest.approx(float(difference), rel=1e-5)
    many = jax.jit(jax.vmap(two_streams))(jnp.array([2.4, 3.0]))
    np.testing.assert_allclose(many, [rate(2.4), rate(3.0)], rtol=1e-8)
    assert float(many[0]) == pytest.approx(0.225844, rel=8e-3)


def conserved(step, state):
    """Changes of mass and energy in fifty plasma periods, relative, and the growth of the field."""
    steps = int(np.ceil(50 * 2 * np.pi / float(step.dt) / 10)) * 10
    kept = rollout(
        step, state, steps, 10,
        observe=lambda one: (step.mass(one), step.energy(one), jnp.abs(field_mode(step, one))),
    )  # fmt: skip
    mass, energy, mode = (np.asarray(one) for one in kept)
    changes = (float(np.max(np.abs(one / one[0] - 1))) for one in (mass, energy))
    return *changes, float(mode.max() / mode[0])


def test_mass_and_energy_of_fifty_periods():
    grid = velocity_grid((8, 64), (4 * np.pi,), 6.0)
    step = vlasov_poisson(grid, 0.25, yoshida)
    mass, energy, _ = conserved(step, step.start(perturbed(Maxwellians(), 0.5, 0.02)))
    assert mass < 1e-12 and 1e-14 < energy < 1e-4


def test_mass_and_energy_of_trapped_electrons():
    """Two streams that grow by twenty and roll up."""
    grid = velocity_grid((32, 256), (4 * np.pi,), 7.0)
    step = vlasov_poisson(grid, 0.2, yoshida)
    mass, energy, growth = conserved(step, step.start(perturbed(HollowMaxwellian(), 0.5, 0.01)))
    assert growth > 20 and mass < 1e-12 and energy < 1e-4


def test_jit_and_eager_agree():
    grid = velocity_grid((8, 32), (4 * np.pi,), 6.0)
    step = vlasov_poisson(grid, 0.1)
    state = step.start(perturbed(Maxwellians(), 0.5, 0.1))
    np.testing.assert_allclose(jax.jit(step)(state), step(state), rtol=0, atol=1e-14)


def test_two_dimensions_hold_one():
    """f(x, vx) g(vy), uniform in y, moves as f alone; and so does the same with the axes
    exchanged."""
    one = vlasov_poisson(velocity_grid((6, 24), (4 * np.pi,), 6.0), 0.2)
    two = vlasov_poisson(velocity_grid((6, 4, 24, 20), (4 * np.pi, 3.0), 6.0), 0.2)
    turned = vlasov_poisson(velocity_grid((4, 6, 20, 24), (3.0, 4 * np.pi), 6.0), 0.2)
    line = one.start(perturbed(Maxwellians(), 0.5, 0.2))
    across = np.asarray(jax.vmap(Maxwellians())(two.grid.axes[3]))
    whole = two.start(line[:, None, :, None] * across * np.ones((1, 4, 1, 1)))
    expected = repeat(one, 5)(line)[:, None, :, None] * across * np.ones((1, 4, 1, 1))
    found = jax.jit(repeat(two, 5))(whole)
    assert float(jnp.max(jnp.abs(found - whole))) > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(
        jax.jit(repeat(turned, 5))(whole.transpose(1, 0, 3, 2)),
        expected.transpose(1, 0, 3, 2),
        atol=1e-12,
    )
    np.testing.assert_allclose(two.energy(whole), 3 * (one.energy(line) + 2 * np.pi), rtol=1e-6)


def test_what_was_damped_comes_back_and_is_refused():
    """At the recurrence time the mode is as large as at the start; just before it is nothing."""
    thin = 1e-9
    step = vlasov_poisson(velocity_grid((4, 20), (4 * np.pi,), 6.0), 0.3)
    time = step.recurrence_time
    assert time == pytest.approx(2 * np.pi / (0.5 * 12 / 20))
    state = thin * step.start(perturbed(Maxwellians(), 0.5, 0.5))
    once = vlasov_poisson(step.grid, time / 2)
    half = jax.jit(once)(state)
    whole = jax.jit(once)(half)
    size = [float(jnp.abs(field_mode(step, one))) for one in (state, half, whole)]
    assert size[1] < 1e-3 * size[0] and size[2] == pytest.approx(size[0], rel=1e-6)
    step.check_duration(20.9)
    with pytest.raises(ValueError, match=r"time must be below 20.94.* use more than 31 points"):
        step.check_duration(32.0)


def test_bad_input():
    grid = velocity_grid((4, 20), (4 * np.pi,), 6.0)
    step = vlasov_poisson(grid, 0.1)
    good = step.start(perturbed(Maxwellians(), 0.5, 0.1))
    with pytest.raises(ValueError, match="density must be >= 0 everywhere in phase space, got -0"):
        step.start(lambda point: (point[1] ** 2 - 0.1) * Maxwellians()(point[1]))
    with pytest.raises(ValueError, match="density of positions must be finite and > 0, got -"):
        step(-good)
    with pytest.raises(ValueError, match="density must vanish at the velocity -6"):
        step.start(perturbed(Maxwellians(widths=3.0), 0.5, 0.1))
    with pytest.raises(ValueError, match="is not resolved in velocity.* recurs after 20.94"):
        step.start(perturbed(Maxwellians(widths=0.3), 0.5, 0.1))
    with pytest.raises(ValueError, match="dt = 2.1 is above the stability limit"):
        vlasov_poisson(grid, 2.1)(good)
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        vlasov_poisson(grid, 0)
    with pytest.raises(ValueError, match="as many velocities as positions, got 3 axes"):
        vlasov_poisson(Periodic((4, 4, 4)), 0.1)
    with pytest.raises(ValueError, match="symmetric about zero, got 0.0 to 6.28"):
        vlasov_poisson(Periodic((4, 4)), 0.1)
    with pytest.raises(ValueError, match="points must have 4 entries"):
        velocity_grid((4, 4), (1.0, 1.0), 6.0)
    with pytest.raises(ValueError, match="state must have shape"):
        step(good[:2])
