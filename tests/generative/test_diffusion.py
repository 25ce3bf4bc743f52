"""Diffusion with the exact noise: schedules, floors, maps of Gaussians, moments of samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.generative import (
    GaussianMixture,
    NoiseLoss,
    Schedule,
    ancestral_sample,
    constant,
    cosine,
    implicit_sample,
    implicit_transport,
    linear,
)

FLOOR = 0.05803  # by quadrature, with the thousand steps of the toy of the book
MEAN, DEVIATION = 0.8, 0.4


def toy():
    return GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 2.0]], [1.0, 0.5])


def noise_of(mixture, schedule):
    return lambda x, t, condition: mixture.noise_given(x, *schedule.levels(t))


@pytest.mark.x64
def test_schedules():
    chain = constant(40, 0.02)
    np.testing.assert_allclose(chain.signals, 0.98 ** (np.arange(41) / 2), rtol=1e-12)
    np.testing.assert_allclose(chain.signals**2 + chain.noises**2, 1, rtol=1e-12)
    np.testing.assert_allclose(linear(3, 0.1, 0.3).betas, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(linear(3, 0.1, 0.3).signals[3] ** 2, 0.9 * 0.8 * 0.7)
    chain = cosine(50)
    angles = np.pi / 2 * (np.arange(50) / 50 + 0.008) / 1.008
    expected = np.cos(angles) / np.cos(angles[0])
    np.testing.assert_allclose(chain.signals[:-1], expected, rtol=1e-10)
    assert chain.betas[-1] == 0.999  # where the formula alone would leave no signal
    for t, step in ((1.0, 50), (0.5, 25), (0.02, 1)):
        signal, noise = chain.levels(jnp.array(t))
        assert (signal, noise) == (chain.signals[step], chain.noises[step])


def test_little_noise_in_single_precision():
    """The square root of one minus almost one."""
    np.testing.assert_allclose(constant(3, 1e-7).noises[1], 1e-7**0.5, rtol=1e-6)


def test_the_exact_noise_has_the_floor_as_its_loss():
    chain = constant(1000)
    samples = toy().sample(jax.random.key(0), 100_000)
    loss = jax.jit(lambda key: NoiseLoss(chain)(noise_of(toy(), chain), (samples, None), key))
    assert float(loss(jax.random.key(1))) == pytest.approx(FLOOR, abs=2e-3)


def test_the_loss_draws_every_step_equally_often():
    """Errors of 10 t in a chain of three steps, beside the noise itself."""
    errors = lambda x, t, condition: jnp.full_like(x, 10 * t)  # noqa: E731
    loss = NoiseLoss(constant(3, 0.1))(errors, (jnp.zeros((20_000, 2)), None), jax.random.key(0))
    assert float(loss) == pytest.approx(1 + 100 * (1 + 4 + 9) / 27, rel=0.02)


def test_conditions_go_with_their_samples():
    chain, points = constant(10, 0.1), jnp.arange(12.0).reshape(4, 3)

    def noise(x, t, condition):
        signal, level = chain.levels(t)
        return (x - signal * condition) / level

    @jax.jit
    def found(condition):
        key = jax.random.key(1)
        loss = NoiseLoss(chain)(noise, (points, condition), key)
        ancestral = ancestral_sample(noise, chain, key, (3,), condition=condition[2])
        jumps = [
            implicit_sample(noise, chain, key, (3,), steps, condition=condition[2])
            for steps in (1, 10)
        ]
        return loss, [ancestral, *jumps]

    right, samples = found(points)
    assert float(right) < 1e-8 and float(found(points[::-1])[0]) > 1
    for sample in samples:
        np.testing.assert_allclose(sample, points[2], atol=1e-4)


@pytest.mark.x64
def test_the_implicit_sampler_follows_the_probability_flow():
    """Of a Gaussian: x - signal MEAN over the deviation stays the same; order one in the jumps."""
    chain = cosine(400)
    prior = GaussianMixture([1.0], [[MEAN]], [DEVIATION])
    start = jnp.array([1.3])
    signal, noise = float(chain.signals[-1]), float(chain.noises[-1])
    at_end = np.hypot(signal * DEVIATION, noise)
    expected = MEAN + DEVIATION * (1.3 - signal * MEAN) / at_end

    @partial(jax.jit, static_argnums=0)
    def end(jumps):
        return implicit_transport(noise_of(prior, chain), chain, start, jumps)[0]

    errors = [abs(float(end(jumps)) - expected) for jumps in (50, 100)]
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1, atol=0.1)
    assert errors[-1] < 0.01


def test_samples_of_a_mixture():
    """Ancestral ones over all steps, implicit ones over some of them."""
    chain = linear(300, 1e-3, 0.08)
    noise, keys = noise_of(toy(), chain), jax.random.split(jax.random.key(0), 4000)
    for draw in (
        lambda key: ancestral_sample(noise, chain, key, (2,)),
        lambda key: implicit_sample(noise, chain, key, (2,), 100),
    ):
        samples = np.asarray(jax.jit(jax.vmap(draw))(keys))
        np.testing.assert_allclose(samples.mean(axis=0), [1.5, 1.0], atol=0.12)
        np.testing.assert_allclose(np.cov(samples.T), [[2.875, 1.5], [1.5, 1.625]], atol=0.2)


def test_vmap_jit_and_gradient():
    chain, keys = constant(6, 0.2), jax.random.split(jax.random.key(3), 3)

    def draw(scale, key):
        return ancestral_sample(lambda x, t, c: scale * jnp.tanh(x + t), chain, key, (2,))

    together = jax.jit(jax.vmap(draw, in_axes=(None, 0)))(0.7, keys)
    np.testing.assert_allclose(together[1], draw(0.7, keys[1]), rtol=1e-5)
    one = jax.jit(draw)
    np.testing.assert_allclose(together, jnp.stack([one(0.7, key) for key in keys]), rtol=1e-5)
    slope = jax.jit(jax.jacrev(draw))(0.7, keys[0])
    change = (one(0.71, keys[0]) - one(0.69, keys[0])) / 0.02
    np.testing.assert_allclose(slope, change, rtol=1e-2, atol=1e-3)
    assert float(jnp.abs(slope).min()) > 1e-2


def test_bad_input():
    with pytest.raises(ValueError, match=r"betas must lie between 0 and 1, got \[0.1, 1.0\]"):
        Schedule([0.1, 1.0])
    with pytest.raises(ValueError, match="betas must lie between 0 and 1"):
        constant(3, 0.0)
    with pytest.raises(ValueError, match=r"betas must have shape \(steps,\), .* got \(0,\)"):
        Schedule([])
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        cosine(0)
    with pytest.raises(ValueError, match="offset must be finite and > 0, got 0"):
        cosine(3, 0.0)
    chain = constant(5)
    for steps, message in ((0, "an integer >= 1, got 0"), (6, "at most those .*, 5, got 6")):
        with pytest.raises(ValueError, match=f"steps must be {message}"):
            implicit_transport(lambda x, t, c: x, chain, jnp.ones(2), steps)
