"""Gradient descent is Euler's method on the gradient flow, momentum a leapfrog with friction."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning.gradient_flows import damped_flow, gradient_flow, heavy_ball
from jaxpbdl.networks import Dense
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import euler, explicit, leapfrog, rk4, yoshida

HESSIAN = np.asarray([[3.0, 1.0], [1.0, 2.0]])
START = {"a": np.asarray([1.0]), "b": np.asarray(-2.0)}


def vector(theta):
    return jnp.stack([theta["a"][0], theta["b"]])


def bowl(theta):
    x = vector(theta)
    return x @ HESSIAN.astype(x.dtype) @ x / 2


def distance(first, second):
    return max(
        float(jnp.max(jnp.abs(a - b)))
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


def network_loss():
    x = jnp.linspace(-1, 1, 32)[:, None]

    def loss(network):
        return jnp.mean((jax.vmap(network)(x) - jnp.sin(4 * x)) ** 2)

    return Dense((1, 16, 16, 1), key=jax.random.key(0)), loss


def trained(optimiser, loss, theta, updates):
    @jax.jit
    def run(theta):
        def body(_, carry):
            theta, state = carry
            changes, state = optimiser.update(jax.grad(loss)(theta), state, theta)
            return optax.apply_updates(theta, changes), state

        theta = jax.tree.map(jnp.asarray, theta)
        return jax.lax.fori_loop(0, updates, body, (theta, optimiser.init(theta)))[0]

    return run(theta)


@pytest.mark.parametrize("double", [False, True])
def test_euler_gives_the_very_bits_of_gradient_descent(double):
    with jax.enable_x64(double):
        network, loss = network_loss()
        step = gradient_flow(loss, 0.1)
        flow = jax.jit(
            lambda theta: jax.lax.fori_loop(0, 1000, lambda _, x: step.advance(x), theta)
        )
        descent = trained(optax.sgd(0.1), loss, network, 1000)
        ours = flow(network)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(descent), strict=True):
            np.testing.assert_array_equal(a, b)
        assert loss(ours) < loss(network) / 3  # it went somewhere
        other = trained(optax.sgd(0.1 * (1 + 1e-5)), loss, network, 1000)
        assert distance(other, descent) > 0  # another learning rate shows


@pytest.mark.x64
def test_the_flow_goes_down_and_schemes_converge_to_it():
    """Against the exact flow of a quadratic."""
    values, vectors = np.linalg.eigh(HESSIAN)
    exact = vectors @ (np.exp(-values) * (vectors.T @ np.asarray(vector(START))))

    def error(scheme, steps):
        end = rollout(gradient_flow(bowl, 1 / steps, scheme), START, steps)
        return np.abs(vector(jax.tree.map(lambda x: x[-1], end)) - exact).max()

    for scheme, order in ((euler, 1), (rk4, 4)):
        assert np.log2(error(scheme, 16) / error(scheme, 32)) == pytest.approx(order, abs=0.25)
    path = rollout(gradient_flow(bowl, 0.05), START, 60)
    assert np.all(np.diff(jax.vmap(bowl)(path)) < 0)


@pytest.mark.x64
def test_stability_limit_of_euler():
    """On du/dt = (i oscillation - decay) u the amplitude grows just above the limit."""

    def growth(dt, oscillation, decay):
        matrix = jnp.asarray([[-decay, -oscillation], [oscillation, -decay]])
        step = explicit(lambda u: matrix @ u, dt, euler)
        return jnp.linalg.norm(step(jnp.asarray([1.0, 0.0])))

    for oscillation, decay in ((0.0, 3.0), (2.0, 1.0)):
        limit = euler.largest_dt(oscillation, decay)
        assert growth(0.99 * limit, oscillation, decay) < 1
        assert growth(1.01 * limit, oscillation, decay) > 1
    assert euler.largest_dt(1.0) < 1e-20 and euler.largest_dt(0.0, 0.0) > 1e20


def ball(steps, friction, scheme, theta=START, time=1.0):
    still = jax.tree.map(jnp.zeros_like, theta)
    path = rollout(damped_flow(bowl, time / steps, friction, scheme), (theta, still), steps)
    return jax.tree.map(lambda x: x[-1], path)


@pytest.mark.x64
@pytest.mark.parametrize(("scheme", "order"), [(leapfrog, 2), (yoshida, 4)])
def test_the_heavy_ball_follows_its_equation(scheme, order):
    friction, values_vectors = 0.7, np.linalg.eigh(HESSIAN)
    values, vectors = values_vectors
    omega = np.sqrt(values - friction**2 / 4)  # underdamped
    factor = np.exp(-friction / 2) * (np.cos(omega) + friction / (2 * omega) * np.sin(omega))
    exact = vectors @ (factor * (vectors.T @ np.asarray(vector(START))))
    errors = [np.abs(vector(ball(n, friction, scheme)[0]) - exact).max() for n in (16, 32)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.x64
def test_gradient_descent_with_momentum_is_the_step_with_friction():
    """Its parameters are the positions in the middle of each step of the leapfrog."""
    network, loss = network_loss()
    dt, friction, updates = 0.2, 1.5, 100
    step = damped_flow(loss, dt, friction)
    # Half a step back, without momentum: the first kick is at the parameters of the start.
    state = (network, jax.tree.map(jnp.zeros_like, network))

    @jax.jit
    def middles(state):
        def body(state, _):
            system = step.system()
            middle = system.drift(step.enter(state), step.dt / 2)
            return step.leave(step.advance(step.enter(state))), middle.position

        return jax.lax.scan(body, state, length=updates + 1)[1]

    last = jax.tree.map(lambda x: x[-1], middles(state))
    ours = trained(heavy_ball(dt, friction), loss, network, updates)
    theirs = trained(
        optax.sgd(dt**2 * np.exp(-friction * dt / 2), np.exp(-friction * dt)),
        loss, network, updates,
    )  # fmt: skip
    assert distance(last, ours) < 1e-11
    assert distance(ours, theirs) == 0
    assert distance(ours, network) > 0.1


@pytest.mark.x64
def test_weak_friction_gives_the_parameters_one_would_guess():
    change, dt = [], 0.2
    for small in (1e-3, 1e-4):
        guess = optax.sgd(dt**2, 1 - small * dt)
        ends = (trained(each, bowl, START, 50) for each in (heavy_ball(dt, small), guess))
        change.append(distance(*ends))
    assert change[0] < 1e-3 and change[0] / change[1] == pytest.approx(10, rel=0.2)


@pytest.mark.x64
def test_strong_friction_leaves_gradient_flow():
    dt, friction, updates = 4.0, 2.0, 3
    ours = trained(heavy_ball(dt, friction), bowl, START, updates)
    plain = trained(optax.sgd(dt**2 / (2 * np.sinh(friction * dt / 2))), bowl, START, updates)
    assert distance(ours, plain) < 1e-3 < distance(ours, START)
    # Not as strong within a step, it is still the gradient flow but for 1 / friction**2.
    time, friction, steps = 30.0, 60.0, 1000
    slow = ball(steps, friction, leapfrog, time=time)[0]
    dt = time / steps
    gone = steps * dt**2 / (2 * np.sinh(friction * dt / 2))
    path = rollout(gradient_flow(bowl, gone / 50, rk4), START, 50)
    flow = jax.tree.map(lambda x: x[-1], path)
    assert distance(slow, flow) < 3e-3
    assert distance(flow, START) > 0.3


@pytest.mark.x64
def test_without_friction_the_energy_stays():
    theta, momentum = ball(200, 0.0, leapfrog, time=10.0)
    energy = bowl(theta) + jnp.sum(vector(momentum) ** 2) / 2
    assert energy == pytest.approx(float(bowl(START)), rel=2e-3)
    theta, momentum = ball(200, 0.5, leapfrog, time=10.0)
    assert bowl(theta) + jnp.sum(vector(momentum) ** 2) / 2 < 0.02 * bowl(START)


def test_jit_changes_nothing():
    state = (START, jax.tree.map(jnp.ones_like, START))
    for step, start in (
        (gradient_flow(bowl, 0.1, rk4), START),
        (damped_flow(bowl, 0.1, 1.0), state),
    ):
        assert distance(jax.jit(step)(start), step(start)) < 1e-6


def test_bad_input():
    with pytest.raises(ValueError, match="dt must be finite and > 0, got 0"):
        gradient_flow(bowl, 0.0)
    for make in (heavy_ball, lambda *numbers: damped_flow(bowl, *numbers)):
        with pytest.raises(ValueError, match="dt must be finite and > 0, got -1"):
            make(-1.0, 0.5)
        with pytest.raises(ValueError, match="friction must be finite and >= 0, got -0.5"):
            make(0.1, -0.5)
