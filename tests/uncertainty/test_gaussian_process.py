"""Gaussian processes against scikit-learn, and the kernel of molecules against its double sum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit
from jaxpbdl.uncertainty import (
    AtomPairs,
    Gaussian,
    GaussianProcess,
    Molecules,
    condition,
    negative_log_likelihood,
)

pytestmark = pytest.mark.x64


def points(count=30, seed=0):
    x = jax.random.uniform(jax.random.key(seed), (count, 2), minval=-2, maxval=2)
    return x, jnp.sin(2 * x[:, 0]) + x[:, 1] ** 2


def test_agrees_with_scikit_learn():
    process_of = pytest.importorskip("sklearn.gaussian_process")
    kernels = process_of.kernels
    x, y = points()
    amplitude, lengths, noise = 1.7, np.array([0.8, 1.6]), 0.2
    theirs = kernels.ConstantKernel(amplitude**2) * kernels.RBF(lengths)
    theirs = theirs + kernels.WhiteKernel(noise**2)
    oracle = process_of.GaussianProcessRegressor(theirs, alpha=1e-15, optimizer=None).fit(x, y)
    process = GaussianProcess(Gaussian(amplitude, lengths), noise)

    value, slope = oracle.log_marginal_likelihood(oracle.kernel_.theta, eval_gradient=True)
    ours, gradient = jax.jit(jax.value_and_grad(negative_log_likelihood))(process, (x, y))
    np.testing.assert_allclose(-len(y) * ours, value, rtol=1e-10)
    # Theirs is by the logarithm of squares of amplitude and noise.
    kernel = gradient.kernel
    mine = [kernel.log_amplitude / 2, *kernel.log_length, gradient.log_noise / 2]
    np.testing.assert_allclose(-len(y) * np.array(mine), slope, rtol=1e-8)

    queries, _ = points(7, seed=1)
    mean, variance = condition(process, x, y).predict(queries)
    expected, deviation = oracle.predict(queries, return_std=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-9)
    np.testing.assert_allclose(variance + noise**2, deviation**2, rtol=1e-8)
    np.testing.assert_allclose(condition(process, x, y)(queries), mean, rtol=1e-12)


def test_kernels_add_and_multiply():
    """Against scikit-learn, and the diagonal against the whole."""
    kernels = pytest.importorskip("sklearn.gaussian_process").kernels
    x, _ = points(6)
    other, _ = points(4, seed=1)
    smooth, rough, narrow = Gaussian(1.5, 2.0), Gaussian(0.4, 0.3), Gaussian(0.7, [0.5, 1.0])
    kernel = smooth * narrow + rough
    theirs = [
        kernels.ConstantKernel(amplitude**2) * kernels.RBF(length)
        for amplitude, length in ((1.5, 2.0), (0.7, [0.5, 1.0]), (0.4, 0.3))
    ]
    oracle = theirs[0] * theirs[1] + theirs[2]
    np.testing.assert_allclose(kernel(x, other), oracle(x, other), rtol=1e-12)
    np.testing.assert_allclose(kernel.diagonal(x), np.diag(oracle(x)), rtol=1e-12)
    slope = jax.grad(lambda k: jnp.sum(k(x, other)))(kernel)
    assert float(slope.left.right.log_amplitude) != 0
    with pytest.raises(TypeError, match="unsupported operand"):
        smooth + 1.0


def test_the_likelihood_finds_the_noise():
    x, y = points(80)
    y = y + 0.1 * jax.random.normal(jax.random.key(2), y.shape)
    start = GaussianProcess(Gaussian(1.0, jnp.ones(2)), 1.0)
    process, history = fit(
        start, negative_log_likelihood, lambda key: (x, y), optax.adam(0.1), 120,
        key=jax.random.key(0), chunk=120, progress=False,
    )  # fmt: skip
    assert history.loss[-1] < history.loss[0]
    assert float(process.noise) == pytest.approx(0.1, rel=0.3)


def molecules(counts, seed=0, **settings):
    """Random features; molecule `m` has `counts[m]` atoms of elements 1 and 6 in turn."""
    drawn = np.random.default_rng(seed)
    numbers = np.zeros((len(counts), max(counts)), int)
    for row, count in zip(numbers, counts, strict=True):
        row[:count] = np.resize([1, 6, 1], count)
    features = drawn.normal(size=(*numbers.shape, 3))
    return numbers, features, Molecules(numbers, features, (1, 6), **settings)


def double_sum(kernel, first, second):
    amplitude, length = jnp.exp(kernel.log_amplitude), jnp.exp(kernel.log_length)
    gram = np.zeros((len(first[0]), len(second[0])))
    for a, row in enumerate(gram):
        for b in range(len(row)):
            for i, z in enumerate(first[0][a]):
                for j, other in enumerate(second[0][b]):
                    if z and z == other:
                        apart = np.sum((first[1][a, i] - second[1][b, j]) ** 2)
                        row[b] += amplitude**2 * np.exp(-apart / (2 * length**2))
    return gram


@pytest.mark.parametrize("block", [2, 64])
def test_sums_over_pairs_of_atoms(block):
    kernel = AtomPairs(1.3, 0.9)
    first = molecules((3, 1, 4, 2, 5), block=block)
    second = molecules((2, 6, 1), seed=1, block=block)
    found = eqx.filter_jit(kernel)(first[2], second[2])
    np.testing.assert_allclose(found, double_sum(kernel, first, second))
    gram = double_sum(kernel, first, first)
    half, diagonal = eqx.filter_jit(lambda k, x: (k(x, x), k.diagonal(x)))(kernel, first[2])
    np.testing.assert_allclose(half, gram)  # by half of the blocks
    np.testing.assert_allclose(diagonal, np.diag(gram))
    assert np.linalg.eigvalsh(gram).min() > 0


def test_two_molecules_apart_have_the_sum():
    numbers, features, queries = molecules((3, 4, 2))
    together = Molecules(numbers[:2].reshape(1, -1), features[:2].reshape(1, -1, 3), (1, 6))
    kernel = AtomPairs(1.0, 0.7)
    gram = double_sum(kernel, (numbers, features), (numbers, features))
    found = eqx.filter_jit(kernel)(together, queries)
    np.testing.assert_allclose(found[0], gram[0] + gram[1], rtol=1e-12)


def test_a_posterior_goes_through_its_data():
    _, _, known = molecules((3, 4, 2, 5))
    y = jnp.array([1.0, -2.0, 0.5, 3.0])
    posterior = condition(GaussianProcess(AtomPairs(2.0, 0.5), 1e-4), known, y)
    mean, variance = eqx.filter_jit(lambda p, x: p.predict(x))(posterior, known)
    np.testing.assert_allclose(mean, y, atol=1e-5)
    np.testing.assert_allclose(variance, 0, atol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match=r"of \(1, 6\), got \[8\]"):
        Molecules(np.array([[8, 1]]), np.zeros((1, 2, 3)), (1, 6))
    with pytest.raises(ValueError, match="length must be finite and > 0"):
        AtomPairs(1.0, 0.0)
    with pytest.raises(ValueError, match="noise must be finite and > 0"):
        GaussianProcess(Gaussian(), 0.0)
    x, y = points(5)
    with pytest.raises(ValueError, match=r"shape \(4, 4\), got \(5, 5\)"):
        condition(GaussianProcess(Gaussian(), 1.0), x, y[:4])
