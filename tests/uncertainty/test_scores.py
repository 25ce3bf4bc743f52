"""Scores: against scoringrules, uncertainty-toolbox and their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from scipy import integrate, stats
from uncertainty_toolbox.metrics_calibration import root_mean_squared_calibration_error

from jaxpbdl.uncertainty import (
    calibration_curve,
    calibration_error,
    covered,
    energy_score,
    ensemble_crps,
    gaussian_crps,
    gaussian_nll,
    gaussian_pit,
    interval_score,
    rank_histogram,
    spread_skill,
)

DRAW = np.random.default_rng(0)
MEAN, TRUTH = DRAW.normal(size=(2, 40)).astype(np.float32)
DEVIATION = DRAW.uniform(0.3, 2.0, 40).astype(np.float32)
MEMBERS = (MEAN + DEVIATION * DRAW.normal(size=(7, 40))).astype(np.float32)


def arrays(*values):
    return tuple(jnp.asarray(value) for value in values)


def test_scores_of_a_normal_distribution():
    mean, deviation, truth = arrays(MEAN, DEVIATION, TRUTH)
    expected = -stats.norm(MEAN, DEVIATION).logpdf(TRUTH)
    np.testing.assert_allclose(gaussian_nll(mean, deviation**2, truth), expected, rtol=1e-5)
    expected = scoringrules.crps_normal(TRUTH, MEAN, DEVIATION)
    np.testing.assert_allclose(gaussian_crps(mean, deviation, truth), expected, rtol=1e-5)
    expected = stats.norm(MEAN, DEVIATION).cdf(TRUTH)
    np.testing.assert_allclose(gaussian_pit(mean, deviation, truth), expected, rtol=1e-5)


def test_scores_of_an_ensemble():
    members, truth = arrays(MEMBERS, TRUTH)
    for fairness, estimator in ((0.0, "nrg"), (1.0, "fair")):
        expected = scoringrules.crps_ensemble(TRUTH, MEMBERS.T, estimator=estimator)
        found = ensemble_crps(members, truth, fairness=fairness)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    fields, field = MEMBERS.reshape(7, 8, 5), TRUTH.reshape(8, 5)
    expected = scoringrules.es_ensemble(TRUTH, MEMBERS, estimator="fair")
    assert float(energy_score(*arrays(fields, field))) == pytest.approx(float(expected), rel=1e-5)
    expected = scoringrules.interval_score(TRUTH, MEAN - DEVIATION, MEAN + DEVIATION, 0.2)
    found = interval_score(*arrays(MEAN - DEVIATION, MEAN + DEVIATION, TRUTH), 0.8)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_almost_fair_score_lies_between():
    members, truth = arrays(MEMBERS, TRUTH)
    plain, almost, fair = (ensemble_crps(members, truth, fairness=f) for f in (0.0, 0.95, 1.0))
    np.testing.assert_allclose(almost, 0.05 * plain + 0.95 * fair, rtol=1e-4, atol=1e-6)


def test_the_fair_score_judges_the_distribution():
    """Its expectation over ensembles is the score of the distribution that they are drawn from."""
    draws = jax.random.normal(jax.random.key(0), (3, 40_000))
    found = jnp.mean(ensemble_crps(draws, jnp.full(40_000, 0.7)))
    exact = gaussian_crps(jnp.array(0.0), jnp.array(1.0), jnp.array(0.7))
    assert float(found) == pytest.approx(float(exact), abs=0.008)


@pytest.mark.x64
def test_gradients_of_the_ensemble_score():
    members, truth = jnp.asarray(MEMBERS[:, :3], float), jnp.asarray(TRUTH[:3], float)
    gradient = jax.grad(lambda m: jnp.sum(ensemble_crps(m, truth, fairness=0.9)))(members)
    change = 1e-6 * np.eye(7 * 3).reshape(21, 7, 3)
    value = lambda m: np.sum(ensemble_crps(jnp.asarray(m), truth, fairness=0.9))  # noqa: E731
    slopes = [(value(members + one) - value(members - one)) / 2e-6 for one in change]
    np.testing.assert_allclose(gradient.reshape(-1), slopes, atol=1e-6)


def test_spread_equals_skill_where_the_truth_could_be_a_member():
    """Along time: calibrated first, then half as wide as it should be."""
    key, noise = jax.random.split(jax.random.key(1))
    centre = jax.random.normal(key, (2000, 2))
    drawn = jax.random.normal(noise, (6, 2000, 2))
    members = centre + drawn[:5] * jnp.array([1.0, 0.5])
    truth = centre + drawn[5]
    found = spread_skill(members, truth, axis=0)
    assert float(found[0]) == pytest.approx(1.0, abs=0.05)
    exact = np.sqrt(6 / 5 * 0.25 / (1 + 0.25 / 5))
    assert float(found[1]) == pytest.approx(exact, abs=0.03)


def test_the_rank_histogram():
    members = jnp.array([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    counts = rank_histogram(members, jnp.array([-1.0, 0.5, 2.0]), jax.random.key(0))
    np.testing.assert_array_equal(counts, [1, 1, 1])
    ties = rank_histogram(jnp.zeros((2, 3000)), jnp.zeros(3000), jax.random.key(0))
    np.testing.assert_allclose(ties / 3000, 1 / 3, atol=0.03)


def test_calibration():
    mean, deviation, truth = arrays(MEAN, DEVIATION, TRUTH)
    transform = gaussian_pit(mean, deviation, truth)
    levels = np.linspace(0.0, 1.0, 100)[1:-1]
    inside = [np.abs(TRUTH - MEAN) <= DEVIATION * stats.norm.ppf(0.5 + p / 2) for p in levels]
    np.testing.assert_allclose(calibration_curve(transform, levels), np.mean(inside, 1), atol=1e-6)
    # uncertainty-toolbox counts the levels 0 and 1, where there is no error.
    peer = root_mean_squared_calibration_error(MEAN, DEVIATION, TRUTH, num_bins=100)
    found = calibration_error(transform, 98) * np.sqrt(98 / 100)
    assert float(found) == pytest.approx(peer, rel=0.03)


def test_covered_along_an_axis():
    truth = jnp.array([[0.0, 2.0], [1.0, 5.0]])
    np.testing.assert_allclose(
        covered(jnp.zeros((2, 2)), jnp.full((2, 2), 2.0), truth, axis=0), [1.0, 0.5]
    )


def test_the_score_of_a_normal_is_the_integral():
    """`int (F(x) - 1[x >= y])^2 dx`, the definition."""
    step = lambda x: (stats.norm(0.3, 1.7).cdf(x) - (x >= 1.1)) ** 2  # noqa: E731
    exact = integrate.quad(step, -20, 20, points=[1.1])[0]
    found = gaussian_crps(jnp.array(0.3), jnp.array(1.7), jnp.array(1.1))
    assert float(found) == pytest.approx(exact, rel=1e-5)


def test_bad_input():
    one, truth = jnp.zeros((1, 3)), jnp.zeros(3)
    for score in (ensemble_crps, energy_score, spread_skill):
        with pytest.raises(ValueError, match="at least two members, got 1"):
            score(one, truth)
    with pytest.raises(ValueError, match=r"fairness must lie in \[0, 1\], got 2"):
        ensemble_crps(jnp.zeros((2, 3)), truth, fairness=2.0)
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1, got 1.0"):
        interval_score(truth, truth, truth, 1.0)
    with pytest.raises(ValueError, match="levels must lie between 0 and 1"):
        calibration_curve(truth, [0.5, 1.2])
