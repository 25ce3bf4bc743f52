"""Equations of motion from Lagrangians and Hamiltonians known in closed form, and of networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.learning import (
    AccelerationNetwork,
    HamiltonianNetwork,
    LagrangianNetwork,
    LearnedMotion,
    hamiltonian_rates,
    lagrangian_acceleration,
)
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import adams_bashforth, explicit
from jaxpbdl.trainable import trainable

pytestmark = pytest.mark.x64


def stirred(network):
    """The network with weights everywhere, also in layers that start at zero."""
    draw = np.random.default_rng(5)

    def moved(leaf):
        return jnp.asarray(np.asarray(leaf) + 0.2 * draw.normal(size=leaf.shape))

    return jax.tree.map(lambda x: moved(x) if eqx.is_array(x) else x, network)


def test_a_bead_on_a_turning_arm():
    """L = (r'^2 + r^2 phi'^2) / 2 - r: r'' = r phi'^2 - 1 + f_r, phi'' = (f_phi - 2 r r' phi') /
    r^2."""

    def lagrangian(q, v):
        return (v[0] ** 2 + q[0] ** 2 * v[1] ** 2) / 2 - q[0]

    q, v, force = jnp.array([2.0, 0.4]), jnp.array([0.3, 1.5]), jnp.array([0.7, -0.2])
    found = lagrangian_acceleration(lagrangian, q, v, force)
    expected = [2 * 1.5**2 - 1 + 0.7, (-0.2 - 2 * 2 * 0.3 * 1.5) / 4]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_hamilton_s_equations():
    """H = p^2 / (2 m) + k q^2 / 2: q' = p / m, p' = -k q - friction p / m."""
    found = hamiltonian_rates(
        lambda q, p: jnp.sum(p**2) / 4 + 1.5 * jnp.sum(q**2),
        jnp.array([0.5]),
        jnp.array([3.0]),
        0.1,
    )
    np.testing.assert_allclose(np.concatenate(found), [1.5, -1.5 - 0.15], rtol=1e-12)


@pytest.mark.parametrize("make, angles", [(HamiltonianNetwork, 1), (LagrangianNetwork, 2)])
def test_friction_alone_takes_energy(make, angles):
    """dE/dt = -friction v^2 for the Hamiltonian, -v R R^T v for the Lagrangian network."""
    network = stirred(make(angles, 6, speed=2.0, key=jax.random.key(0)))
    state = jnp.array([0.7, -0.4, 1.1, 0.8][: 2 * angles])
    q, v = jnp.split(state, 2)

    def energy(state):
        return network.energy(*jnp.split(state, 2))

    change = jax.jit(lambda x: jax.jvp(energy, (x,), (network(x),))[1])(state)
    if make is HamiltonianNetwork:
        speed = jax.grad(network.kinetic_energy)(v)
        expected = -jnp.exp(network.log_friction) * jnp.sum(speed**2)
    else:
        expected = -jnp.sum((network.resistance.T @ v) ** 2)
    assert float(change) == pytest.approx(float(expected), rel=1e-9) and float(change) < -1e-3


def test_a_network_knows_full_turns():
    for make in (AccelerationNetwork, LagrangianNetwork):
        network = stirred(make(2, 5, speed=3.0, key=jax.random.key(1)))
        state = jnp.array([0.3, 2.0, -1.0, 4.0])
        turned = state.at[:2].add(2 * np.pi * jnp.array([1.0, -2.0]))
        rates = eqx.filter_jit(network)
        np.testing.assert_allclose(rates(turned), rates(state), rtol=1e-9)
        np.testing.assert_array_equal(rates(state)[:2], state[2:])


def test_the_mass_is_symmetric_and_positive():
    network = stirred(LagrangianNetwork(3, 5, key=jax.random.key(2)))
    mass = np.asarray(eqx.filter_jit(network.mass)(jnp.array([0.1, 2.0, -1.0])))
    np.testing.assert_allclose(mass, mass.T, rtol=1e-12)
    assert float(np.linalg.eigvalsh(mass)[0]) > 0.09


def test_the_step_is_that_of_its_rates_and_trains_them_alone():
    network = stirred(AccelerationNetwork(1, 4, key=jax.random.key(3)))
    step = LearnedMotion(network, 0.1)
    start = jnp.array([0.5, 1.0])
    expected = rollout(explicit(network, 0.1), start, 5)
    np.testing.assert_allclose(rollout(step, start, 5), expected, rtol=1e-12)
    marks = trainable(step)
    assert not marks.dt and all(jax.tree.leaves(marks.rates.network.weights))


def test_bad_input():
    with pytest.raises(ValueError, match="speed must be finite and > 0, got 0"):
        AccelerationNetwork(1, 4, speed=0.0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="dt must be finite and > 0, got -1"):
        LearnedMotion(lambda state: state, -1)
    with pytest.raises(ValueError, match="scheme must be of one step, got AdamsBashforth"):
        LearnedMotion(lambda state: state, 0.1, adams_bashforth)
