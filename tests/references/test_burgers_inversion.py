"""The initial state of Burgers' equation from an observation in the middle of its evolution (the
reconstruction task
of the Physics-based Deep Learning book): every printed loss of its gradient descent, then a better
optimiser."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp

POINTS, STEPS = 128, 32
PRINTED = {
    0: 0.382915,
    1: 0.326882,
    2: 0.281032,
    3: 0.242804,
    4: 0.210666,
    5: 0.183476,
    10: 0.096224,
}
PRINTED |= {
    15: 0.054792,
    20: 0.032819,
    25: 0.020334,
    30: 0.012852,
    35: 0.008185,
    40: 0.005186,
    45: 0.003263,
}


@pytest.fixture(scope="module")
def task():
    grid = jp.Grid(POINTS, lengths=2.0, origin=-1 + 1 / POINTS)
    burgers = jp.equations.Burgers(viscosity=0.01 / (POINTS * np.pi))
    step = jp.solvers.semi_lagrangian(burgers, grid, 1 / STEPS)
    observed = np.loadtxt(Path(__file__).with_name("burgers_observation.txt")).ravel()
    observed = jnp.asarray(observed, grid.dtype)
    (x,) = grid.coordinates
    truth = jp.rollout(step, -jnp.sin(jnp.pi * x), STEPS)

    def loss(initial):
        return jnp.mean((jp.rollout(step, initial, STEPS // 2, STEPS // 2)[-1] - observed) ** 2)

    def error(initial):  # the book divides the sum over all 33 states by 32 * 128
        return jnp.sum(jnp.abs(jp.rollout(step, initial, STEPS) - truth)) / (STEPS * POINTS)

    return truth, loss, error


def descend(loss, optimiser, updates):
    def update(carry, _):
        initial, state = carry
        value, gradient = jax.value_and_grad(loss)(initial)
        change, state = optimiser.update(gradient, state, initial)
        return (initial + change, state), value

    start = jnp.zeros(POINTS)
    run = jax.jit(lambda c: jax.lax.scan(update, c, None, length=updates))
    (initial, _), losses = run((start, optimiser.init(start)))
    return initial, losses


def test_forward_values_of_the_book(task):
    truth, _, _ = task
    start = [0.49289819, 0.53499762, 0.57580819, 0.61523159, 0.65317284]
    end = [0.0057228, 0.01716715, 0.02861034, 0.040052, 0.05149214]
    np.testing.assert_allclose(truth[0, 10:15], start, atol=3e-7)
    np.testing.assert_allclose(truth[-1, :5], end, atol=3e-7)


def test_gradient_descent_prints_the_losses_of_the_book(task):
    _, loss, error = task
    initial, losses = descend(loss, optax.sgd(5.0), 49)
    for update, printed in PRINTED.items():
        assert f"{float(losses[update]):.6f}" == f"{printed:.6f}"
    assert float(error(initial)) == pytest.approx(0.06382, abs=1e-5)


def test_adam_finds_a_better_initial_state(task):
    # The loss alone does not decide: L-BFGS reaches a far lower one at an error of 0.060 (ill-
    # posed).
    _, loss, error = task
    initial, _ = descend(loss, optax.adam(3e-2), 500)
    assert float(error(initial)) < 0.04
