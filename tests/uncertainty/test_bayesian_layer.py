"""The last layer: against Bayesian linear regression of scikit-learn and by its formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge

from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import last_layer

pytestmark = pytest.mark.x64


@pytest.fixture
def regression():
    """A network as it starts, inputs, and noisy targets."""
    network = Dense((2, 6, 1), key=jax.random.key(0))
    network = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_array(leaf) else leaf, network)
    x = jax.random.normal(jax.random.key(1), (60, 2))
    noise = 0.3 * jax.random.normal(jax.random.key(2), (60, 1))
    return network, x, jnp.sin(2 * x[:, :1]) + noise


def features(network, x):
    hidden = np.tanh(np.asarray(x) @ network.weights[0] + network.biases[0])
    return np.concatenate([hidden, np.ones((len(x), 1))], 1)


def test_it_is_bayesian_linear_regression(regression):
    """With noise and precision found by the evidence, as scikit-learn finds them."""
    network, x, y = regression
    found = last_layer(network, x, y)
    peer = BayesianRidge(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, fit_intercept=False, tol=1e-12, max_iter=5000
    ).fit(features(network, x), np.asarray(y)[:, 0])
    assert float(found.noise) == pytest.approx(peer.alpha_**-0.5, rel=1e-3)
    assert float(found.precision) == pytest.approx(peer.lambda_, rel=1e-2)
    new = jax.random.normal(jax.random.key(3), (5, 2))
    normal, epistemic = jax.vmap(found.predict)(new)
    mean, deviation = peer.predict(features(network, new), return_std=True)
    np.testing.assert_allclose(normal.mean[:, 0], mean, rtol=1e-3)
    np.testing.assert_allclose(normal.variance[:, 0], deviation**2, rtol=1e-2)
    np.testing.assert_allclose(epistemic + found.noise**2, normal.variance)


def test_given_noise_and_precision(regression):
    network, x, y = regression
    found = last_layer(network, x, y, noise=0.5, precision=2.0)
    known = features(network, x)
    precision = 2.0 * np.eye(7) + known.T @ known / 0.25
    np.testing.assert_allclose(
        found.mean, np.linalg.solve(precision, known.T @ y / 0.25), rtol=1e-8
    )
    np.testing.assert_allclose(found.factor @ found.factor.T, precision, rtol=1e-8)
    np.testing.assert_allclose(found(x[0]), known[0] @ found.mean, rtol=1e-10)


def test_it_is_surer_where_data_are(regression):
    network, x, y = regression
    found = last_layer(network, x, y)
    near, far = (float(found.predict(point)[1][0]) for point in (jnp.zeros(2), jnp.full(2, 5.0)))
    assert far > 3 * near


def test_bad_input(regression):
    network, x, y = regression
    with pytest.raises(ValueError, match="at least one, got 60 and 59"):
        last_layer(network, x, y[1:])
    with pytest.raises(ValueError, match="noise must be finite and > 0, got 0"):
        last_layer(network, x, y, noise=0.0)
