"""Conformal prediction: intervals that cover a stated share of new values, whatever the model.

The scores of a calibration set that the model has not seen, and the score of a new sample, are
equally likely in any order if the samples are exchangeable. So the new one is at most the
`ceil((n + 1) coverage)`-th smallest of the `n` with a probability of at least `coverage`, and at
most `1 / (n + 1)` more where no two scores are equal (Vovk, Gammerman and Shafer, Algorithmic
Learning in a Random World, 2005; Lei et al., J. Am. Stat. Assoc. 113 (2018) 1094).
"""

import math
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks

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

    **Returns** the `ceil((n + 1) coverage)`-th smallest score, an array `(*rest)`; infinity where
    that is more than the `n` scores there are.

    **Raises** ValueError for no scores and a coverage outside of (0, 1).
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage}")
    if np.ndim(scores) == 0 or len(scores) == 0:
        raise ValueError(f"scores must be those of at least one sample, got {np.shape(scores)}")
    array = np if isinstance(scores, np.ndarray) else jnp
    # The small part is for rounding: (9 + 1) 0.7 is the seventh, though it comes out above 7.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    ordered = array.sort(array.asarray(scores), axis=0)
    return array.full_like(ordered[0], np.inf) if rank > len(ordered) else ordered[rank - 1]


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
    for name, value in {"deviation": deviation, "deviations": deviations}.items():
        checks.positive(name, value)
    checks.shape("deviations", deviations, np.shape(errors))
    checks.shape("deviation", deviation, np.shape(prediction))
    width = conformal_quantile(abs(errors) / deviations, coverage) * deviation
    return prediction - width, prediction + width
