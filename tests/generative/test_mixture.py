"""Mixtures of Gaussians against automatic derivatives, Bayes' rule by quadrature, and grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.generative import GaussianMixture, normal_log_density

WEIGHTS, MEANS, DEVIATIONS = [0.3, 0.7], [[0.5, -1.0], [3.0, 2.0]], [1.0, 0.5]


def mixture():
    return GaussianMixture(WEIGHTS, MEANS, DEVIATIONS)


@pytest.mark.x64
def test_density_and_moments_on_a_grid():
    line = jnp.linspace(-6, 7, 201)
    points = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(mixture().log_density))(points))
    area = float(line[1] - line[0]) ** 2
    assert float(jnp.sum(density)) * area == pytest.approx(1, abs=1e-7)
    mean = np.array(WEIGHTS) @ np.array(MEANS)
    np.testing.assert_allclose(density @ points * area, mean, atol=1e-6)
    np.testing.assert_allclose(mixture().expectation(lambda x: x, 8), mean, rtol=1e-12)
    square = sum(
        w * (np.dot(m, m) + 2 * s**2) for w, m, s in zip(WEIGHTS, MEANS, DEVIATIONS, strict=True)
    )
    assert float(density @ jnp.sum(points**2, axis=1)) * area == pytest.approx(square, rel=1e-6)
    assert float(mixture().expectation(lambda x: x @ x, 8)) == pytest.approx(square, rel=1e-12)


@pytest.mark.x64
def test_the_score_is_the_gradient():
    points = jnp.array([[0.0, 0.0], [2.0, 1.0], [-3.0, 4.0]])
    found = jax.vmap(mixture().score)(points)
    np.testing.assert_allclose(found, jax.vmap(jax.grad(mixture().log_density))(points), rtol=1e-10)


@pytest.mark.x64
@pytest.mark.parametrize("signal, noise", [(1.0, 0.7), (0.4, 0.9)])
def test_means_for_a_given_noised_sample(signal, noise):
    """Against Bayes' rule with the prior integrated by quadrature."""
    y = jnp.array([1.2, 0.3])

    def joint(x):
        z = (y - signal * x) / noise
        return jnp.exp(normal_log_density(z)) / noise**2 * jnp.concatenate([jnp.ones(1), x, z])

    total, *rest = mixture().expectation(joint, 64)
    x, z = np.split(np.array(rest) / total, 2)
    np.testing.assert_allclose(mixture().noised(signal, noise).log_density(y), np.log(total))
    np.testing.assert_allclose(mixture().sample_given(y, signal, noise), x, rtol=1e-7)
    np.testing.assert_allclose(mixture().noise_given(y, signal, noise), z, rtol=1e-7)


def test_samples_have_the_moments():
    samples = np.asarray(mixture().sample(jax.random.key(0), 20_000))
    near = np.linalg.norm(samples - MEANS[1], axis=1) < 1.5
    assert near.mean() == pytest.approx(0.7 * (1 - np.exp(-4.5)) + 0.3 * 0.005, abs=0.02)
    assert samples[near].std(axis=0) == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(samples.mean(axis=0), [2.25, 1.1], atol=0.05)


def test_bad_input():
    with pytest.raises(ValueError, match=r"weights must sum to 1, got \[0.3, 0.6\]"):
        GaussianMixture([0.3, 0.6], MEANS, DEVIATIONS)
    with pytest.raises(ValueError, match="deviations must be finite and > 0"):
        GaussianMixture(WEIGHTS, MEANS, [1.0, 0.0])
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), got \(1,\)"):
        GaussianMixture([1.0], MEANS, DEVIATIONS)
    with pytest.raises(ValueError, match=r"means must have shape \(parts, dim\), got \(2,\)"):
        GaussianMixture(WEIGHTS, [0.0, 1.0], DEVIATIONS)
    with pytest.raises(ValueError, match="nodes must be an integer >= 1, got 0"):
        mixture().expectation(lambda x: x, 0)
