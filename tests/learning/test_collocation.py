"""Means in chunks are the plain means, with their gradients; weights; the quasi-Newton method."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl import fields, learning
from jaxpbdl.networks import Chain, Constant, Dense, FourierFeatures

KEY = jax.random.key(0)
BOX = fields.Box((-1.0, 0.0), (1.0, 1.0))


class Scaled(eqx.Module):
    """A function with an array of its own."""

    factor: jax.Array

    def __call__(self, model, point):
        return self.factor * jnp.sum(model(point) ** 2)


@pytest.mark.x64
@pytest.mark.parametrize("count, chunk", [(10, 256), (100, 7), (64, 16), (1, 1)])
@pytest.mark.parametrize("shared", [False, True])
def test_mean_and_gradient_do_not_depend_on_chunks_or_devices(count, chunk, shared):
    model, points = Dense((2, 5, 3), key=KEY), fields.uniform(KEY, BOX, count)
    weights = jnp.linspace(0.5, 2.0, count)
    function = Scaled(jnp.asarray(3.0))

    def chunked(model):
        mesh = jp.distributed.mesh("points") if shared else None
        return learning.mean_over(function, model, points, weights=weights, chunk=chunk, mesh=mesh)

    def plain(model):
        return jnp.mean(weights * jax.vmap(lambda p: function(model, p))(points))

    expected, gradient = eqx.filter_value_and_grad(plain)(model)
    value, ours = eqx.filter_jit(eqx.filter_value_and_grad(chunked))(model)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(chunked(model), expected, rtol=1e-13)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


@pytest.mark.x64
def test_residual_loss_of_a_solution_vanishes_and_reaches_the_parameter():
    """u = x / (1 + t) solves Burgers' equation at any viscosity."""
    points = fields.uniform(KEY, BOX, 20)
    field = lambda p: p[0] / (1 + p[1])  # noqa: E731
    assert learning.residual_loss(jp.equations.Burgers(0.1), field, points) < 1e-28
    wave = lambda p: jnp.sin(p[0]) * jnp.exp(-p[1])  # noqa: E731
    of_viscosity = lambda nu: learning.residual_loss(  # noqa: E731
        jp.equations.AdvectionDiffusion(diffusivity=nu), wave, points, chunk=6
    )
    assert of_viscosity(1.0) < 1e-28
    slope = jax.grad(of_viscosity)(0.5)
    ahead, behind = of_viscosity(0.5 + 1e-5), of_viscosity(0.5 - 1e-5)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-7)
    sizes = learning.residual_at(jp.equations.Burgers(0.1), wave, points, chunk=6)
    assert sizes.shape == (20,) and float(jnp.min(sizes)) >= 0


@pytest.mark.x64
def test_causal_weights_follow_the_definition():
    times = jnp.array([0.0, 0.1, 0.5, 0.6, 1.0, 0.9])
    squared = jnp.array([1.0, 3.0, 5.0, 7.0, 1.0, 1.0])
    weights = learning.causal_weights(squared, times, bins=2, tolerance=0.5)
    # Bin [0, 1/2) has mean 2; the others come after it.
    np.testing.assert_allclose(weights, [1, 1, *[np.exp(-0.5 * 2)] * 4])
    assert jnp.all(learning.causal_weights(squared, times, 3, 0.0) == 1)


@pytest.mark.x64
@pytest.mark.parametrize("by", ["gradient", "kernel"])
def test_balanced_terms_pull_equally(by):
    model = Dense((2, 4, 1), key=KEY)
    points = fields.uniform(KEY, BOX, 10)
    values = lambda model: jax.vmap(model)(points)[:, 0]  # noqa: E731
    size = (lambda v: jnp.mean(v**2)) if by == "gradient" else (lambda v: v)
    terms = [lambda m: size(values(m)), lambda m: 100 * size(values(m))]
    weights = learning.balance(terms, model, by)
    np.testing.assert_allclose(jnp.mean(weights), 1)
    np.testing.assert_allclose(weights[0] / weights[1], 100 if by == "gradient" else 1e4)


def test_ascent_reverses_the_gradient():
    value, slope = jax.value_and_grad(lambda w: 3 * learning.ascent(w))(2.0)
    assert (value, slope) == (6.0, -3.0)


def test_constants_are_not_trained():
    model = (FourierFeatures(2, 3, key=KEY), Dense((6, 1), key=KEY))
    mask = learning.trainable(model)
    assert mask[0].frequencies.value is False and mask[1].weights[0] is True
    assert learning.trainable(Constant(jnp.ones(2))).value is False


@pytest.mark.x64
def test_quasi_newton_on_rosenbrock():
    """From the classic start to the minimum; Adam is nowhere near after as many updates."""

    def banana(x, batch):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    start = jnp.array([-1.2, 1.0, -1.2, 1.0])
    batches = learning.PerChunk(lambda key, model: None)
    options = dict(steps=120, key=KEY, chunk=30, progress=False)
    ours, history = learning.fit(start, banana, batches, learning.quasi_newton(), **options)
    adam, _ = learning.fit(start, banana, batches, optax.adam(1e-2), **options)
    assert banana(ours, None) < 1e-18 and banana(adam, None) > 0.1
    assert np.all(np.diff(history.loss) <= 1e-15)


@pytest.mark.x64
@pytest.mark.parametrize("factor", [2.0**20, 2.0**-30, 1e4])
def test_quasi_newton_does_not_depend_on_the_scale_of_the_loss(factor):
    """Not on a power of two at all, on other factors up to rounding at first; no step rises."""
    x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    batches = learning.PerChunk(lambda key, model: None)

    def fitted(factor):
        def loss(model, batch):
            return factor * jnp.mean((jax.vmap(model)(x) - jnp.sin(6 * x)) ** 2)

        start = Dense((1, 12, 12, 1), key=KEY)
        return (
            learning.fit(
                start, loss, batches, learning.quasi_newton(), 60, key=KEY, chunk=30, progress=False
            )[1].loss
            / factor
        )

    plain, scaled = fitted(1.0), fitted(factor)
    same = slice(None) if np.log2(factor) % 1 == 0 else slice(10)
    np.testing.assert_allclose(scaled[same], plain[same], rtol=1e-6)
    assert np.all(np.diff(scaled) <= 0) and scaled[-1] < 1e-2 * scaled[0]


@pytest.mark.x64
def test_quasi_newton_names_line_searches_that_fail():
    """A gradient of the wrong sign promises what is not there: nothing is taken, and that is
    said."""

    @jax.custom_vjp
    def lying(x):
        return jnp.sum(x**2)

    lying.defvjp(lambda x: (lying(x), x), lambda x, slope: (-2 * slope * x,))
    start = jnp.array([1.0, -2.0])
    with pytest.warns(UserWarning, match="in 5 of 5 updates the line search found no smaller loss"):
        end, history = learning.fit(
            start, lambda x, batch: lying(x), learning.PerChunk(lambda key, model: None),
            learning.quasi_newton(), 5, key=KEY, chunk=5, progress=False,
        )  # fmt: skip
    assert np.array_equal(end, start) and np.all(history.loss == 5.0)


@pytest.mark.x64
def test_a_batch_per_chunk_sees_the_model():
    """The batch of a chunk is the model at its start, so each chunk walks half of what is left."""
    loss = lambda x, batch: (x - 0.5 * batch) ** 2  # noqa: E731
    batches = learning.PerChunk(lambda key, model: model)
    final, _ = learning.fit(
        jnp.asarray(8.0), loss, batches, optax.sgd(0.5), 6, key=KEY, chunk=2, progress=False
    )
    np.testing.assert_allclose(final, 1.0)


def test_bad_input():
    model = Dense((2, 1), key=KEY)
    scalar = lambda model, point: model(point)[0]  # noqa: E731
    with pytest.raises(ValueError, match="at least one point"):
        learning.mean_over(scalar, model, jnp.zeros((0, 2)))
    with pytest.raises(ValueError, match="function must return a scalar at a point"):
        learning.mean_over(lambda model, point: model(point), model, jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="weights must have shape"):
        learning.mean_over(scalar, model, jnp.zeros((3, 2)), weights=jnp.ones(2))
    with pytest.raises(ValueError, match="chunk must be"):
        learning.mean_over(scalar, model, jnp.zeros((3, 2)), chunk=0)
    with pytest.raises(ValueError, match="by must be 'gradient' or 'kernel'"):
        learning.balance([scalar], model, "size")


def test_a_field_may_be_a_lambda_that_closes_over_the_network():
    network = Dense((2, 8, 1), key=jax.random.key(0))
    points = jax.random.uniform(jax.random.key(1), (50, 2))
    equation = jp.equations.Burgers(0.1)

    def hidden(network):
        return learning.residual_loss(equation, lambda p: network(p)[0], points)

    def shown(network):
        return learning.residual_loss(equation, Chain(network, lambda value: value[0]), points)

    ours, theirs = (jax.jit(jax.value_and_grad(loss))(network) for loss in (hidden, shown))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_field_of_other_size_is_refused():
    points = jnp.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"GrayScott judges fields .*\(2,\).* \(3,\)"):
        learning.residual_loss(jp.equations.GrayScott(), lambda p: jnp.ones(3) * p[0], points)
    with pytest.raises(ValueError, match="Burgers judges fields"):
        learning.residual_at(jp.equations.Burgers(), lambda p: p, points)
    field = lambda p: jnp.ones(4) * p[0]  # noqa: E731
    flow = jp.equations.NavierStokes3D(0.1)
    assert learning.residual_loss(flow, field, jnp.full((2, 4), 0.5)) >= 0
