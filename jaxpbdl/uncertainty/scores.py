"""How good a probabilistic prediction is: proper scores, calibration, spread beside skill.

A score is proper if no other distribution than the true one has a better expected score (Gneiting
and Raftery, J. Am. Stat. Assoc. 102 (2007) 359). Members of an ensemble lie along the first axis;
scores are those of each value, to be averaged over whatever the reader wants.
"""

from collections.abc import Sequence
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import checks

Values = Float[Array, "*shape"]
Ensemble = Float[Array, "members *shape"]


def gaussian_nll(mean: Values, variance: Values, truth: Values) -> Values:
    """`-log p(truth)` of a normal distribution, in nats of the truth's unit:

    1/2 log(2 pi variance) + (truth - mean)^2 / (2 variance)
    """
    return 0.5 * (jnp.log(2 * jnp.pi * variance) + (truth - mean) ** 2 / variance)


def gaussian_crps(mean: Values, deviation: Values, truth: Values) -> Values:
    """The continuous ranked probability score of a normal distribution, in the truth's unit:

        deviation (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)),   z = (truth - mean) / deviation

    (Gneiting et al., Mon. Weather Rev. 133 (2005) 1098).
    """
    z = (truth - mean) / deviation
    return deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / jnp.sqrt(jnp.pi))


def ensemble_crps(members: Ensemble, truth: Values, *, fairness: float = 1.0) -> Values:
    """The continuous ranked probability score of an ensemble of `M` members,

        mean_j |x_j - y| - c / 2 sum_jk |x_j - x_k|

    **Arguments:**

    - `members`, `truth`: in one unit, that of the score.
    - `fairness`: 0 judges the `M` values as a distribution of their own, `c = 1 / M^2`, which a
      small ensemble cannot win by being as wide as the truth. 1 judges the distribution that they
      are drawn from, `c = 1 / (M (M - 1))`: fair, but blind to one member that is lost if the
      others balance it. Between the two lies the almost fair score, `c = (1 - (1 - fairness) / M) /
      (M (M - 1))`; 0.95 is usual (Lang et al., arXiv:2412.15832).

    **Raises:** ValueError for fewer than two members, or a fairness outside of [0, 1].
    """
    count = _members(members)
    if not 0 <= fairness <= 1:
        raise ValueError(f"fairness must lie in [0, 1], got {fairness}")
    # Of sorted values the sum over all pairs takes no pairs.
    ranks = 2 * jnp.arange(count) - (count - 1)
    apart = 2 * jnp.tensordot(ranks.astype(members.dtype), jnp.sort(members, axis=0), 1)
    weight = (1 - (1 - fairness) / count) / (count * (count - 1))
    return jnp.mean(jnp.abs(members - truth), axis=0) - 0.5 * weight * apart


def energy_score(members: Ensemble, truth: Values) -> Float[Array, ""]:
    """The score of a whole field, with the Euclidean norm,

        mean_j |x_j - y| - 1 / (2 M (M - 1)) sum_jk |x_j - x_k|

    A field is right only where its values belong together. Fair in the sense of `ensemble_crps`.
    Raises ValueError for fewer than two members.
    """
    count = _members(members)
    flat = members.reshape(count, -1)
    first, second = np.triu_indices(count, 1)
    near = jnp.linalg.norm(flat - truth.reshape(-1), axis=1)
    apart = jnp.linalg.norm(flat[first] - flat[second], axis=1)
    return jnp.mean(near) - jnp.sum(apart) / (count * (count - 1))


def interval_score(lower: Values, upper: Values, truth: Values, coverage: float) -> Values:
    """The width of an interval, and `2 / (1 - coverage)` times the distance of a truth outside.
    Raises ValueError for a coverage outside of (0, 1)."""
    share("coverage", coverage)
    outside = jnp.maximum(lower - truth, 0) + jnp.maximum(truth - upper, 0)
    return upper - lower + 2 / (1 - coverage) * outside


def covered(
    lower: Values, upper: Values, truth: Values, axis: int | Sequence[int] | None = None
) -> Float[Array, "..."]:
    """The share of truths that lie within, over all values or along some axes."""
    return jnp.mean((lower <= truth) & (truth <= upper), axis=axis, dtype=float)


def spread_skill(
    members: Ensemble, truth: Values, axis: int | Sequence[int] | None = None
) -> Float[Array, "..."]:
    """Spread over skill: one for an ensemble whose members are as far from each other as the truth
    is from them, below one for an overconfident one,

        sqrt((M + 1) / M <variance of the members>) / sqrt(<(mean of the members - truth)^2>)

    with the variance over `M - 1`, averaged over all values or along some axes of the truth
    (Fortin et al., J. Hydrometeorol. 15 (2014) 1708). Raises ValueError for fewer than two members.
    """
    variance = jnp.mean(expected_square_error(members), axis=axis)
    error = jnp.mean((jnp.mean(members, axis=0) - truth) ** 2, axis=axis)
    return jnp.sqrt(variance / error)


def expected_square_error(members: Ensemble) -> Values:
    """Of the mean of the members, if the truth could be one of them: `(M + 1) / M` times their
    variance over `M - 1`. Raises ValueError for fewer than two members."""
    count = _members(members)
    return (count + 1) / count * jnp.var(members, axis=0, ddof=1)


def rank_histogram(members: Ensemble, truth: Values, key: PRNGKeyArray) -> Int[Array, " ranks"]:
    """How often `0 .. M` members lie below the truth: flat where the truth could be one of them, a
    bowl where they are too close together (Hamill, Mon. Weather Rev. 129 (2001) 550). Ties are
    broken at random. Raises ValueError for fewer than two members."""
    count = _members(members)
    below, ties = jnp.sum(members < truth, axis=0), jnp.sum(members == truth, axis=0)
    extra = jax.random.randint(key, truth.shape, 0, ties + 1)
    return jnp.bincount((below + extra).reshape(-1), length=count + 1)


def gaussian_pit(mean: Values, deviation: Values, truth: Values) -> Values:
    """The probability integral transform: the share of the predicted normal distribution below the
    truth. Evenly spread over (0, 1) for a calibrated prediction."""
    return norm.cdf((truth - mean) / deviation)


def calibration_curve(
    transform: Values, levels: Float[ArrayLike, " levels"]
) -> Float[Array, " levels"]:
    """The share of truths within the central interval of each level, from their probability
    integral transform: equal to the level for a calibrated prediction.

    Raises ValueError for levels outside of (0, 1).
    """
    share("levels", levels)
    distance = jnp.sort(jnp.abs(2 * transform.reshape(-1) - 1))
    within = jnp.searchsorted(distance, jnp.asarray(levels, distance.dtype), side="right")
    return within / distance.size


def calibration_error(transform: Values, count: int = 99) -> Float[Array, ""]:
    """The root mean square distance of the calibration curve from the diagonal, over `count` levels
    at equal distances inside (0, 1) (Kuleshov, Fenner and Ermon, ICML 2018)."""
    levels = np.arange(1, count + 1) / (count + 1)
    return jnp.sqrt(jnp.mean((calibration_curve(transform, levels) - levels) ** 2))


def normal_half_width(coverage: float) -> float:
    """Of the central interval of a normal distribution, in standard deviations: 1.96 for 95 %.
    Raises ValueError for a coverage outside of (0, 1)."""
    share("coverage", coverage)
    return NormalDist().inv_cdf((1 + coverage) / 2)


def share(name: str, value: ArrayLike) -> None:
    """Refuse what is not strictly between zero and one."""
    if checks.is_concrete(value) and not np.all((np.asarray(value) > 0) & (np.asarray(value) < 1)):
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")


def _members(members: Ensemble) -> int:
    if members.shape[0] < 2:
        raise ValueError(f"an ensemble needs at least two members, got {members.shape[0]}")
    return members.shape[0]
