"""What an ensemble predicts: the law of total variance, any model, any tree, bad members."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import stack
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import Heteroscedastic, Normal, Prediction, batch, beta_nll, predict
from jaxpbdl.uncertainty.scores import gaussian_nll


def networks(count, outputs, key=0):
    keys = jax.random.split(jax.random.key(key), count)
    return [Dense((3, 8, outputs), key=one) for one in keys]


POINTS = jax.random.normal(jax.random.key(9), (5, 3))


def test_members_without_noise():
    models = networks(4, 2)
    found = predict(stack(models), POINTS, batch)
    outputs = np.stack([jax.vmap(model)(POINTS) for model in models])
    np.testing.assert_allclose(found.members, outputs, rtol=1e-6)
    np.testing.assert_allclose(found.mean, outputs.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.epistemic, outputs.var(0), rtol=1e-4)
    np.testing.assert_array_equal(found.aleatoric, 0 * outputs[0])


def test_both_parts_are_the_variance_of_the_mixture():
    """Of many samples, each of one member with its noise."""
    models = stack([Heteroscedastic(model) for model in networks(3, 2)])
    found = predict(models, POINTS[0])
    single = [
        eqx.combine(*eqx.partition(m, eqx.is_array))(POINTS[0]) for m in jp.learning.members(models)
    ]
    np.testing.assert_allclose(
        found.aleatoric, np.mean([one.variance for one in single], 0), rtol=1e-5
    )
    samples = jax.vmap(found.sample)(jax.random.split(jax.random.key(0), 40_000))
    np.testing.assert_allclose(samples.mean(0), found.mean, atol=0.03)
    np.testing.assert_allclose(samples.var(0), found.variance, rtol=0.05)
    assert np.all(np.asarray(found.deviation) ** 2 == pytest.approx(np.asarray(found.variance)))


def test_a_sample_is_of_one_member():
    """Values of one output belong together: constants stay constant."""
    levels = jnp.arange(3.0)[:, None, None] * jnp.ones((3, 4, 4))
    sample = Prediction({"u": levels, "v": -levels}).sample(jax.random.key(1))
    assert np.ptp(sample["u"]) == 0
    np.testing.assert_array_equal(sample["u"], -sample["v"])


def test_an_ensemble_of_solvers():
    """Parameters of an equation as members: a rollout of each, in a tree."""
    grid = jp.grids.Periodic(16)

    def solver(viscosity):
        return jp.solvers.spectral.semilinear(jp.equations.Burgers(viscosity), grid, 0.01)

    start = jnp.sin(grid.coordinates[0]) if hasattr(grid, "coordinates") else jnp.ones(16)
    members = stack([solver(viscosity) for viscosity in (0.01, 0.05, 0.1)])

    def forecast(step, state):
        return {"end": jp.rollout(step, state, 5)[-1]}

    found = predict(members, start, forecast)
    for index, viscosity in enumerate((0.01, 0.05, 0.1)):
        alone = jp.rollout(solver(viscosity), start, 5)[-1]
        np.testing.assert_allclose(found.members["end"][index], alone, rtol=1e-5, atol=1e-6)
    assert found.mean["end"].shape == start.shape
    assert float(jnp.max(found.epistemic["end"])) > 1e-8


def test_jit_and_vmap():
    models = stack([Heteroscedastic(model) for model in networks(3, 2)])
    found = predict(models, POINTS, batch)
    jitted = eqx.filter_jit(predict)(models, POINTS, batch)
    np.testing.assert_allclose(jitted.variance, found.variance, rtol=1e-5)
    one_by_one = jax.vmap(lambda x: predict(models, x).variance)(POINTS)
    np.testing.assert_allclose(one_by_one, found.variance, rtol=1e-5)


def test_the_head_and_its_loss():
    truth = jnp.array([0.4, -1.0])
    given = Normal(jnp.array([0.1, 0.2]), jnp.array([0.5, 2.0]))
    likelihood = gaussian_nll(*given, truth)
    assert float(beta_nll(given, truth, 0.0)) == pytest.approx(float(jnp.mean(likelihood)))

    def slopes(beta):
        return jax.grad(lambda mean: beta_nll(Normal(mean, given.variance), truth, beta))(
            given.mean
        )

    # With beta = 1 an error counts alike whatever the variance.
    np.testing.assert_allclose(slopes(1.0), (given.mean - truth) / 2, rtol=1e-6)
    np.testing.assert_allclose(slopes(0.0), (given.mean - truth) / 2 / given.variance, rtol=1e-6)
    head = Heteroscedastic(lambda x: jnp.array([1.0, 2.0, -100.0, 0.0]), floor=0.25)
    mean, variance = head(POINTS[0])
    np.testing.assert_allclose(mean, [1.0, 2.0])
    np.testing.assert_allclose(variance, [0.25, 0.25 + np.log(2)], rtol=1e-6)


def test_bad_members():
    models = networks(2, 1)
    with pytest.raises(ValueError, match="at least two members along axis 0 of its arrays, got 1"):
        predict(stack(models[:1]), POINTS[0])
    with pytest.raises(ValueError, match="the 2 members are copies of one another"):
        predict(stack([models[0], models[0]]), POINTS[0])
    broken = eqx.tree_at(lambda m: m.biases[0], models[1], jnp.full(8, jnp.nan))
    with pytest.raises(ValueError, match=r"members \[1\] of 2 predict values that are not finite"):
        predict(stack([models[0], broken]), POINTS[0])
    with pytest.raises(
        ValueError, match=r"an even number along its first axis, got the shape \(3,"
    ):
        Heteroscedastic(networks(1, 3)[0])(POINTS[0])
    with pytest.raises(ValueError, match="floor must be finite and > 0, got 0"):
        Heteroscedastic(models[0], floor=0.0)
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\], got -1"):
        beta_nll(Normal(jnp.zeros(1), jnp.ones(1)), jnp.zeros(1), -1.0)
