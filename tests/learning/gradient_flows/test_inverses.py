"""Half-inverse gradients against a singular value decomposition, and losses that carry updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.learning.gradient_flows import (
    half_inverse,
    half_inverse_loss,
    scale_invariant_loss,
)
from jaxpbdl.networks import Dense


@pytest.mark.x64
@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0])
def test_against_the_decomposition(power):
    generator = np.random.default_rng(0)
    jacobian, gradient = generator.normal(size=(5, 9)), generator.normal(size=5)
    u, s, vt = np.linalg.svd(jacobian, full_matrices=False)
    expected = vt.T @ (s**-power * (u.T @ gradient))
    found = half_inverse(jnp.asarray(jacobian), jnp.asarray(gradient), power=power)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if power == -1:
        np.testing.assert_allclose(expected, jacobian.T @ gradient, rtol=1e-9)
    if power == 1:
        np.testing.assert_allclose(expected, np.linalg.pinv(jacobian) @ gradient, rtol=1e-9)


@pytest.mark.x64
def test_small_singular_values_are_left_out():
    generator = np.random.default_rng(1)
    u, _, vt = np.linalg.svd(generator.normal(size=(3, 4)), full_matrices=False)
    s = np.asarray([2.0, 1e-1, 1e-3])
    jacobian, gradient = jnp.asarray((u * s) @ vt), jnp.asarray(generator.normal(size=3))
    for truncation, count in ((1e-4, 3), (1e-2, 2), (0.1, 1)):
        kept = np.where(np.arange(3) < count, s**-0.5, 0)
        np.testing.assert_allclose(
            half_inverse(jacobian, gradient, truncation),
            vt.T @ (kept * (u.T @ gradient)),
            rtol=1e-6,
        )
    assert np.all(np.asarray(half_inverse(jnp.zeros((2, 3)), jnp.ones(2))) == 0)


@pytest.mark.x64
def test_a_loss_that_carries_the_half_inverse_gradient():
    network = Dense((2, 3, 2), key=jax.random.key(0))
    batch = jax.random.normal(jax.random.key(1), (4, 2))

    def output(network, sample):
        return network(sample) * 3

    def misfit(outputs, batch):
        return jnp.mean(jnp.sum((outputs - batch) ** 2, axis=1))

    loss = half_inverse_loss(output, misfit)
    value, found = jax.jit(jax.value_and_grad(loss))(network, batch)
    flat, unravel = jax.flatten_util.ravel_pytree(network)

    def all_outputs(flat):
        return jnp.stack([output(unravel(flat), sample) for sample in batch]).ravel()

    outputs = all_outputs(flat)
    assert value == pytest.approx(float(misfit(outputs.reshape(4, 2), batch)))
    gradient = 2 * (outputs - batch.ravel()) / 4
    u, s, vt = np.linalg.svd(jax.jacrev(all_outputs)(flat), full_matrices=False)
    expected = vt.T @ (s**-0.5 * (u.T @ gradient))
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(found)[0], expected, rtol=1e-7)


@pytest.mark.x64
def test_a_loss_that_follows_an_inverse_simulator():
    """Of y = x^3 the inverse takes half of the way in y."""
    network, batch = Dense((1, 4, 1), key=jax.random.key(0)), jnp.asarray([[0.3], [0.9], [1.5]])

    def prediction(network, batch):
        return jax.vmap(network)(batch) + 1

    def inverse(x, batch):
        return jnp.cbrt((x**3 + batch) / 2)

    def misfit(x, batch):
        return jnp.mean((x**3 - batch) ** 2)

    loss = scale_invariant_loss(prediction, inverse, misfit)
    value, found = jax.value_and_grad(loss)(network, batch)
    x = prediction(network, batch)
    assert value == pytest.approx(float(misfit(x, batch)))
    target = np.asarray(inverse(x, batch))

    def proxy(network):
        return jnp.sum((prediction(network, batch) - target) ** 2) / 2 / 3

    expected = jax.grad(proxy)(network)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), found, expected)
    with pytest.raises(ValueError, match="inverse.* must have shape"):
        scale_invariant_loss(prediction, lambda x, batch: x[:1], misfit)(network, batch)


def test_bad_input():
    for make in (half_inverse, half_inverse_loss):
        first = (jnp.ones((1, 2)), jnp.ones(1)) if make is half_inverse else (abs, abs)
        with pytest.raises(ValueError, match=r"truncation must be in \[0, 1\), got 1"):
            make(*first, truncation=1.0)
        with pytest.raises(ValueError, match=r"power must be in \[-1, 1\], got 2"):
            make(*first, power=2.0)
