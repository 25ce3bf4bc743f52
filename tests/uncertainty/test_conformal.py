"""Conformal quantiles and intervals: the rank by its definition, the coverage by repetition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.uncertainty import conformal_interval, conformal_quantile


@pytest.mark.parametrize("count, rank", [(9, 9), (10, 10), (19, 18), (20, 19), (99, 90), (109, 99)])
def test_the_rank(count, rank):
    """The smallest that covers 90 % of `count + 1` equally likely places."""
    scores = np.random.default_rng(0).permutation(count) + 1.0
    assert conformal_quantile(scores, 0.9) == rank
    assert rank / (count + 1) >= 0.9 > (rank - 1) / (count + 1)


def test_rounding_adds_no_rank():
    assert conformal_quantile(np.arange(1.0, 10), 0.7) == 7
    assert conformal_quantile(np.arange(1.0, 20), 0.05) == 1


def test_too_few_scores_bound_nothing():
    assert conformal_quantile(np.ones(8), 0.9) == np.inf
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
    with pytest.raises(ValueError, match=r"at least one sample, got \(0,\)"):
        conformal_quantile(np.ones(0), 0.9)
    with pytest.raises(ValueError, match="deviations must be finite and > 0"):
        conformal_interval(np.ones(1), np.ones(1), np.ones(3), np.zeros(3), 0.9)
    with pytest.raises(ValueError, match=r"deviation must have shape \(1,\), got \(2,\)"):
        conformal_interval(np.ones(1), np.ones(2), np.ones(3), np.ones(3), 0.5)
