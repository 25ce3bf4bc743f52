"""Flow matching with exact velocities: floors, maps of Gaussians, order, posteriors by guidance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.generative import (
    GaussianMixture,
    Guided,
    MatchingLoss,
    TimeDense,
    Waves,
    euler,
    flow_sample,
    heun,
    midpoint,
    rk4,
    transport,
)
from jaxpbdl.learning import fit

FLOOR = 2.0237  # by quadrature, of the toy of the Physics-Based Deep Learning book
MEAN, DEVIATION = 0.8, 0.4


def toy():
    return GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 2.0]], [1.0, 0.5])


def velocity_of(mixture):
    def velocity(x, t, condition):
        return mixture.sample_given(x, t, 1 - t) - mixture.noise_given(x, t, 1 - t)

    return velocity


def gaussian(x, t, condition):
    """The velocity to N(MEAN, DEVIATION^2), whose flow is t MEAN + z sqrt(t^2 v + (1 - t)^2)."""
    variance = (t * DEVIATION) ** 2 + (1 - t) ** 2
    return MEAN + (t * DEVIATION**2 - (1 - t)) / variance * (x - t * MEAN)


def test_the_exact_velocity_has_the_floor_as_its_loss():
    samples = toy().sample(jax.random.key(0), 100_000)
    loss = jax.jit(lambda key: MatchingLoss()(velocity_of(toy()), (samples, None), key))
    assert float(loss(jax.random.key(1))) == pytest.approx(FLOOR, abs=0.03)


def test_sigma_min():
    """To a single point the velocity is known: for the right sigma_min there is no loss."""
    point = jnp.array([1.0, -2.0])

    def velocity(x, t, condition):
        z = (x - t * point) / (1 - 0.9 * t)
        return point - 0.9 * z

    batch = (jnp.tile(point, (50, 1)), None)
    key = jax.random.key(0)
    right, wrong = (
        jax.jit(lambda key, s=s: MatchingLoss(s)(velocity, batch, key))(key) for s in (0.1, 0.2)
    )
    assert float(right) < 1e-9 and float(wrong) > 1e-3


def test_conditions_go_with_their_samples():
    points = jnp.arange(12.0).reshape(4, 3)

    def velocity(x, t, condition):
        point = condition["half"][0] * 2
        return (point - x) / (1 - t)

    @jax.jit
    def found(condition):
        key = jax.random.key(1)
        loss = MatchingLoss()(velocity, (points, {"half": (condition,)}), key)
        return loss, flow_sample(velocity, key, (3,), 7, condition={"half": (condition[2],)})

    right, goal = found(points / 2)
    assert float(right) < 1e-6 and float(found(points[::-1] / 2)[0]) > 1
    np.testing.assert_allclose(goal, points[2], atol=1e-5)


@pytest.mark.x64
@pytest.mark.parametrize("method, order", [(euler, 1), (midpoint, 2), (heun, 2), (rk4, 4)])
def test_order_of_the_samplers(method, order):
    """Of a mixture; that of a Gaussian happens to have a higher order by the midpoint."""
    velocity = velocity_of(GaussianMixture([0.5, 0.5], [[-1.0], [2.0]], [0.6, 0.9]))

    def transported(steps, method):
        run = jax.jit(jax.vmap(lambda z: transport(velocity, z, steps, method, end=0.8)))
        return run(jnp.array([[0.4], [-1.3], [0.9]]))

    exact = transported(100, rk4)
    errors = [float(jnp.abs(transported(n, method) - exact).max()) for n in (20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


@pytest.mark.x64
def test_the_map_of_a_gaussian():
    """t MEAN + z sqrt(t^2 v + (1 - t)^2), at the end and on the way."""
    z = jnp.array([1.3])
    run = jax.jit(lambda z, end: transport(gaussian, z, 40, rk4, end=end), static_argnums=1)
    np.testing.assert_allclose(run(z, 1.0), MEAN + DEVIATION * z, atol=1e-6)
    half = run(z, 0.5)
    np.testing.assert_allclose(half, MEAN / 2 + z * np.hypot(DEVIATION, 1) / 2, atol=1e-6)


@pytest.mark.x64
def test_there_and_back():
    @jax.jit
    def there_and_back(z):
        x = transport(gaussian, z, 32, rk4)
        return transport(gaussian, x, 32, rk4, begin=1.0, end=0.0)

    back = there_and_back(jnp.array([1.3]))
    np.testing.assert_allclose(back, [1.3], rtol=1e-5)


def test_samples_of_a_mixture():
    keys = jax.random.split(jax.random.key(0), 4000)
    velocity = velocity_of(toy())
    draw = jax.jit(jax.vmap(lambda key: flow_sample(velocity, key, (2,), 30, midpoint)))
    samples = np.asarray(draw(keys))
    np.testing.assert_allclose(samples.mean(axis=0), [1.5, 1.0], atol=4 * 1.7 / 4000**0.5)
    # Within the parts 0.625 on average, and 9/4, 3/2 and 1 between them.
    np.testing.assert_allclose(np.cov(samples.T), [[2.875, 1.5], [1.5, 1.625]], atol=0.15)


@pytest.mark.x64
def test_guidance_gives_the_posterior():
    """Of a Gaussian in two dimensions of which the first is measured. The map from noise is
    linear, so its value at zero is the mean and its derivative the deviation; through the sampler
    and the gradient in it."""
    measured, error = 0.1, 0.3
    prior = GaussianMixture([1.0], [[MEAN, MEAN]], [DEVIATION])

    def cost(x, t):
        left = (DEVIATION * (1 - t)) ** 2 / ((t * DEVIATION) ** 2 + (1 - t) ** 2)
        return (x[0] - measured) ** 2 / (2 * (error**2 + left))

    guided = Guided(velocity_of(prior), cost)
    final = jax.jit(lambda z: transport(guided, z, 200, midpoint))
    precision = 1 / DEVIATION**2 + 1 / error**2
    mean = (MEAN / DEVIATION**2 + measured / error**2) / precision
    np.testing.assert_allclose(final(jnp.zeros(2)), [mean, MEAN], atol=3e-3)
    deviations = jax.jit(jax.jacfwd(lambda z: transport(guided, z, 200, midpoint)))(jnp.zeros(2))
    np.testing.assert_allclose(deviations, np.diag([precision**-0.5, DEVIATION]), atol=3e-3)


def test_the_weight_of_guidance():
    def still(x, t, condition):
        return 0 * x

    guided = Guided(still, lambda x, t: 3 * x[0], lambda t: 2 * t)
    found = guided(jnp.zeros(2), jnp.array(0.5))
    np.testing.assert_allclose(found, [-3.0, 0.0])


def test_gradient_through_a_sampler():
    """By the mean of the goal, through loops that are computed again: 1 at the end."""

    def end(mean):
        return transport(lambda x, t, c: (mean - x) / (1.1 - t), jnp.array([0.3]), 20)[0]

    value, slope = jax.jit(jax.value_and_grad(end))(jnp.array(2.0))
    run = jax.jit(end)
    expected = (run(2.01) - run(1.99)) / 0.02
    assert float(slope) == pytest.approx(float(expected), rel=1e-3)
    assert float(slope) > 0.8


def test_vmap_and_jit():
    keys = jax.random.split(jax.random.key(3), 3)
    network = TimeDense(2, (8,), embed=Waves(2), key=jax.random.key(0))

    def draw(network, key):
        return flow_sample(network, key, (2,), 5, heun)

    together = eqx.filter_jit(eqx.filter_vmap(draw, in_axes=(None, 0)))(network, keys)
    one = eqx.filter_jit(draw)
    one_by_one = jnp.stack([one(network, key) for key in keys])
    np.testing.assert_allclose(one_by_one[0], draw(network, keys[0]), rtol=1e-5)
    np.testing.assert_allclose(together, one_by_one, rtol=1e-5)
    assert float(jnp.std(together)) > 0.1


def test_a_network_learns_to_reach_a_point():
    """Which one the condition says; a point can be reached without any loss."""
    points = jnp.array([[1.0, 1.0], [-1.0, 2.0]])
    labels = jnp.array([[0.0], [1.0]])
    network = TimeDense(2, (32, 32), condition=1, key=jax.random.key(0))

    def batches(key):
        which = jax.random.randint(key, (64,), 0, 2)
        return points[which], labels[which]

    network, history = fit(
        network, MatchingLoss(), batches, optax.adam(1e-2), 200,
        key=jax.random.key(1), chunk=200, progress=False,
    )  # fmt: skip
    assert np.mean(history.loss[-30:]) < 0.2 * np.mean(history.loss[:5])
    draw = jax.jit(
        jax.vmap(lambda k, c: flow_sample(network, k, (2,), 20, condition=c), in_axes=(0, None))
    )
    for point, label in zip(points, labels, strict=True):
        samples = draw(jax.random.split(jax.random.key(2), 64), label)
        np.testing.assert_allclose(samples.mean(axis=0), point, atol=0.3)


def test_bad_input():
    with pytest.raises(ValueError, match=r"sigma_min must be in \[0, 1\), got 1"):
        MatchingLoss(1.0)
    with pytest.raises(ValueError, match=r"sigma_min must be in \[0, 1\), got -0.1"):
        MatchingLoss(-0.1)
    with pytest.raises(ValueError, match="steps must be an integer >= 1, got 0"):
        transport(gaussian, jnp.ones(1), 0)
