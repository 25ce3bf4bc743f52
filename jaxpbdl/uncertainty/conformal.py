"""Conformal prediction: intervals that cover a stated share of new values, whatever the model.

The scores of a calibration set that the model has not seen, and the score of a new sample, are
equally likely in any order if the samples are exchangeable. So the new one is at most the
`ceil((n + 1) coverage)`-th smallest of the `n` with a probability of at least `coverage`, and at
most `1 / (n + 1)` more where no two scores are equal (Vovk, Gammerman and Shafer, Algorithmic
Learning in a Random World, 2005; Lei et al., J. Am. Stat. Assoc. 113 (2018) 1094).

`conformal_interval` scales one guess at the size of the error, `quantile_interval` widens a pair of
predicted quantiles, `conformal_band` holds whole fields, `jackknife_plus` needs no samples held
back, and `adaptive_bounds` follows a series in time, whose samples are not exchangeable.
"""

import math
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.uncertainty.scores import share

Arrays: TypeAlias = Array | np.ndarray
ScalarOrArray: TypeAlias = Arrays | np.floating


def conformal_quantile(
    scores: Float[Arrays, "samples *rest"], coverage: float
) -> Float[ScalarOrArray, "*rest"]:
    """The bound that the score of a new sample keeps with probability `coverage`.

    **Arguments**

    - `scores`: of the calibration set along the first axis, larger for a worse prediction: absolute
      errors, or errors over a predicted deviation. Arrays of NumPy stay so, in their precision.
    - `coverage`: between 0 and 1.

    **Returns** the `ceil((n + 1) coverage)`-th smallest score, an array `(*rest)`.

    **Raises** ValueError for no scores, a coverage outside of (0, 1), and one that needs more
    scores than there are.
    """
    rank = _rank(len(scores) if np.ndim(scores) else 0, coverage)
    array = np if isinstance(scores, np.ndarray) else jnp
    return array.sort(array.asarray(scores), axis=0)[rank - 1]


def _rank(count: int, coverage: float) -> int:
    """Of the score that bounds a new one with probability `coverage`."""
    share("coverage", coverage)
    if count == 0:
        raise ValueError("the calibration set must hold at least one sample, got none")
    # The small part is for rounding: (9 + 1) 0.7 is the seventh, though it comes out above 7.
    rank = math.ceil((count + 1) * coverage - 1e-9)
    if rank > count:
        needed = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(
            f"a coverage of {coverage} needs a calibration set of at least {needed} samples, got "
            f"{count}"
        )
    return rank


def conformal_interval(
    prediction: Float[ScalarOrArray, "*samples"],
    deviation: Float[ScalarOrArray, "..."],
    errors: Float[Arrays, " calibration"],
    deviations: Float[Arrays, " calibration"],
    coverage: float,
) -> tuple[Float[ScalarOrArray, "*samples"], Float[ScalarOrArray, "*samples"]]:
    """Lower and upper ends of the intervals `prediction +- q deviation`, with `q` the quantile of
    `|errors| / deviations`: locally weighted conformal intervals (Lei et al. 2018, section 5.2).

    **Arguments**

    - `prediction`, `deviation`: of the new samples; the deviation is any positive guess at the size
      of the error, ones for intervals of one length.
    - `errors`, `deviations`: of the calibration set, prediction minus truth and the same guess.
    - `coverage`: the share of new samples that lie within, between 0 and 1.

    **Raises** ValueError for a coverage outside of (0, 1), deviations that are not above 0 and
    shapes that differ.
    """
    return _about(prediction, deviation, errors, deviations, coverage)


def quantile_interval(
    lower: Float[ScalarOrArray, "*samples"],
    upper: Float[ScalarOrArray, "*samples"],
    lowers: Float[Arrays, " calibration"],
    uppers: Float[Arrays, " calibration"],
    truths: Float[Arrays, " calibration"],
    coverage: float,
) -> tuple[Float[ScalarOrArray, "*samples"], Float[ScalarOrArray, "*samples"]]:
    """Predicted quantiles, widened (or narrowed) by the quantile of how far the truth lies outside
    of them, `max(lower - y, y - upper)`: conformalised quantile regression (Romano, Patterson and
    Candes, NeurIPS 2019).

    **Arguments**

    - `lower`, `upper`: of the new samples; `lowers`, `uppers`, `truths`: of the calibration set.

    **Raises** ValueError as `conformal_quantile`, and for shapes that differ.
    """
    for name, values in {"lowers": lowers, "uppers": uppers}.items():
        checks.shape(name, values, np.shape(truths))
    array = np if isinstance(truths, np.ndarray) else jnp
    width = conformal_quantile(array.maximum(lowers - truths, truths - uppers), coverage)
    return lower - width, upper + width


def conformal_band(
    prediction: Float[Arrays, "*field"],
    deviation: Float[Arrays, "*field"],
    errors: Float[Arrays, "calibration *field"],
    deviations: Float[Arrays, "calibration *field"],
    coverage: float,
) -> tuple[Float[ScalarOrArray, "*field"], Float[ScalarOrArray, "*field"]]:
    """A band that holds a new field everywhere at once with probability `coverage`,

        prediction +- q deviation,   q the quantile of max over the field of |errors| / deviations

    (Diquigiovanni, Fontana and Vantini, J. Multivar. Anal. 189 (2022) 104879). Intervals for each
    value alone miss somewhere in nearly every field.

    **Arguments**

    - `prediction`, `deviation`: of the new field; the deviation is any positive guess at the size
      of the error in each value.
    - `errors`, `deviations`: of the fields of the calibration set.

    **Raises** ValueError as `conformal_quantile`, for deviations that are not above 0 and shapes
    that differ.
    """
    checks.shape("errors", errors, (len(errors), *np.shape(prediction)))
    return _about(prediction, deviation, errors, deviations, coverage)


def _about(
    prediction: ScalarOrArray,
    deviation: ScalarOrArray,
    errors: Arrays,
    deviations: Arrays,
    coverage: float,
) -> tuple[ScalarOrArray, ScalarOrArray]:
    """`prediction +- q deviation`, with `q` the quantile over the calibration set of the largest
    `|errors| / deviations` of each sample."""
    for name, value in {"deviation": deviation, "deviations": deviations}.items():
        checks.positive(name, value)
    checks.shape("deviations", deviations, np.shape(errors))
    checks.shape("deviation", deviation, np.shape(prediction))
    scores = abs(errors) / deviations
    if scores.ndim > 1:
        scores = scores.reshape(len(scores), -1).max(axis=1)
    width = conformal_quantile(scores, coverage) * deviation
    return prediction - width, prediction + width


def jackknife_plus(
    predictions: Float[Arrays, "samples *new"],
    errors: Float[Arrays, " samples"],
    coverage: float,
) -> tuple[Float[Arrays, "*new"], Float[Arrays, "*new"]]:
    """Intervals from models that each left out some of the samples, of which none is held back from
    all (Barber, Candes, Ramdas and Tibshirani, Ann. Stat. 49 (2021) 486).

    **Arguments**

    - `predictions`: for new inputs, of the model that left sample `i` out: of one sample each
      (jackknife+), or the same model for all samples of a fold (CV+).
    - `errors`: of sample `i` under that model.

    **Returns** the lower and upper ends. They cover with a probability of at least
    `2 coverage - 1`, and of about `coverage` unless the models are unstable.

    **Raises** ValueError as `conformal_quantile`, and for shapes that differ.
    """
    checks.shape("errors", errors, (len(predictions),))
    array = np if isinstance(predictions, np.ndarray) else jnp
    count, rank = len(errors), _rank(len(errors), coverage)
    size = array.reshape(abs(errors), (-1, *[1] * (np.ndim(predictions) - 1)))
    # Of NumPy, which finds one place without sorting the rest.
    ordered = np.partition if array is np else lambda values, place, axis: jnp.sort(values, axis)
    lower = ordered(predictions - size, count - rank, axis=0)[count - rank]
    upper = ordered(predictions + size, rank - 1, axis=0)[rank - 1]
    return lower, upper


def adaptive_bounds(
    scores: Float[Array, " times"], coverage: float, *, window: int, rate: float = 0.02
) -> Float[Array, " times"]:
    """Bounds on the scores of a series, each from the `window` scores before it, at a level that
    falls after each score that kept its bound and rises after each that did not,

        level <- level + rate (coverage - 1 if kept, else coverage)

    (Gibbs and Candes, NeurIPS 2021). In the long run a share `coverage` of the scores keep theirs,
    whatever the series does.

    **Arguments**

    - `scores`: of predictions one step ahead, in order of time; larger for a worse one.
    - `window`: scores that a bound is taken from; the first `window` bounds are infinite.
    - `rate`: of the change of the level.

    **Returns** the bounds; infinite while the level is at 1 or above, and the smallest score of the
    window where it has fallen to 0.

    **Raises** ValueError for a coverage outside of (0, 1), a window that is not shorter than the
    series, a rate that is not above 0.
    """
    share("coverage", coverage)
    checks.positive("rate", rate)
    if checks.count("window", window) >= len(scores):
        raise ValueError(f"window must be below {len(scores)}, the scores, got {window}")

    def turn(carry: tuple[Array, Array], score: Array) -> tuple[tuple[Array, Array], Array]:
        level, recent = carry
        rank = jnp.ceil((window + 1) * level - 1e-6).astype(int)
        bound = jnp.sort(recent)[jnp.clip(rank - 1, 0, window - 1)]
        bound = jnp.where(rank > window, jnp.inf, bound)
        level = level + rate * (coverage - (score <= bound))
        return (level, jnp.append(recent[1:], score)), bound

    start = (jnp.asarray(coverage, scores.dtype), scores[:window])
    bounds = lax.scan(turn, start, scores[window:])[1]
    return jnp.concatenate([jnp.full(window, jnp.inf, scores.dtype), bounds])
