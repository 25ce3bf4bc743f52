"""The initial state of Burgers' equation from an observation in the middle of its evolution (the
reconstruction task of the Physics-based Deep Learning book): every printed loss of its gradient
descent through the solver, then a better optimiser; its physics-informed network, then a better
one.

The slow tests take 5 minutes: `pytest -m slow tests/references/test_burgers_inversion.py`.
"""

from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.fields import Box, refine, uniform
from jaxpbdl.learning import PerChunk, fit, quasi_newton, residual_at, residual_loss
from jaxpbdl.networks import Chain, Dense, PeriodicFeatures

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


def observation():
    return np.loadtxt(Path(__file__).with_name("burgers_observation.txt")).ravel()


@pytest.fixture(scope="module")
def task():
    grid = jp.grids.Periodic(POINTS, lengths=2.0, origin=-1 + 1 / POINTS)
    burgers = jp.equations.Burgers(viscosity=0.01 / (POINTS * np.pi))
    step = jp.solvers.spectral.semi_lagrangian(burgers, grid, 1 / STEPS)
    observed = jnp.asarray(observation(), grid.dtype)
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


# The book's network of coordinates: a point of space-time is (x, t).
DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))
VISCOSITY = 0.01 / np.pi


def informed(network, keys, observed):
    """Loss of the book on its 100 observations, 100 boundary values and 1000 points."""
    cells = -1 + (np.arange(POINTS) + 0.5) * 2 / POINTS
    chosen = jax.random.permutation(keys[0], POINTS)[:100]
    side = jnp.where(jax.random.bernoulli(keys[1], shape=(100,)), 1.0, -1.0)
    boundary = jnp.stack([side, jax.random.uniform(keys[2], (100,))], axis=-1)
    middle = jnp.stack([jnp.asarray(cells)[chosen], jnp.full(100, 0.5)], axis=-1)
    places = jnp.concatenate([middle, boundary])
    values = jnp.concatenate([observed[chosen], jnp.zeros(100)])
    equation = jp.equations.Burgers(VISCOSITY)

    def loss(network, points):
        misfit = jnp.mean((jax.vmap(network)(places)[:, 0] - values) ** 2)
        return 0.5 * misfit + 0.5 * residual_loss(equation, lambda p: network(p)[0], points)

    def refined(key, network):
        candidates = uniform(key, DOMAIN, 10_000)
        sizes = residual_at(equation, lambda p: network(p)[0], candidates)
        return refine(key, sizes, candidates, 2000)

    return loss, refined


def mean_error(network, truth):
    """Of the whole trajectory, counted as the book does."""
    x = jnp.linspace(-1 + 1 / POINTS, 1 - 1 / POINTS, POINTS)
    t = jnp.linspace(0, 1, STEPS + 1)
    points = jnp.stack(jnp.meshgrid(t, x, indexing="ij")[::-1], axis=-1)
    values = jax.vmap(jax.vmap(network))(points)[..., 0]
    return float(jnp.sum(jnp.abs(values - truth)) / (STEPS * POINTS))


def test_informed_network_of_the_book(task):
    """Its loss after each thousand updates, which depends on random numbers that are not printed:
    within a third of the printed ones.
    """
    truth, _, _ = task
    keys = jax.random.split(jax.random.key(0), 6)
    network = Dense((2, *[20] * 8, 1), key=keys[0])
    glorot = jax.nn.initializers.glorot_uniform()
    weights = tuple(
        glorot(jax.random.fold_in(keys[5], index), weight.shape)
        for index, weight in enumerate(network.weights)
    )
    network = eqx.tree_at(lambda n: n.weights, network, weights)
    loss, _ = informed(network, keys[1:4], jnp.asarray(observation(), jnp.float32))
    points = uniform(keys[4], DOMAIN, 1000)
    network, history = fit(
        network, loss, lambda key: points, optax.sgd(0.02), 8000, key=keys[5], chunk=500
    )
    printed = [0.054487, 0.049147, 0.045515, 0.042890, 0.039945, 0.037641, 0.035227, 0.033604]
    measured = history.loss[[0, *range(999, 8000, 1000)]]
    np.testing.assert_allclose(measured, [0.100037, *printed], rtol=0.35)
    assert mean_error(network, truth) > 0.0638  # the book has 0.193


@pytest.mark.x64
def test_a_better_trained_network_beats_the_solver_of_the_book(task):
    """A periodic field by the quasi-Newton method, on points that follow the residual: 0.0638 is
    the book's error by gradient descent through the solver. Measured with seeds 0, 1,
    2: 0.028, 0.054, 0.029; the test takes seed 1.
    """
    truth, _, _ = task
    keys = jax.random.split(jax.random.key(1), 6)
    network = Chain(PeriodicFeatures(0, 2.0), Dense((3, *[20] * 4, 1), key=keys[0]))
    loss, refined = informed(network, keys[1:4], jnp.asarray(observation()))
    rate = optax.cosine_decay_schedule(3e-3, 1000, 0.05)
    anywhere = partial(uniform, box=DOMAIN, count=2000)
    network, _ = fit(network, loss, anywhere, optax.adam(rate), 1000, key=keys[4])
    network, _ = fit(network, loss, PerChunk(refined), quasi_newton(), 1000, key=keys[5], chunk=125)
    assert mean_error(network, truth) < 0.0638
