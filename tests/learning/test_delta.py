"""Delta-learning: gradients through both parts, training of one, the factor of data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import Delta, data_factors, fit
from jaxpbdl.networks import Dense


def square(x):
    return jnp.sum(x**2)


def test_forces_go_through_both_parts():
    model = Delta(square, lambda x: 3.0 * x[0])
    x = jnp.array([1.0, 2.0])
    assert model(x) == 8.0
    np.testing.assert_allclose(jax.grad(model)(x), 2 * x + jnp.array([3.0, 0.0]))


def test_training_leaves_the_baseline_alone():
    first, second = jax.random.split(jax.random.key(0))
    baseline, difference = (Dense((2, 4, 1), key=key) for key in (first, second))
    inputs = jax.random.normal(jax.random.key(1), (8, 2))

    def loss(model, inputs):
        return jnp.mean((jax.vmap(model)(inputs)[:, 0] - 1.0) ** 2)

    trained, history = fit(
        Delta(baseline, difference), loss, lambda key: inputs, optax.adam(1e-2), 50,
        key=jax.random.key(2), progress=False,
    )  # fmt: skip
    assert history.loss[-1] < history.loss[0]
    for old, new in zip(baseline.weights, trained.baseline().weights, strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.allclose(difference.weights[0], trained.difference.weights[0])


def test_data_factor_of_power_laws():
    sizes = np.array([50, 100, 200, 400, 800])
    direct, delta = 30 * sizes**-0.5, 15 * sizes**-0.5
    factors = data_factors(sizes, direct, delta)
    # Half the error at slope 1/2 is four times the data; 400 and 800 lie beyond the curve.
    np.testing.assert_allclose(factors[:3], 4.0)
    assert np.all(np.isnan(factors[3:]))
    np.testing.assert_allclose(data_factors(sizes, direct, direct)[1:], 1.0)
    # A baseline that misleads.
    assert np.all(data_factors(sizes, delta, direct)[3:] < 0.3)


def test_bad_input():
    with pytest.raises(ValueError, match="sizes must be different and rise"):
        data_factors([100, 50], np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="delta must be finite and > 0"):
        data_factors([50, 100], np.ones(2), np.array([1.0, 0.0]))
