"""Warm starts of conjugate gradients: the iterations, the smoke, the network, a tiny run."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.pressure import smoke
from jaxpbdl.experiments.pressure.cells import divergence
from jaxpbdl.experiments.pressure.cycle import Cycle
from jaxpbdl.experiments.pressure.warm_start import (
    EXPERIMENT,
    Config,
    conjugate_gradients,
    count,
    exact,
    operator,
    residuals,
)

TINY = Config(
    simulations=2,
    test=3,
    width=2,
    levels=1,
    iterations=2,
    training=replace(Config.training, updates=40, learning_rate=2e-2),
)


def source(*shape):
    values = jax.random.normal(jax.random.key(0), shape)
    return values - jnp.mean(values, (-2, -1), keepdims=True)


@pytest.mark.x64
def test_conjugate_gradients_solve_and_minimise():
    b, p = source(6, 5), jnp.zeros((6, 5))
    found, norms = conjugate_gradients(b, p, 30)
    np.testing.assert_allclose(found, exact(b), atol=1e-10)
    np.testing.assert_allclose(norms[0], jnp.linalg.norm(b))
    np.testing.assert_allclose(norms[-1], 0, atol=1e-10)

    # Two iterations minimise the energy over the span of b and A b.
    found, norms = conjugate_gradients(b, p, 2)
    basis = jnp.stack([b.ravel(), operator(b).ravel()])
    images = jnp.stack([operator(v.reshape(b.shape)).ravel() for v in basis])
    best = jnp.linalg.solve(basis @ images.T, basis @ b.ravel()) @ basis
    np.testing.assert_allclose(found.ravel(), best, atol=1e-12)
    np.testing.assert_allclose(norms[2], jnp.linalg.norm(b - operator(found)), rtol=1e-10)


@pytest.mark.x64
def test_conjugate_gradients_are_differentiated_as_they_are():
    b, guess = source(5, 4), source(2, 5, 4)[1]

    def left(guess):
        return jnp.sum((conjugate_gradients(b, jnp.asarray(guess), 3)[0] - exact(b)) ** 2)

    check_grads(left, (guess,), order=1, modes=["rev"], atol=1e-5, rtol=1e-5)
    # Begun at the solution, where every step has length zero over zero.
    assert jnp.all(jnp.isfinite(jax.grad(left)(exact(b))))


def test_iterations_are_counted():
    b = source(3, 8, 8)
    left = residuals(b, jnp.stack([jnp.zeros((8, 8)), exact(b[1]), b[2]]))
    assert left[0, 0] == 1 and left[1, 0] < 1e-5
    assert count(left[1:2], 1e-3) == 0
    assert count(left[:1], 1e-3) == np.argmax(left[0] <= 1e-3) > 0
    assert count(left[:2], 1e-3) == count(left[:1], 1e-3) / 2
    assert count(left[:1], 0.0) == left.shape[1]  # never reached


def test_smoke_stays_in_its_box():
    density, velocity = start = smoke.start(jax.random.key(0), 32)
    np.testing.assert_allclose(divergence(velocity, False), 0, atol=1e-5)
    (later, moved), taken = smoke.step(start)
    np.testing.assert_allclose(divergence(moved, False), 0, atol=1e-5)
    assert not np.any(moved[0, 0]) and not np.any(moved[1, :, 0])
    assert jnp.min(later) >= 0 and jnp.max(later) <= jnp.max(density) * (1 + 1e-6)
    np.testing.assert_allclose(jnp.sum(taken), 0, atol=1e-3)


def test_smoke_rises():
    density = jnp.zeros((16, 16)).at[6:10, 3:7].set(1.0)
    state = (density, jnp.zeros((2, 16, 16)))
    for _ in range(10):
        state, _ = smoke.step(state)
    height = jnp.arange(16) + 0.5
    before, after = (jnp.sum(s * height) / jnp.sum(s) for s in (density, state[0]))
    assert after > before + 0.5


def test_the_cycle_is_linear_and_mirrors_its_walls():
    cycle = Cycle(2, width=3, levels=2, key=jax.random.key(0))
    drawn = jax.random.normal(jax.random.key(1), cycle.decoder.weight.shape)
    cycle = jax.tree.map(lambda leaf: drawn if leaf is cycle.decoder.weight else leaf, cycle)
    a, b = jax.random.normal(jax.random.key(2), (2, 8, 12))
    np.testing.assert_allclose(cycle(2 * a - b), 2 * cycle(a) - cycle(b), rtol=1e-3, atol=1e-4)
    flat = cycle(jnp.ones((8, 12)))
    np.testing.assert_allclose(flat, flat[0, 0], rtol=1e-5)  # walls are not seen by a constant


def test_a_tiny_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert 100 < metrics["zero.1e-3"] < 200
    cut = metrics["zero.1e-3"] / metrics["solver.1e-3"]
    assert metrics["iterations_cut"] == pytest.approx(cut)
    assert metrics["solver.1e-1"] < metrics["zero.1e-1"]
    assert (tmp_path / "residual.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="levels must be at most 6 for 64 cells, got 7"):
        Config(levels=7)
    with pytest.raises(ValueError, match="iterations must be an integer >= 1, got 0"):
        Config(iterations=0)
