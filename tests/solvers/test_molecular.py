"""Molecular dynamics: order, reversibility, symplecticity, energy, temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers.molecular import (
    ACCELERATION,
    BOLTZMANN,
    Phase,
    kinetic_energy,
    langevin,
    stable_dt,
    temperature,
    thermal,
    verlet,
)

pytestmark = pytest.mark.x64
MASSES = np.array([1.008, 15.999, 12.011])
SPRING = 30.0
"""eV/Angstrom^2, about that of a bond."""


def bonds(positions):
    """Morse bonds between three atoms, eV."""
    apart = positions[jnp.array([0, 0, 1])] - positions[jnp.array([1, 2, 2])]
    stretch = jnp.sqrt(jnp.sum(apart**2, -1)) - jnp.array([1.0, 1.1, 1.4])
    return jnp.sum(4.0 * (1 - jnp.exp(-1.9 * stretch)) ** 2)


def wells(positions):
    return 0.5 * SPRING * jnp.sum(positions**2)


def triangle(heat=300.0):
    places = jnp.array([[0.0, 0, 0], [1.02, 0, 0], [0.1, 1.08, 0.05]])
    return thermal(jax.random.key(1), places, MASSES, heat)


def end(step, state, steps):
    return jax.tree.map(lambda snapshots: snapshots[-1], jp.rollout(step, state, steps, steps))


def total(state):
    return bonds(state.positions) + kinetic_energy(MASSES, state.velocities)


def test_second_order():
    state, time = triangle(), 8.0
    exact = end(verlet(bonds, MASSES, time / 1280), state, 1280)
    errors = [
        float(jnp.abs(end(verlet(bonds, MASSES, time / n), state, n).positions - exact[0]).max())
        for n in (40, 80)
    ]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2, atol=0.05)


def test_units():
    """The period of a spring: 2 pi sqrt(m / k), in SI units."""
    joule, metre, kilogram = 1.602176634e-19, 1e-10, 1.66053906660e-27
    period = 2e15 * np.pi * np.sqrt(12.011 * kilogram / (SPRING * joule / metre**2))
    state = Phase(jnp.array([[0.1, 0.0, 0.0]]), jnp.zeros((1, 3)))
    back = end(verlet(wells, MASSES[2:], period / 1000), state, 1000)
    np.testing.assert_allclose(back.positions[0, 0], 0.1, rtol=1e-4)
    np.testing.assert_allclose(back.velocities[0, 0], 0, atol=1e-5)


def test_reversible():
    step, state = verlet(bonds, MASSES, 0.5), triangle()
    there = end(step, state, 200)
    assert float(jnp.abs(there.positions - state.positions).max()) > 0.01
    back = end(step, there._replace(velocities=-there.velocities), 200)
    np.testing.assert_allclose(back.positions, state.positions, atol=1e-10)
    np.testing.assert_allclose(-back.velocities, state.velocities, atol=1e-11)


def test_energy_does_not_drift():
    step, state = verlet(bonds, MASSES, 0.4), triangle(600.0)
    energies = jax.vmap(total)(jp.rollout(step, state, 20_000, 4))
    early, late = energies[:1000].mean(), energies[-1000:].mean()
    swing = energies[:1000].std()
    assert abs(late - early) < 0.05 * swing < 0.01
    assert float(jnp.abs(energies - early).max()) < 8 * swing


def test_momentum_is_kept():
    state = triangle()
    momentum = jnp.sum(MASSES[:, None] * state.velocities, 0)
    np.testing.assert_allclose(momentum, 0, atol=1e-15)
    later = end(verlet(bonds, MASSES, 0.5), state, 100)
    np.testing.assert_allclose(jnp.sum(MASSES[:, None] * later.velocities, 0), 0, atol=1e-13)


def test_symplectic():
    step, state = verlet(bonds, MASSES, 1.0), triangle()
    weights = jnp.repeat(MASSES, 3)

    def flow(point):  # positions and momenta
        x, p = point[:9], point[9:]
        ahead = step.leave(
            step.advance(step.enter(Phase(x.reshape(3, 3), (p / weights).reshape(3, 3))))
        )
        return jnp.concatenate([ahead.positions.ravel(), weights * ahead.velocities.ravel()])

    start = jnp.concatenate([state.positions.ravel(), weights * state.velocities.ravel()])
    slope = jax.jit(jax.jacobian(flow))(start)
    form = jnp.block([[jnp.zeros((9, 9)), jnp.eye(9)], [-jnp.eye(9), jnp.zeros((9, 9))]])
    np.testing.assert_allclose(slope.T @ form @ slope, form, atol=1e-10)


def test_phase_of_a_spring():
    """Velocity Verlet turns by exactly 2 arcsin(omega dt / 2) a step."""
    omega, dt = float(jnp.sqrt(SPRING * ACCELERATION / 12.011)), 3.0
    state = Phase(jnp.array([[0.1, 0.0, 0.0]]), jnp.zeros((1, 3)))
    snapshots = jp.rollout(verlet(wells, MASSES[2:], dt), state, 40)
    angles = 2 * np.arcsin(omega * dt / 2) * np.arange(41)
    np.testing.assert_allclose(snapshots.positions[:, 0, 0], 0.1 * np.cos(angles), atol=1e-12)


def test_a_bath_has_its_temperature():
    """On a thousand springs of three: positions exactly, velocities but for (omega dt)^2 / 4."""
    masses, heat, dt = np.full(1000, 12.011), 400.0, 3.0
    step = langevin(wells, masses, dt, friction=0.05, temperature=heat)
    state = thermal(jax.random.key(0), jnp.zeros((1000, 3)), masses, 50.0)
    snapshots = jp.rollout(step, state, 1500, 30)
    later = jax.tree.map(lambda leaf: leaf[10:], snapshots)
    found = SPRING * jnp.mean(later.positions**2) / BOLTZMANN
    assert float(found) == pytest.approx(heat, rel=0.02)
    omega = float(jnp.sqrt(SPRING * ACCELERATION / 12.011))
    moving = jnp.mean(jax.vmap(lambda v: temperature(masses, v))(later.velocities))
    assert float(moving) == pytest.approx(heat * (1 - (omega * dt) ** 2 / 4), rel=0.02)
    assert (omega * dt) ** 2 / 4 > 0.04  # so that the two can be told apart


def test_without_friction_it_is_verlet():
    state = triangle()
    bath = end(langevin(bonds, MASSES, 0.5, friction=0.0, temperature=300.0), state, 50)
    alone = end(verlet(bonds, MASSES, 0.5), state, 50)
    np.testing.assert_allclose(bath.positions, alone.positions, atol=1e-11)


def test_trajectories_side_by_side():
    step = langevin(bonds, MASSES, 0.5, friction=0.01, temperature=300.0)
    places = triangle().positions
    states = jax.vmap(lambda key: thermal(key, places, MASSES, 300.0))(
        jax.random.split(jax.random.key(0), 3)
    )
    many = jax.jit(jax.vmap(lambda state: jp.rollout(step, state, 20, 20)))(states)
    one = jp.rollout(step, jax.tree.map(lambda leaf: leaf[1], states), 20, 20)
    np.testing.assert_allclose(many.positions[1], one.positions, atol=1e-12)
    assert not np.allclose(many.positions[0, -1], many.positions[1, -1])


@pytest.mark.parametrize("make", ["threefry2x32", "rbg", "raw"])
def test_any_key_drives_a_bath(make):
    key = jax.random.PRNGKey(3) if make == "raw" else jax.random.key(3, impl=make)
    state = thermal(key, triangle().positions, MASSES, 300.0)
    step = langevin(bonds, MASSES, 0.5, friction=0.01, temperature=300.0)
    snapshots = jp.rollout(step, state, 4, 2)
    assert snapshots.key.dtype == key.dtype and len(snapshots.key) == 3
    once = step(jax.tree.map(lambda leaf: leaf[0], snapshots))
    assert not np.allclose(once.velocities, verlet(bonds, MASSES, 0.5)(state).velocities)


@pytest.mark.parametrize("bath", [False, True])
def test_fault_15_single_precision_stays_where_double_is_on(bath):
    state = thermal(jax.random.key(1), jnp.float32(triangle().positions), MASSES, 300.0)
    step = langevin(bonds, MASSES, 0.5, 0.1, 300.0) if bath else verlet(bonds, MASSES, 0.5)
    snapshots = jp.rollout(step, state, 4)
    assert snapshots.positions.dtype == snapshots.velocities.dtype == np.float32
    if not bath:
        double = jax.tree.map(lambda leaf: leaf.astype(float), state._replace(key=None))
        expected = jp.rollout(step, double, 4).positions
        np.testing.assert_allclose(snapshots.positions, expected, atol=1e-5)
    with pytest.raises(ValueError, match="velocities must have the dtype float32 of positions"):
        step(state._replace(velocities=state.velocities.astype(float)))


def test_gradient_through_a_trajectory():
    """To a spring: against a difference."""
    state = Phase(jnp.array([[0.1, 0.0, 0.0]]), jnp.zeros((1, 3)))

    def where(spring):
        step = verlet(lambda x: 0.5 * spring * jnp.sum(x**2), MASSES[2:], 1.0)
        return jp.rollout(step, state, 30, 30).positions[-1, 0, 0]

    slope = jax.grad(where)(30.0)
    assert float(slope) == pytest.approx(float(where(30.01) - where(29.99)) / 0.02, rel=1e-5)


def test_fault_11_a_dt_above_the_limit_is_refused():
    state = triangle()
    limit = float(stable_dt(wells, MASSES, state.positions))
    assert limit == pytest.approx(2 / np.sqrt(SPRING * ACCELERATION / 1.008), rel=1e-3)
    still = state._replace(velocities=0 * state.velocities)
    later = jp.rollout(verlet(wells, MASSES, 0.99 * limit), still, 300, 300)
    assert float(jnp.max(jnp.abs(later.positions))) < 20 * float(jnp.max(jnp.abs(state.positions)))
    with pytest.raises(ValueError, match="dt = 5.6 is above the stability .* dt <= 3.73"):
        jp.rollout(verlet(wells, MASSES, 5.6), state, 10)


def test_bad_input():
    state = triangle()
    with pytest.raises(ValueError, match="dt must be finite and > 0, got -1"):
        verlet(bonds, MASSES, -1.0)
    with pytest.raises(ValueError, match="masses must be finite and > 0"):
        verlet(bonds, jnp.zeros(3), 1.0)
    with pytest.raises(ValueError, match="temperature must be finite and >= 0"):
        langevin(bonds, MASSES, 1.0, 0.1, -300.0)
    with pytest.raises(ValueError, match=r"positions must have shape \(3, 3\)"):
        verlet(bonds, MASSES, 0.5)(Phase(jnp.zeros((2, 3)), jnp.zeros((2, 3))))
    with pytest.raises(ValueError, match="make it by thermal"):
        langevin(bonds, MASSES, 0.5, 0.1, 300.0)(Phase(state.positions, state.velocities))
