"""A step that draws noise is its network with the noise; the score finds the size of the noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import Corrected, Emulator, Windows, fit, trainable
from jaxpbdl.uncertainty import Noisy, ensemble_crps, noisy_crps

KEY = jax.random.key(0)


class Random(eqx.Module):
    """An increment that is `size` times the first channel of the noise."""

    size: jax.Array

    def __call__(self, features):
        return self.size * features[1:2]


def channels(state):
    return state[None]


def walk(size):
    return Noisy(Emulator(Random(jnp.asarray(size)), features=channels), 2)


def test_samples_are_those_of_the_noise():
    step, state = walk(0.3), jnp.arange(4.0)
    noise = step.noise(KEY, state, 5)
    assert noise.shape == (5, 2, 4)
    found = step.sample(KEY, state, 5)
    np.testing.assert_allclose(found[5], state + 0.3 * noise[:, 0].sum(0), rtol=1e-5)
    many = jax.vmap(lambda key: step.sample(key, state, 5)[-1])(jax.random.split(KEY, 4000))
    np.testing.assert_allclose(many.std(0), 0.3 * np.sqrt(5), rtol=0.05)


def test_a_hybrid_sees_its_channels_and_the_noise():
    solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), jp.grids.Periodic(8), 0.1)
    hybrid = Corrected(solver, Random(jnp.asarray(2.0)), scale=0.5)
    state, noise = jnp.sin(jp.grids.Periodic(8).axes[0]), jnp.ones((1, 8))
    np.testing.assert_allclose(Noisy(hybrid)(state, noise), solver(state) + 1.0, rtol=1e-5)
    marks = jax.tree.leaves(eqx.filter(Noisy(hybrid), trainable(Noisy(hybrid))))
    assert len(marks) == 1 and marks[0] == 2.0


def test_the_channels_of_a_solver_serve_inside_jit():
    solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), jp.grids.Periodic(8), 0.1)
    step = Noisy(Emulator(Random(jnp.asarray(0.2)), features=solver.channels))
    windows = jnp.zeros((2, 3, 8))
    score = eqx.filter_jit(lambda step: noisy_crps(step, windows, KEY))
    assert float(score(step)) == pytest.approx(float(noisy_crps(step, windows, KEY)), rel=1e-5)


def test_the_score_is_that_of_the_samples():
    step = walk(0.3)
    windows = jax.random.normal(KEY, (3, 4, 5))
    keys = jax.random.split(jax.random.key(1), (2, 3))
    found = jnp.stack(
        [
            jnp.stack([step.sample(key, start, 3)[1:] for key, start in zip(row, windows[:, 0])])  # noqa: B905
            for row in keys
        ]
    )
    expected = jnp.mean(ensemble_crps(found, windows[:, 1:], fairness=0.95))
    assert float(noisy_crps(step, windows, jax.random.key(1), samples=2)) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_the_size_of_the_noise_is_found():
    steps = 0.3 * jax.random.normal(KEY, (40, 20, 16))
    windows = Windows(jnp.cumsum(steps, axis=1), 2, 32)
    model, _ = fit(walk(0.05), noisy_crps, windows, optax.adam(0.02), 150, key=KEY, progress=False)
    assert abs(float(model.step.network.size)) == pytest.approx(0.3, rel=0.1)


def test_what_cannot_draw_is_refused():
    with pytest.raises(TypeError, match="must be a Corrected or an Emulator, got function"):
        Noisy(channels)
    with pytest.raises(ValueError, match="channels must be an integer >= 1, got 0"):
        Noisy(walk(0.1).step, 0)
    with pytest.raises(ValueError, match="samples must be an integer >= 2, got 1"):
        noisy_crps(walk(0.1), jnp.zeros((1, 2, 3)), KEY, samples=1)
