"""Score matching and Langevin dynamics with exact scores: floors and stationary distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.generative import (
    GaussianMixture,
    ScoreLoss,
    annealed_langevin,
    by_variance,
    langevin,
)

SIGMAS = (4.0, 2.0, 1.0, 0.5, 0.2, 0.01)
FLOOR, ANNEALED = (
    195.44,
    3341.3,
)  # by quadrature, of the toy of the Physics-Based Deep Learning book


def toy():
    return GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 2.0]], [1.0, 0.5])


def exact(x, sigma, condition):
    return toy().noised(1.0, sigma).score(x)


def floor(sigma):
    """dim / s^2 less the mean square of the score."""

    @jax.jit
    def square(sigma):
        noised = toy().noised(1.0, sigma)
        return noised.expectation(lambda x: noised.score(x) @ noised.score(x))

    return 2 / sigma**2 - float(square(sigma))


def test_the_exact_score_has_the_floor_as_its_loss():
    assert floor(0.1) == pytest.approx(FLOOR, abs=0.02)
    assert np.mean([floor(sigma) for sigma in SIGMAS]) == pytest.approx(ANNEALED, abs=0.5)
    samples = toy().sample(jax.random.key(0), 100_000)
    for sigmas, value in ((0.1, FLOOR), (SIGMAS, ANNEALED)):
        found = jax.jit(lambda s, key: ScoreLoss(s)(exact, (samples, None), key))(
            jnp.array(sigmas), jax.random.key(1)
        )
        deviation = 200 if sigmas == 0.1 else 11_000  # of one sample
        assert float(found) == pytest.approx(value, abs=4 * deviation / 100_000**0.5)


def test_weights():
    """To a point the score is known, without any loss; that of no score is the weight times
    dim / s^2."""
    batch, key = (jnp.zeros((2000, 3)), None), jax.random.key(0)

    def of(loss, model):
        return float(jax.jit(lambda key: loss(model, batch, key))(key))

    def still(x, sigma, condition):
        return 0 * x

    assert of(ScoreLoss([1.0, 0.1]), lambda x, sigma, c: -x / sigma**2) < 1e-4
    assert of(ScoreLoss(2.0), still) == pytest.approx(3 / 4, rel=0.1)
    assert of(ScoreLoss([1.0, 0.1]), still) == pytest.approx(151.5, rel=0.1)
    assert of(ScoreLoss([1.0, 0.1], by_variance), still) == pytest.approx(3, rel=0.1)


def test_langevin_steps_have_a_known_stationary_distribution():
    """Of N(1, v): steps of size h end in the variance v / (1 - h / (2 v)) about 1."""
    variance, step = 0.5, 0.1
    keys = jax.random.split(jax.random.key(0), 4000)

    def draw(key):
        return langevin(lambda x: (1 - x) / variance, jnp.full(2, 4.0), key, step, 60)

    samples = np.asarray(jax.jit(jax.vmap(draw))(keys))
    expected = variance / (1 - step / (2 * variance))
    assert samples.mean() == pytest.approx(1, abs=0.035)
    assert samples.var() == pytest.approx(expected, abs=4 * expected * (2 / 8000) ** 0.5)
    assert abs(np.corrcoef(samples.T)[0, 1]) < 0.06


def test_annealed_langevin_finds_both_parts():
    """From far away, with the condition that says how far the data are shifted."""
    sigmas, shift = jnp.array([4.0, 2.0, 1.0, 0.5, 0.2]), jnp.array([5.0, 0.0])
    keys = jax.random.split(jax.random.key(0), 1000)

    def shifted(x, sigma, condition):
        return exact(x - condition, sigma, None)

    def draw(key):
        start = jnp.full(2, -20.0)
        return annealed_langevin(shifted, start, key, sigmas, 0.01, 40, condition=shift)

    samples = np.asarray(jax.jit(jax.vmap(draw))(keys))
    np.testing.assert_allclose(samples.mean(axis=0), [6.5, 1.0], atol=0.5)
    small = np.linalg.norm(samples - [8.0, 2.0], axis=1) < 1.5
    assert 0.3 < small.mean() < 0.7
    assert samples[small].std(axis=0) == pytest.approx(0.52, rel=0.15)


def test_vmap_and_jit():
    keys = jax.random.split(jax.random.key(3), 3)

    def draw(key):
        return annealed_langevin(exact, jnp.ones(2), key, (1.0, 0.5), 0.05, 3)

    together = jax.jit(jax.vmap(draw))(keys)
    one = jax.jit(draw)
    np.testing.assert_allclose(together, jnp.stack([one(key) for key in keys]), rtol=1e-4)
    np.testing.assert_allclose(together[2], draw(keys[2]), rtol=1e-4)
    assert float(jnp.std(together)) > 0.1


def test_bad_input():
    with pytest.raises(ValueError, match="sigmas must be finite and > 0"):
        ScoreLoss([0.1, 0.0])
    with pytest.raises(ValueError, match="sigmas must be one deviation or a row of them"):
        ScoreLoss([])
    x, key = jnp.ones(2), jax.random.key(0)
    with pytest.raises(ValueError, match="step must be finite and > 0, got 0"):
        langevin(lambda x: x, x, key, 0.0, 3)
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        langevin(lambda x: x, x, key, 0.1, 0)
    with pytest.raises(ValueError, match=r"sigmas must fall, got \(0.5, 1.0\)"):
        annealed_langevin(exact, x, key, (0.5, 1.0), 0.1, 3)
