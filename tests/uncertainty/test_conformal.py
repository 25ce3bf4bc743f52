"""Conformal quantiles and intervals: the rank by its definition, the coverage by repetition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.uncertainty import (
    adaptive_bounds,
    conformal_band,
    conformal_interval,
    conformal_quantile,
    jackknife_plus,
    quantile_interval,
)


@pytest.mark.parametrize("count, rank", [(9, 9), (10, 10), (19, 18), (20, 19), (99, 90), (109, 99)])
def test_the_rank(count, rank):
    """The smallest that covers 90 % of `count + 1` equally likely places."""
    scores = np.random.default_rng(0).permutation(count) + 1.0
    assert conformal_quantile(scores, 0.9) == rank
    assert rank / (count + 1) >= 0.9 > (rank - 1) / (count + 1)


def test_rounding_adds_no_rank():
    assert conformal_quantile(np.arange(1.0, 10), 0.7) == 7
    assert conformal_quantile(np.arange(1.0, 20), 0.05) == 1


def test_too_few_scores_are_refused_with_the_number_needed():
    for coverage, needed in ((0.9, 9), (0.95, 19), (0.5, 1)):
        if needed > 1:
            with pytest.raises(ValueError, match=f"at least {needed} samples, got {needed - 1}"):
                conformal_quantile(np.ones(needed - 1), coverage)
        assert conformal_quantile(np.ones(needed), coverage) == 1


def test_each_value_has_its_own_quantile():
    both = conformal_quantile(jnp.array([[3.0, 1.0], [2.0, 4.0]]), 0.5)
    np.testing.assert_array_equal(both, [3.0, 4.0])


def test_the_coverage_is_the_stated_one():
    """Errors that grow with x, a guess at their size that is three times too large, and a skewed
    distribution: 2000 times 39 calibration samples and a new one."""

    def covered(key):
        place, draw = jax.random.split(key)
        x = jax.random.uniform(place, (40,), minval=0.5, maxval=2.0)
        errors = x * (jax.random.exponential(draw, (40,)) - 0.3)
        deviations = 3 * x
        lower, upper = conformal_interval(
            jnp.array(5.0), deviations[0], errors[1:], deviations[1:], 0.8
        )
        return (lower <= 5.0 - errors[0]) & (5.0 - errors[0] <= upper), (upper - lower) / x[0]

    inside, width = jax.jit(jax.vmap(covered))(jax.random.split(jax.random.key(0), 2000))
    assert float(jnp.mean(inside)) == pytest.approx(0.8, abs=3 * 0.4 / np.sqrt(2000))
    assert float(jnp.mean(width)) == pytest.approx(2 * 1.31, rel=0.1)  # 80 % of |exponential - 0.3|


def test_bad_input():
    with pytest.raises(ValueError, match="coverage must lie between 0 and 1, got 1.0"):
        conformal_quantile(np.ones(3), 1.0)
    with pytest.raises(ValueError, match="at least one sample, got none"):
        conformal_quantile(np.ones(0), 0.9)
    with pytest.raises(ValueError, match="deviations must be finite and > 0"):
        conformal_interval(np.ones(1), np.ones(1), np.ones(3), np.zeros(3), 0.9)
    with pytest.raises(ValueError, match=r"deviation must have shape \(1,\), got \(2,\)"):
        conformal_interval(np.ones(1), np.ones(2), np.ones(3), np.ones(3), 0.5)


def test_quantiles_are_widened_to_the_coverage():
    """Predicted quantiles that are too narrow, and by a factor that depends on x."""

    def covered(key):
        place, draw = jax.random.split(key)
        x = jax.random.uniform(place, (40,), minval=0.5, maxval=2.0)
        y = x * jax.random.normal(draw, (40,))
        lower, upper = -0.3 * x, 0.6 * x
        ends = quantile_interval(lower[0], upper[0], lower[1:], upper[1:], y[1:], 0.8)
        return (ends[0] <= y[0]) & (y[0] <= ends[1])

    inside = jax.jit(jax.vmap(covered))(jax.random.split(jax.random.key(1), 4000))
    assert float(jnp.mean(inside)) == pytest.approx(0.8, abs=3 * 0.4 / np.sqrt(4000))


def test_quantiles_that_are_too_wide_are_narrowed():
    truths = np.linspace(-1, 1, 99)
    ends = np.full(1, -3.0), np.full(1, 3.0)
    lower, upper = quantile_interval(*ends, np.full(99, -3.0), np.full(99, 3.0), truths, 0.5)
    assert upper == pytest.approx(0.5, abs=0.03)
    assert lower == -upper


def test_a_band_holds_whole_fields():
    """Random walks: as many whole ones inside as was said, where intervals for each value alone
    would lose most of them."""
    scale = jnp.sqrt(jnp.arange(1.0, 21))

    def inside(key):
        walks = jnp.cumsum(jax.random.normal(key, (60, 20)), axis=1)
        known = walks[1:]
        band = conformal_band(
            jnp.zeros(20), scale, known, jnp.broadcast_to(scale, known.shape), 0.9
        )
        alone = conformal_quantile(jnp.abs(known), 0.9)
        return jnp.all((band[0] <= walks[0]) & (walks[0] <= band[1])), jnp.all(
            jnp.abs(walks[0]) <= alone
        )

    whole, alone = jax.jit(jax.vmap(inside))(jax.random.split(jax.random.key(2), 2000))
    assert float(jnp.mean(whole)) == pytest.approx(0.9, abs=3 * 0.3 / np.sqrt(2000) + 1 / 60)
    assert float(jnp.mean(alone)) < 0.85


def test_cross_validation_against_mapie():
    """CV+ of a linear regression with five folds."""
    from mapie.regression import CrossConformalRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold

    draw = np.random.default_rng(0)
    x = draw.normal(size=(100, 2))
    y = x @ [1.0, -2.0] + draw.standard_t(4, 100)
    new = draw.normal(size=(7, 2))
    folds = KFold(5)
    peer = CrossConformalRegressor(
        LinearRegression(), confidence_level=0.9, method="plus", cv=folds
    )
    _, expected = peer.fit_conformalize(x, y).predict_interval(new)
    predictions, errors = np.zeros((100, 7)), np.zeros(100)
    for seen, left_out in folds.split(x):
        model = LinearRegression().fit(x[seen], y[seen])
        predictions[left_out] = model.predict(new)
        errors[left_out] = model.predict(x[left_out]) - y[left_out]
    lower, upper = jackknife_plus(predictions, errors, 0.9)
    np.testing.assert_allclose(np.stack([lower, upper], 1), expected[:, :, 0], rtol=1e-10)


def test_a_series_that_changes_keeps_its_coverage():
    """Errors that treble half-way: the level comes back, where a fixed bound loses it for good."""
    scale = jnp.where(jnp.arange(4000) < 2000, 1.0, 3.0)
    scores = jnp.abs(jax.random.normal(jax.random.key(3), (4000,))) * scale
    bounds = jax.jit(lambda s: adaptive_bounds(s, 0.9, window=200))(scores)
    assert np.all(np.isinf(bounds[:200])) and np.all(np.isfinite(bounds[200:210]))
    kept = np.asarray(scores <= bounds)
    assert kept[200:].mean() == pytest.approx(0.9, abs=0.01)
    assert kept[3000:].mean() == pytest.approx(0.9, abs=0.02)
    fixed = conformal_quantile(scores[:1000], 0.9)
    assert float(jnp.mean(scores[3000:] <= fixed)) < 0.5


def test_the_first_bounds_of_a_series():
    """Nine scores are just enough for 90 %: their largest; one less bounds nothing."""
    scores = jnp.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 8])
    bounds = adaptive_bounds(scores, 0.9, window=9, rate=1e-3)
    np.testing.assert_array_equal(bounds[9:], [9.0, 9.0])
    assert np.all(np.isinf(adaptive_bounds(scores, 0.9, window=8, rate=1e-3)))


def test_bad_input_of_fields_and_series():
    with pytest.raises(ValueError, match=r"errors must have shape \(3, 4\), got \(3, 5\)"):
        conformal_band(np.zeros(4), np.ones(4), np.ones((3, 5)), np.ones((3, 5)), 0.5)
    with pytest.raises(ValueError, match=r"errors must have shape \(9,\), got \(8,\)"):
        jackknife_plus(np.zeros((9, 2)), np.zeros(8), 0.5)
    with pytest.raises(ValueError, match=r"lowers must have shape \(3,\), got \(2,\)"):
        quantile_interval(0.0, 1.0, np.zeros(2), np.zeros(3), np.zeros(3), 0.5)
    with pytest.raises(ValueError, match="window must be below 5, the scores, got 5"):
        adaptive_bounds(jnp.ones(5), 0.9, window=5)
