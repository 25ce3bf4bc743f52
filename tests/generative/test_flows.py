"""Normalising flows: inverses, determinants against automatic differentiation, densities on a grid,
linear flows against matrix exponentials."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.generative import (
    AffineCoupling,
    ContinuousFlow,
    RealNVP,
    divergence,
    estimated_negative_log_likelihood,
    negative_log_likelihood,
    rk4,
)
from jaxpbdl.learning import fit

MATRIX = ((0.3, 1.1), (-0.4, -0.6))


def shaken(model, size, seed=1):
    """The model with random parameters: a fresh one is the identity."""
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    new = [
        leaf + size * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(tree, new), rest)


@pytest.mark.x64
@pytest.mark.parametrize("dim", [2, 3])
def test_inverse_and_determinant(dim):
    flow = shaken(RealNVP(dim, 3, (8,), key=jax.random.key(0)), 0.5)
    z = jax.random.normal(jax.random.key(2), (dim,))
    x, log_determinant = eqx.filter_jit(lambda f: f.forward(z))(flow)
    back, other = eqx.filter_jit(lambda f: f.inverse(x))(flow)
    np.testing.assert_allclose(back, z, rtol=1e-10)
    assert jnp.all(x != z)  # each component is changed
    jacobian = jax.jit(jax.jacfwd(lambda z: flow.forward(z)[0]))(z)
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(jacobian)[1], rtol=1e-10)
    np.testing.assert_allclose(other, -log_determinant, rtol=1e-10)
    assert abs(float(log_determinant)) > 1e-2


def test_a_coupling_keeps_what_the_mask_says_and_limits_the_rest():
    coupling = shaken(
        AffineCoupling([True, False, True], (4,), limit=0.5, key=jax.random.key(0)), 9
    )
    z = jnp.array([1.0, 2.0, -1.0])
    x, _ = jax.jit(lambda z: coupling.forward(z))(z)
    assert x[0] == z[0] and x[2] == z[2] and x[1] != z[1]
    many = jnp.array([-3, 0.3, 1, 2])[:, None] * z
    scales = jnp.abs(jax.jit(jax.vmap(lambda z: coupling.forward(z)[1]))(many))
    assert 0.4 < float(scales.max()) <= 0.5


def test_a_fresh_flow_is_the_identity():
    flow = RealNVP(2, 2, (8,), key=jax.random.key(0))
    batch = jax.random.normal(jax.random.key(1), (5, 2))
    expected = jnp.mean(jnp.sum(batch**2, axis=1)) / 2 + jnp.log(2 * jnp.pi)
    np.testing.assert_allclose(negative_log_likelihood(flow, batch), expected, rtol=1e-6)


def test_density_and_samples_agree():
    """The density integrates to one, with the mean and the covariance that samples have."""
    flow = shaken(RealNVP(2, 2, (8,), key=jax.random.key(0)), 0.07)
    line = jnp.linspace(-9, 9, 181)
    points = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    density = jnp.exp(jax.jit(jax.vmap(flow.log_density))(points)) * float(line[1] - line[0]) ** 2
    assert float(jnp.sum(density)) == pytest.approx(1, abs=3e-3)
    mean = density @ points
    covariance = (points - mean).T @ (density[:, None] * (points - mean))
    samples = jax.jit(jax.vmap(flow.sample))(jax.random.split(jax.random.key(3), 20_000))
    spread = float(jnp.sqrt(jnp.trace(covariance)))
    np.testing.assert_allclose(samples.mean(axis=0), mean, atol=4 * spread / 20_000**0.5)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.05 * spread**2)
    assert np.linalg.norm(covariance - np.eye(2)) > 0.1  # and is another one than that of noise


def linear_flow(steps=8):
    matrix = jnp.array(MATRIX)
    return ContinuousFlow(lambda x, t, condition: matrix @ x, 2, steps)


@pytest.mark.x64
def test_a_linear_continuous_flow():
    """x(1) = exp(A) z, so log p is that of a Gaussian with the covariance exp(A) exp(A)^T."""
    through = jax.scipy.linalg.expm(jnp.array(MATRIX))
    z = jax.random.normal(jax.random.key(0), (2,))
    np.testing.assert_allclose(linear_flow().sample(jax.random.key(0)), through @ z, rtol=1e-5)
    x = jnp.array([0.7, -1.3])
    expected = jax.scipy.stats.multivariate_normal.logpdf(x, jnp.zeros(2), through @ through.T)
    errors = [abs(float(jax.jit(linear_flow(n).log_density)(x) - expected)) for n in (4, 8)]
    assert errors[1] < 1e-5 and 12 < errors[0] / errors[1] < 20  # order 4


@pytest.mark.x64
def test_estimated_divergence():
    """Over all signs the mean is the trace; the value is not touched."""
    matrix, x = jnp.array(MATRIX), jnp.array([0.7, 0.4])

    def function(x):
        return matrix @ jnp.sin(x)

    exact = jnp.trace(jax.jacfwd(function)(x))
    value, trace = divergence(function, x)
    np.testing.assert_allclose(trace, exact)
    guesses = [
        divergence(function, x, jnp.array(signs)) for signs in product((1.0, -1.0), repeat=2)
    ]
    np.testing.assert_allclose(np.mean([guess for _, guess in guesses]), exact)
    assert np.std([guess for _, guess in guesses]) > 0.1
    for each in (value, guesses[1][0]):
        np.testing.assert_allclose(each, function(x))


def test_estimated_likelihood():
    """Unbiased, with other signs for each sample."""
    batch = jnp.tile(jnp.array([[0.7, -1.3]]), (64, 1))
    exact = jax.jit(lambda x: negative_log_likelihood(linear_flow(), x))(batch[:1])
    one = jax.jit(lambda key: estimated_negative_log_likelihood(linear_flow(), batch, key))(
        jax.random.key(0)
    )
    single = jax.jit(jax.vmap(lambda key: linear_flow().log_density(batch[0], key)))
    values = single(jax.random.split(jax.random.key(0), 64))
    np.testing.assert_allclose(one, -jnp.mean(values), rtol=1e-5)
    assert float(jnp.std(values)) > 0.1
    assert float(one) == pytest.approx(float(exact), abs=4 * float(jnp.std(values)) / 8)


def test_a_flow_learns_a_gaussian():
    """To the entropy of what the data are drawn from."""
    data = jnp.array([2.0, -1.0]) + jax.random.normal(jax.random.key(0), (512, 2)) * 0.5
    flow = RealNVP(2, 2, (8,), key=jax.random.key(1))
    flow, history = fit(
        flow, negative_log_likelihood, lambda key: data, optax.adam(2e-2), 200,
        key=jax.random.key(2), chunk=200, progress=False,
    )  # fmt: skip
    entropy = float(np.log(np.linalg.det(np.cov(data.T)))) / 2 + np.log(2 * np.pi) + 1
    assert history.loss[0] > 4 and history.loss[-1] == pytest.approx(entropy, abs=0.03)


def test_vmap_and_jit():
    flow = shaken(RealNVP(2, 2, (8,), key=jax.random.key(0)), 0.3)
    keys = jax.random.split(jax.random.key(3), 3)
    together = eqx.filter_jit(lambda flow: jax.vmap(flow.sample)(keys))(flow)
    np.testing.assert_allclose(together, jnp.stack([flow.sample(key) for key in keys]), rtol=1e-5)


def test_bad_input():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"mask must keep at least one .* got \(True, True\)"):
        AffineCoupling([True, True], key=key)
    with pytest.raises(ValueError, match=r"mask must keep at least one .* got \(False,\)"):
        AffineCoupling([False], key=key)
    with pytest.raises(ValueError, match="limit must be finite and > 0, got 0"):
        AffineCoupling([True, False], limit=0.0, key=key)
    with pytest.raises(ValueError, match="dim must be an integer >= 2, got 1"):
        RealNVP(1, key=key)
    with pytest.raises(ValueError, match="couplings must be an integer >= 1, got 0"):
        RealNVP(2, 0, key=key)
    with pytest.raises(ValueError, match=r"x must have shape \(2,\), got \(3,\)"):
        RealNVP(2, 1, key=key).log_density(jnp.ones(3))
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        ContinuousFlow(lambda x, t, c: x, 2, 0, rk4)
