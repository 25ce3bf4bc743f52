"""The significance that a search may expect: the median one, were the signal there.

For `s` expected signal events on `b` of background, of which the latter is known to a standard
deviation `d` from a measurement aside, the Asimov data set gives

    Z^2 / 2 = (s + b) ln[(s + b) (b + d^2) / (b^2 + (s + b) d^2)]
              - b^2 / d^2 ln[1 + d^2 s / (b (b + d^2))]

(G. Cowan, Discovery sensitivity for a counting experiment with background uncertainty, 2012,
eq. 20), which for `d = 0` is

    Z^2 / 2 = (s + b) ln(1 + s / b) - s

(Cowan, Cranmer, Gross and Vitells, Eur. Phys. J. C 71 (2011) 1554, eq. 97), and `s / sqrt(b + d^2)`
for a signal that is small beside the background.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks

LEAST = 1e-24
"""Below this `Z^2` is rounding; its root has no finite slope at zero."""


def discovery_significance(
    signal: ArrayLike, background: ArrayLike, deviation: ArrayLike = 0.0
) -> Float[Array, "..."]:
    """The expected significance `Z`, in standard deviations; the three broadcast.

    Raises ValueError for a background that is not above zero and a signal or a deviation below it.
    """
    checks.non_negative("signal", signal)
    checks.positive("background", background)
    checks.non_negative("deviation", deviation)
    s, b, d = map(checks.as_floats, (signal, background, deviation))
    known = d > 0
    variance = jnp.where(known, d, 1) ** 2
    gained = -(s + b) * jnp.log1p(-s * b / ((s + b) * (b + jnp.where(known, variance, 0))))
    taken = b**2 / variance * jnp.log1p(variance * s / (b * (b + variance)))
    half = gained - jnp.where(known, taken, s)
    return jnp.sqrt(jnp.maximum(2 * half, LEAST))
