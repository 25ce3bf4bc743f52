"""SWAG: moments of given weights by NumPy, the covariance of draws, SGD on a quadratic loss."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl import checks
from jaxpbdl.trainable import Constant
from jaxpbdl.uncertainty import collect, predict, swag


class Model(eqx.Module):
    """Two arrays that are trained, and one that is not."""

    slope: jax.Array
    offset: jax.Array
    scale: Constant

    def __call__(self, x):
        return self.scale() * (self.slope @ x) + self.offset


def model(weights):
    return Model(jnp.asarray(weights[:3], float), jnp.asarray(weights[3], float),
                 Constant(jnp.asarray(2.0)))  # fmt: skip


def iterates(count, seed=0):
    """Weights that move together, far from zero."""
    draw = np.random.default_rng(seed)
    mixing = draw.normal(size=(4, 4))
    return 100 + 0.1 * draw.normal(size=(count, 4)) @ mixing


def flat(tree):
    leaves = np.asarray(tree.slope), np.asarray(tree.offset)[..., None]
    return np.concatenate(leaves, axis=-1).astype(float)


def collected(weights, rank):
    found = collect(model(weights[0]), rank)
    update = eqx.filter_jit(lambda found, m: found.update(m))
    for each in weights[1:]:
        found = update(found, model(each))
    return found


def expected_covariance(weights, rank):
    means = np.cumsum(weights, 0) / np.arange(1, len(weights) + 1)[:, None]
    last = (weights - means)[-rank:]
    return np.diag(weights.var(0)) / 2 + last.T @ last / (2 * (len(last) - 1)), last


@pytest.mark.parametrize("count, rank", [(12, 5), (4, 6)])
def test_moments_of_given_weights(count, rank):
    weights = iterates(count)
    found = collected(weights, rank)
    _, last = expected_covariance(weights, rank)
    assert int(found.count) == count and found.rank == rank
    np.testing.assert_allclose(flat(found.mean), weights.mean(0), rtol=1e-6)
    # In float32 mean squares of 1e4 could not tell this variance.
    np.testing.assert_allclose(flat(found.variance), weights.var(0), rtol=2e-3)
    deviations = flat(found.deviations)
    kept = deviations[np.argsort((np.arange(rank) - count) % rank)][-len(last) :]
    if count < rank:
        kept = deviations[:count]
        np.testing.assert_array_equal(deviations[count:], 0)
    np.testing.assert_allclose(kept, last, atol=1e-4)


@pytest.mark.parametrize("count, rank", [(12, 5), (4, 6)])
def test_draws_have_mean_and_covariance(count, rank):
    weights = iterates(count, 1)
    found = collected(weights, rank)
    covariance, _ = expected_covariance(weights, rank)
    draws = 40_000
    drawn = jax.jit(lambda key: found.sample(key, draws))(jax.random.key(0))
    values = flat(drawn)
    deviation = np.sqrt(np.diag(covariance))
    far = np.abs(values.mean(0) - weights.mean(0))
    np.testing.assert_array_less(far, 4 * deviation / draws**0.5 + 1e-4)
    scaled = (np.cov(values.T) - covariance) / np.outer(deviation, deviation)
    np.testing.assert_allclose(scaled, 0, atol=0.03)
    np.testing.assert_array_equal(drawn.scale.value, np.full(draws, 2.0))
    together = covariance / np.outer(deviation, deviation)
    assert np.max(np.abs(together - np.eye(4))) > 0.2  # what moves together is seen


def test_predict_takes_the_draws():
    found = collected(iterates(6), 3)
    members = found.sample(jax.random.key(1), 5)
    x = jnp.array([1.0, 0.0, -1.0])
    outputs = predict(members, x).members
    slope, offset = np.asarray(members.slope), np.asarray(members.offset)
    np.testing.assert_allclose(outputs, 2 * slope @ x + offset, rtol=1e-5)
    assert len(np.unique(outputs)) == 5


class Place(eqx.Module):
    place: jax.Array


def quadratic(place, target):
    return 0.5 * jnp.sum(CURVATURE * (place.place - target) ** 2)


CURVATURE = jnp.repeat(jnp.array([0.5, 2.0]), 300)
"""Of two groups of numbers."""


@pytest.mark.parametrize("seed", range(3))
def test_a_quadratic_loss_with_noisy_gradients(seed):
    """Steps of size h with gradients `a (w - y)`, y of variance one about 3, have the stationary
    variance `h a / (2 - h a)` about 3."""
    rate, steps, every = 0.3, 2000, 5
    batches = lambda key: 3 + jax.random.normal(key, CURVATURE.shape)  # noqa: E731
    start = Place(jnp.full(CURVATURE.shape, 3.0))
    found = swag(
        start, quadratic, batches, optax.sgd(rate), steps, every, jax.random.key(seed), rank=30
    )
    assert int(found.count) == steps // every
    for group, curvature in ((slice(0, 300), 0.5), (slice(300, 600), 2.0)):
        exact = rate * curvature / (2 - rate * curvature)
        assert float(jnp.mean(found.variance.place[group])) == pytest.approx(exact, rel=0.05)
        assert float(jnp.mean(found.mean.place[group])) == pytest.approx(3, abs=0.02)
        # The directions of the last 30 weights carry the same variance.
        last = float(jnp.mean(found.deviations.place[:, group] ** 2)) * 30 / 29
        assert last == pytest.approx(exact, rel=0.12)


def test_the_loop_collects_what_fit_passes_through():
    """Without noise every weight is known: `w -> w - h a w`."""
    loss = lambda place, batch: 0.5 * jnp.sum(place.place**2)  # noqa: E731
    found = swag(
        Place(jnp.array([1.0, -2.0])), loss, lambda key: None, optax.sgd(0.1), 12, 4,
        jax.random.key(0), rank=2,
    )  # fmt: skip
    weights = np.array([1.0, -2.0]) * 0.9 ** np.array([4, 8, 12])[:, None]
    np.testing.assert_allclose(found.mean.place, weights.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.variance.place, weights.var(0), rtol=1e-4)
    expected = [weights[2] - weights.mean(0), weights[1] - weights[:2].mean(0)]
    np.testing.assert_allclose(found.deviations.place, expected, rtol=1e-4)


def test_a_loss_with_a_key():
    """Different updates see different keys."""

    def loss(place, batch, key):
        return 0.5 * jnp.sum((place.place - jax.random.normal(key, (500,))) ** 2)

    found = swag(
        Place(jnp.zeros(500)), loss, lambda key: None, optax.sgd(1.0), 60, 1, jax.random.key(0)
    )
    # Steps of full length: each weight is the draw itself.
    assert float(jnp.mean(found.variance.place)) == pytest.approx(59 / 60, rel=0.05)


def test_bad_input():
    place = Place(jnp.ones(2))
    loss = lambda place, batch: jnp.sum(place.place**2)  # noqa: E731
    with pytest.raises(ValueError, match="rank must be an integer >= 2, got 1"):
        collect(place, 1)
    with pytest.raises(ValueError, match="at least one trainable array of floats, got none"):
        collect(Constant(jnp.ones(2)))
    with pytest.raises(ValueError, match="at least two models, collected were 1"):
        collect(place).sample(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="model must hold real"):
        collect(Place(jnp.ones(2) * 1j))
    for steps, every in ((10, 4), (4, 4)):
        with pytest.raises(ValueError, match=f"steps must be a multiple .* {steps} and {every}"):
            swag(place, loss, lambda key: None, optax.sgd(0.1), steps, every, jax.random.key(0))
    with pytest.raises(checks.BlowUp, match="not finite at update"):
        swag(place, loss, lambda key: None, optax.sgd(1e30), 20, 2, jax.random.key(0))
