"""Dropout: mean and variance of a linear layer by hand, masks per member and per sample."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit, member
from jaxpbdl.networks import Dense
from jaxpbdl.trainable import trainable
from jaxpbdl.uncertainty import (
    Heteroscedastic,
    Masked,
    dropout_loss,
    dropout_members,
    masked,
    predict,
)

P = 0.3
X = jnp.array([1.0, -2.0, 0.5, 3.0])


def test_mean_and_variance_of_a_linear_layer():
    """Of `sum_j m_j x_j w_j`: the layer itself, and `p / (1 - p) sum_j x_j^2 w_j^2`."""
    layer = Dense((4, 2), key=jax.random.key(0))
    layer = eqx.tree_at(lambda d: d.biases[0], layer, jnp.array([5.0, -1.0]))
    count = 20_000
    members = jax.jit(lambda key: dropout_members(layer, 0.0, key, count, inputs=P))
    found = predict(members(jax.random.key(1)), X)
    variance = P / (1 - P) * np.square(X) @ np.square(layer.weights[0])
    error = np.sqrt(variance / count)
    np.testing.assert_array_less(np.abs(found.mean - layer(X)), 4 * error)
    np.testing.assert_allclose(found.epistemic, variance, rtol=0.05)


@pytest.mark.parametrize("inputs", [0.0, 0.5])
def test_every_layer_has_its_mask(inputs):
    network = Dense((4, 200, 100, 1), key=jax.random.key(0))
    biases = [bias + 0.1 * i for i, bias in enumerate(network.biases, 1)]
    network = eqx.tree_at(lambda one: one.biases, network, type(network.biases)(biases))
    once = masked(network, P, jax.random.key(2), inputs=inputs)
    assert [mask.shape for mask in once.masks] == [(4,), (200,), (100,)]
    for mask in once.masks[1:]:
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / (1 - P))}
        assert np.mean(np.asarray(mask) == 0) == pytest.approx(P, abs=4 * 0.46 / len(mask) ** 0.5)
    assert set(np.unique(once.masks[0])) <= {0, 1 / (1 - inputs)}
    w, b = network.weights, network.biases
    first = np.tanh((X * once.masks[0]) @ w[0] + b[0])
    second = np.tanh((first * once.masks[1]) @ w[1] + b[1])
    np.testing.assert_allclose(once(X), (second * once.masks[2]) @ w[2] + b[2], atol=1e-5)


def test_members_keep_their_masks_and_share_the_weights():
    network = Dense((4, 30, 1), key=jax.random.key(0))
    members = dropout_members(network, P, jax.random.key(3), 6)
    xs = jnp.stack([X, 2 * X])
    apply = lambda model, inputs: jax.vmap(model)(inputs)  # noqa: E731
    found = predict(members, xs, apply).members
    assert found.shape == (6, 2, 1) and len(np.unique(found[:, 0])) == 6
    np.testing.assert_allclose(
        jax.jit(lambda key: predict(dropout_members(network, P, key, 6), xs, apply).members)(
            jax.random.key(3)
        ),
        found,
        rtol=1e-5,
    )
    third = member(members, 2)
    np.testing.assert_array_equal(third.network.weights[0], network.weights[0])
    np.testing.assert_allclose(third(X), found[2, 0], rtol=1e-5)
    marks = trainable(third)
    assert all(jax.tree.leaves(marks.network)) and not any(jax.tree.leaves(marks.masks))


def test_networks_within_a_model():
    """Each with masks of its own."""
    pair = [Dense((4, 64, 2), key=jax.random.key(i)) for i in range(2)]
    model = [Heteroscedastic(network) for network in pair]
    first, second = masked(model, P, jax.random.key(4))
    assert isinstance(first.network, Masked) and isinstance(second.network, Masked)
    assert np.any(first.network.masks[1] != second.network.masks[1])
    assert first(X).variance.shape == (1,)


def test_a_loss_draws_masks_for_each_sample():
    """Its mean over masks is the squared error and the variance of the output."""
    layer = Dense((4, 1), key=jax.random.key(0))
    loss = dropout_loss(lambda model, sample: (model(sample)[0] - 1) ** 2, 0.0, inputs=P)
    variance = P / (1 - P) * float(np.square(X) @ np.square(layer.weights[0])[:, 0])
    expected = float(layer(X)[0] - 1) ** 2 + variance
    same = jnp.tile(X, (20_000, 1))
    # With one mask for all of them the loss would be that of one draw.
    for seed in range(3):
        found = float(loss(layer, same, jax.random.key(seed)))
        assert found == pytest.approx(expected, rel=0.05)


def test_training_with_dropout_is_ridge_regression():
    """In expectation over masks a linear layer minimises `|y - X w|^2 + p / (1 - p) sum_j |X_j|^2
    w_j^2` (Wager, Wang and Liang, NeurIPS 2013)."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(40, 3)) * [1.0, 2.0, 0.5]
    targets = inputs @ [1.0, -1.0, 2.0] + 0.1 * draw.normal(size=40)
    gram = inputs.T @ inputs
    ridge = np.linalg.solve(gram + P / (1 - P) * np.diag(np.diag(gram)), inputs.T @ targets)
    data = jnp.asarray(inputs, float), jnp.asarray(targets, float)
    loss = dropout_loss(lambda model, pair: (model(pair[0])[0] - pair[1]) ** 2, 0.0, inputs=P)
    layer = Dense((3, 1), key=jax.random.key(0))
    frozen = eqx.tree_at(lambda d: d.biases[0], layer, jnp.zeros(1))
    schedule = optax.exponential_decay(0.05, 100, 0.5)
    fitted, _ = fit(
        NoBias(frozen), lambda m, batch, key: loss(m.network, batch, key), lambda key: data,
        optax.adam(schedule), 800, key=jax.random.key(1), progress=False, ema=0.99,
    )  # fmt: skip
    np.testing.assert_allclose(fitted.weights[:, 0], ridge, atol=0.03)
    assert np.max(np.abs(ridge - [1, -1, 2])) > 0.2


class NoBias(eqx.Module):
    """A linear layer whose bias stays zero."""

    weights: jax.Array

    def __init__(self, layer):
        self.weights = layer.weights[0]

    @property
    def network(self):
        layer = Dense((3, 1), key=jax.random.key(0))
        return eqx.tree_at(
            lambda d: (d.weights[0], d.biases[0]), layer, (self.weights, jnp.zeros(1))
        )


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_probabilities_outside_of_their_range(p):
    network = Dense((2, 3, 1), key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\), got"):
        masked(network, p, jax.random.key(0))
    with pytest.raises(ValueError, match=r"inputs must lie in \[0, 1\), got"):
        dropout_members(network, 0.1, jax.random.key(0), 3, inputs=p)


def test_bad_input():
    with pytest.raises(ValueError, match="model must hold at least one Dense, got dict"):
        masked({"a": jnp.ones(2)}, 0.1, jax.random.key(0))
    network = Dense((2, 3, 1), key=jax.random.key(0))
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        dropout_members(network, 0.1, jax.random.key(0), 0)
    # Nothing is switched off: the members are one network.
    with pytest.raises(ValueError, match="copies of one another"):
        predict(dropout_members(network, 0.0, jax.random.key(0), 3), jnp.ones(2))
