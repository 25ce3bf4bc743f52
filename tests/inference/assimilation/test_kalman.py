"""Methods of assimilation in a linear model, where the Kalman filter is the answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.inference.assimilation import (
    Climate,
    CycledFourDVar,
    EnKF,
    FourDVar,
    IEnKS,
    Observations,
    OptimalInterpolation,
    ThreeDVar,
    assimilate,
    finite_size,
    local,
    matrix_free,
    perturbed_observations,
    problem,
    square_root,
    twin_experiment,
)
from tests.inference.assimilation.linear_gaussian import SIZE, deviations, kalman, linear

pytestmark = pytest.mark.x64
KEY = jax.random.key(3)
MEMBERS = 7


@pytest.fixture(scope="module")
def case():
    with jax.enable_x64(True):
        model = linear()
        setting = model.problem()
        return model, setting, twin_experiment(setting, 6, jax.random.key(1))


def as_arrays(analysis):
    """Mean and deviation `(times, n)` of a run with a tree for a state."""
    return [
        np.concatenate([np.asarray(part["a"]).reshape(len(part["b"]), 2), part["b"]], axis=1)
        for part in analysis
    ]


def sample(setting):
    """Mean and covariance of the ensemble that `assimilate` starts from."""
    first = np.asarray(setting.draw(jax.random.split(KEY)[0], MEMBERS))
    return first.mean(axis=0), np.cov(first, rowvar=False)


def test_the_truth_and_its_measurements(case):
    model, setting, twin = case
    (truth,) = as_arrays([twin.truth])
    np.testing.assert_allclose(truth[1:], truth[:-1] @ model.forward.T, rtol=1e-10)
    many = twin_experiment(setting, 300, jax.random.key(2))
    noise = np.asarray(many.observed - jax.vmap(setting.observations.operator)(many.truth))
    deviation = np.sqrt(np.diag(model.errors))
    for values in (noise, np.asarray(setting.observations.draw(KEY, (20000, 3)))):
        apart = (np.cov(values, rowvar=False) - model.errors) / np.outer(deviation, deviation)
        assert np.abs(apart).max() < 5 / np.sqrt(len(values))
    first = np.asarray(setting.draw(KEY, 20000))
    scale = np.sqrt(np.outer(*[np.diag(model.covariance)] * 2))
    apart = (np.cov(first, rowvar=False) - model.covariance) / scale
    assert np.abs(apart).max() < 5 / np.sqrt(20000)
    np.testing.assert_allclose(first.mean(0), model.mean, atol=5 * np.sqrt(scale.max() / 20000))


@pytest.mark.parametrize("rotate", [False, True])
def test_the_square_root_filter(case, rotate):
    """Mean and covariance are those of a Kalman filter that starts from the ensemble's."""
    model, setting, twin = case
    method = EnKF(square_root, MEMBERS, inflation=1.1, rotate=rotate)
    means, covariances = kalman(model, twin.observed, *sample(setting), inflation=1.1)
    mean, deviation = as_arrays(assimilate(method, setting, twin.observed, KEY))
    np.testing.assert_allclose(mean, means, rtol=1e-8)
    np.testing.assert_allclose(deviation, deviations(covariances), rtol=1e-8)


def test_the_whole_covariance_of_one_analysis(case):
    model, setting, twin = case
    observed = setting.observations.scaled(twin.observed[0])
    members, _ = EnKF(square_root, MEMBERS).advance(
        setting, setting.draw(jax.random.split(KEY)[0], MEMBERS), observed, KEY
    )
    means, covariances = kalman(model, twin.observed[:1], *sample(setting))
    np.testing.assert_allclose(members.mean(axis=0), means[0], rtol=1e-8)
    np.testing.assert_allclose(np.cov(members, rowvar=False), covariances[0], rtol=1e-8, atol=1e-10)


def test_perturbed_observations_of_many_members(case):
    """Close to the Kalman filter, as sampling allows: its error falls as one over the root."""
    model, setting, twin = case
    means, covariances = kalman(model, twin.observed, model.mean, model.covariance)
    mean, deviation = as_arrays(
        assimilate(EnKF(perturbed_observations, 1000), setting, twin.observed, KEY)
    )
    expected = deviations(covariances)
    assert np.max(np.abs(mean - means) / expected) < 0.15
    np.testing.assert_allclose(deviation, expected, rtol=0.1)


@pytest.mark.parametrize("lag", [1, 3])
def test_the_iterative_smoother(case, lag):
    model, setting, twin = case
    method = IEnKS(MEMBERS, lag=lag, iterations=2, rotate=True)
    means, covariances = kalman(model, twin.observed, *sample(setting))
    mean, deviation = as_arrays(assimilate(method, setting, twin.observed, KEY))
    np.testing.assert_allclose(mean, means, rtol=1e-7)
    np.testing.assert_allclose(deviation, deviations(covariances), rtol=1e-7)


@pytest.mark.parametrize("lag", [1, 3])
def test_cycled_four_d_var(case, lag):
    model, setting, twin = case
    means, covariances = kalman(model, twin.observed, model.mean, model.covariance)
    mean, deviation = as_arrays(
        assimilate(CycledFourDVar(lag, iterations=1), setting, twin.observed, KEY)
    )
    np.testing.assert_allclose(mean, means, rtol=1e-8)
    np.testing.assert_allclose(deviation, deviations(covariances), rtol=1e-8)


def test_inflation_of_cycled_four_d_var(case):
    model, setting, twin = case
    means, covariances = kalman(model, twin.observed, model.mean, model.covariance, inflation=1.2)
    mean, deviation = as_arrays(
        assimilate(CycledFourDVar(1, iterations=1, inflation=1.2), setting, twin.observed, KEY)
    )
    np.testing.assert_allclose(mean, means, rtol=1e-8)
    np.testing.assert_allclose(deviation, deviations(covariances), rtol=1e-8)


def test_four_d_var_of_a_whole_window(case):
    """With all measurements of a window, its end is the Kalman filter's and its start, which moves
    on, the smoother's: here by normal equations."""
    model, setting, twin = case
    lag = 4
    method = FourDVar(jnp.asarray(model.covariance), lag, iterations=1, overlapping=True)
    observed = twin.observed[:lag]
    means, covariances = kalman(model, observed, model.mean, model.covariance)
    mean, deviation = as_arrays(assimilate(method, setting, observed, KEY))
    np.testing.assert_allclose(mean, means, rtol=1e-8)
    np.testing.assert_allclose(deviation, deviations(covariances), rtol=1e-8)

    advance = jax.jit(lambda memory, y: method.advance(setting, memory, y, KEY)[0])
    memory = method.start(setting, KEY)
    for y in setting.observations.scaled(observed):
        memory = advance(memory, y)
    powers = [np.linalg.matrix_power(model.forward, k + 1) for k in range(lag)]
    weight = np.linalg.inv(model.errors)
    precision = np.linalg.inv(model.covariance)
    right = precision @ model.mean
    for power, y in zip(powers, np.asarray(observed), strict=True):
        seen = model.look @ power
        precision = precision + seen.T @ weight @ seen
        right = right + seen.T @ weight @ y
    smoothed = np.linalg.solve(precision, right)
    np.testing.assert_allclose(memory.start, model.forward @ smoothed, rtol=1e-8)


def test_weak_constraints(case):
    model, setting, twin = case
    lag, noise = 3, 0.3
    method = FourDVar(
        jnp.asarray(model.covariance), lag, iterations=1, overlapping=True,
        model_error=noise * jnp.eye(SIZE),
    )  # fmt: skip
    observed = twin.observed[:lag]
    means, covariances = kalman(model, observed, model.mean, model.covariance, noise=noise)
    mean, deviation = as_arrays(assimilate(method, setting, observed, KEY))
    np.testing.assert_allclose(mean[-1], means[-1], rtol=1e-8)
    np.testing.assert_allclose(deviation[-1], deviations(covariances)[-1], rtol=1e-8)


def test_increments_without_a_jacobian(case):
    model, setting, twin = case
    covariance = jnp.asarray(model.covariance)
    one = FourDVar(covariance, 3, iterations=1)
    other = FourDVar(covariance, 3, iterations=1, increment=matrix_free(SIZE + 2))
    mean, _ = as_arrays(assimilate(one, setting, twin.observed, KEY))
    free, unknown = as_arrays(assimilate(other, setting, twin.observed, KEY))
    np.testing.assert_allclose(free, mean, rtol=1e-7)
    assert np.all(np.isnan(unknown))


def test_static_backgrounds(case):
    """3D-Var: the gain of a constant covariance; optimal interpolation: that of the climate about
    its mean."""
    model, setting, twin = case
    covariance = 0.4 * model.covariance
    gain = (
        covariance
        @ model.look.T
        @ np.linalg.inv(model.look @ covariance @ model.look.T + model.errors)
    )
    left = deviations((covariance - gain @ model.look @ covariance)[None])
    mean, expected = model.mean, []
    for y in np.asarray(twin.observed):
        mean = model.forward @ mean
        mean = mean + gain @ (y - model.look @ mean)
        expected.append(mean)
    found, deviation = as_arrays(
        assimilate(ThreeDVar(jnp.asarray(covariance)), setting, twin.observed, KEY)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(deviation, np.tile(left, (6, 1)), rtol=1e-8)
    climate = Climate(setting.state(jnp.arange(4.0)), jnp.asarray(covariance))
    found, deviation = as_arrays(
        assimilate(OptimalInterpolation(setting, climate), setting, twin.observed, KEY)
    )
    centre = np.arange(4.0)
    expected = centre + (np.asarray(twin.observed) - model.look @ centre) @ gain.T
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(deviation, np.tile(left, (6, 1)), rtol=1e-8)


def test_the_interval(case):
    model, _, twin = case
    setting = model.problem(interval=2)
    means, _ = kalman(model, twin.observed, model.mean, model.covariance, interval=2)
    method = CycledFourDVar(2, iterations=1)
    mean, _ = as_arrays(assimilate(method, setting, twin.observed, KEY))
    np.testing.assert_allclose(mean, means, rtol=1e-8)


def test_a_taper_of_ones_is_the_global_filter(case):
    model, _, twin = case
    observations = Observations(lambda state: state[:3], jnp.array([0.5, 1.0, 2.0]))
    setting = problem(
        lambda state: jnp.asarray(model.forward) @ state, observations, model.mean, model.covariance
    )
    whole = assimilate(EnKF(square_root, MEMBERS), setting, twin.observed, KEY)
    update = local(jnp.ones((SIZE, 3)), observations)
    locally = assimilate(EnKF(update, MEMBERS), setting, twin.observed, KEY)
    np.testing.assert_allclose(locally.mean, whole.mean, rtol=1e-8)
    np.testing.assert_allclose(locally.deviation, whole.deviation, rtol=1e-8)


def test_a_taper_of_one_measurement_each():
    """Values that see their own measurement alone are Kalman filters of one dimension."""
    observations = Observations(lambda state: state, jnp.array([0.5, 1.0]))
    members = jax.random.normal(KEY, (5, 2))
    scaled = observations.scaled(members)
    y = jnp.array([0.3, -0.2])
    update = local(jnp.array([[1.0, 0], [0, 0.25]]), observations)
    found = jax.jit(update.__call__)(members, scaled, observations.scaled(y), KEY)
    for i, error in enumerate((0.5, 1.0 / 0.25)):  # the taper divides the variance of the error
        variance, mean = np.var(members[:, i], ddof=1), np.mean(members[:, i])
        gain = variance / (variance + error)
        assert np.mean(found[:, i]) == pytest.approx(float(mean + gain * (y[i] - mean)))
        assert np.var(found[:, i], ddof=1) == pytest.approx(float((1 - gain) * variance))


def test_finite_size_inflation():
    """The weights are a stationary point of the cost over w that the dual form stands for,
    |d - w S|^2 + (N + 1) c log((1 + 1/N) / c + |w|^2)."""
    key, other = jax.random.split(KEY)
    members = jax.random.normal(key, (5, 6))
    y = 3 * jax.random.normal(other, (6,))
    found = jax.jit(finite_size)(members, members, y, KEY)
    apart = members - members.mean(0)
    weights = np.linalg.lstsq(apart.T, np.asarray(found.mean(0) - members.mean(0)), rcond=None)[0]
    weights = jnp.asarray(weights - weights.mean())

    kept = np.mean(np.linalg.eigvalsh(np.linalg.inv(np.eye(5) + np.asarray(apart @ apart.T) / 4)))
    factor, least = 6 * 0.8 ** (kept / 2), 1.2 / 0.8 ** (kept / 2)

    def cost(w):
        misfit = y - members.mean(0) - w @ apart
        return jnp.sum(misfit**2) + factor * jnp.log(least + jnp.sum(w**2))

    slope = jax.jit(jax.grad(cost))(weights)
    scale = 2 * factor * np.linalg.norm(weights) / (least + np.sum(weights**2))
    assert float(np.linalg.norm(slope - slope.mean()) / scale) < 5e-3
    plain = jax.jit(square_root)(members, members, y, KEY)
    assert np.mean(np.std(found, axis=0)) > 1.02 * np.mean(np.std(plain, axis=0))
