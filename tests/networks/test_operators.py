"""Laws of the networks that return fields, and of modules that come from Flax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxpbdl.fields import gradient
from jaxpbdl.learning import Samples, fit, fit_ensemble, member, trainable
from jaxpbdl.networks import DeepONet, FlaxModule, PeriodicFeatures, PODDeepONet, principal_modes

KEY = jax.random.key(0)


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def deeponet(**options):
    return DeepONet(7, 2, 3, branch=(8,), trunk=(9,), rank=5, **options, key=KEY)


def test_deeponet_is_its_formula():
    net, sensors, point = deeponet(), normal(1, (7,)), normal(2, (2,))
    branch = net.branch(sensors).reshape(3, 5)
    expected = [np.dot(row, net.trunk(point)) for row in branch]
    np.testing.assert_allclose(net(sensors)(point), expected, rtol=1e-5)


def test_deeponet_gives_a_field():
    """Its derivatives are those of any field, and points come by vmap."""
    field, points = deeponet()(normal(1, (7,))), normal(2, (4, 2))
    values = jax.vmap(field)(points)
    assert values.shape == (4, 3)
    slope, step = gradient(lambda point: field(point)[0])(points[0]), jnp.asarray([1e-2, 0.0])
    difference = (field(points[0] + step) - field(points[0] - step))[0] / 2e-2
    np.testing.assert_allclose(slope[0], difference, rtol=1e-2, atol=1e-4)


def test_gradient_reaches_every_leaf_of_a_deeponet():
    slopes = eqx.filter_grad(lambda net: jnp.sum(net(normal(1, (7,)))(normal(2, (2,))) ** 2))(
        deeponet()
    )
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(slopes))


def test_principal_modes_span_data_of_low_rank():
    shapes, parts = normal(1, (3, 4, 6)), normal(2, (20, 3))
    data = np.tensordot(parts, shapes, 1) + 1.0
    mean, modes, deviations = principal_modes(data, 3)
    np.testing.assert_allclose(np.einsum("rij,sij->rs", modes, modes) / 24, np.eye(3), atol=1e-5)
    amounts = np.einsum("nij,rij->nr", data - mean, modes) / 24
    np.testing.assert_allclose(np.tensordot(amounts, modes, 1) + mean, data, atol=1e-4)
    np.testing.assert_allclose(amounts.std(0), deviations, rtol=1e-4)
    with pytest.raises(ValueError, match="rank must be at most 20"):
        principal_modes(data, 21)


def test_pod_deeponet_keeps_its_modes_and_learns_the_rest():
    sensors, inner = normal(3, (40, 6)), normal(4, (6, 2))
    data = jnp.tensordot(sensors @ inner, normal(5, (2, 10)), 1)
    net = PODDeepONet(6, *principal_modes(data, 2), branch=(16,), key=KEY)

    def loss(model, pairs):
        return jnp.mean((jax.vmap(model)(pairs[0]) - pairs[1]) ** 2)

    before = loss(net, (sensors, data))
    fitted, _ = fit(
        net, loss, Samples(sensors, data, batch=20), optax.adam(1e-2), 200, key=KEY, progress=False
    )
    assert loss(fitted, (sensors, data)) < 0.05 * before
    for name in ("mean", "modes", "deviations"):
        np.testing.assert_array_equal(getattr(fitted, name).value, getattr(net, name).value)


def test_pod_deeponet_adds_to_the_mean():
    outputs = 5.0 + normal(1, (9, 4))
    net = PODDeepONet(6, *principal_modes(outputs, 2), branch=(8,), key=KEY)
    sensors = normal(2, (6,))
    amounts = net.branch(sensors) * net.deviations()
    expected = np.mean(outputs, 0) + amounts @ net.modes()
    np.testing.assert_allclose(net(sensors), expected, rtol=1e-5)
    assert np.min(np.mean(outputs, 0)) > 3


def test_bad_input():
    with pytest.raises(ValueError, match=r"one vector of shape \(7,\), got shape \(6,\)"):
        deeponet()(jnp.zeros(6))
    with pytest.raises(ValueError, match="rank must be an integer >= 1"):
        DeepONet(7, 2, rank=0, key=KEY)
    with pytest.raises(ValueError, match=r"modes must have shape \(2, 5\), got \(2, 4\)"):
        PODDeepONet(3, jnp.zeros(5), jnp.zeros((2, 4)), jnp.zeros(2), key=KEY)
    with pytest.raises(TypeError, match="instance"):
        FlaxModule(linen.Dense)
    with pytest.raises(ValueError, match="key is needed"):
        FlaxModule(linen.Dense(3), jnp.zeros(2))
    with pytest.raises(ValueError, match="neither sample nor key"):
        FlaxModule(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), jnp.zeros(2))


class Two(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(2, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


def from_linen(key):
    return FlaxModule(
        linen.Sequential([linen.Dense(8), jnp.tanh, linen.Dense(1)]), jnp.zeros(2), key=key
    )


def from_nnx(key):
    return FlaxModule(Two(nnx.Rngs(int(jax.random.key_data(key)[-1]))))


@pytest.mark.parametrize("make", [from_linen, from_nnx])
def test_flax_modules_train_in_fit(make):
    x = normal(1, (64, 2))
    samples = Samples(x, jnp.sin(x[:, :1]) * x[:, 1:], batch=32)

    def loss(model, pairs):
        return jnp.mean((jax.vmap(model)(pairs[0]) - pairs[1]) ** 2)

    net = make(KEY)
    rule, settings = optax.adam(3e-2), {"chunk": 50, "progress": False}
    fitted, history = fit(net, loss, samples, rule, 100, key=KEY, **settings)
    assert history.loss[-10:].mean() < 0.5 * history.loss[:10].mean()
    keys = jax.random.split(KEY, 2)
    stacked, _ = fit_ensemble(make, loss, samples, rule, 20, keys=keys, **settings)
    alone, _ = fit(make(keys[1]), loss, samples, rule, 20, key=keys[1], **settings)
    np.testing.assert_allclose(member(stacked, 1)(x[0]), alone(x[0]), rtol=1e-3, atol=1e-5)


def test_flax_is_the_same_function():
    module = linen.Dense(3)
    variables = module.init(KEY, jnp.zeros(2))
    ours = FlaxModule(module, jnp.zeros(2), key=KEY)
    x = normal(1, (2,))
    np.testing.assert_allclose(ours(x), module.apply(variables, x), rtol=1e-6)
    two = Two(nnx.Rngs(0))
    np.testing.assert_allclose(FlaxModule(two)(x), two(x), rtol=1e-6)


def test_a_period_given_as_an_array_is_trained():
    fixed, free = PeriodicFeatures(0, 2.0), PeriodicFeatures(0, jnp.asarray(2.0))
    point = jnp.array([0.3, 0.7])
    np.testing.assert_allclose(fixed(point), free(point), rtol=1e-6)
    assert jax.tree.leaves(eqx.filter(free, trainable(free)))
    assert not jax.tree.leaves(eqx.filter(fixed, trainable(fixed)))
