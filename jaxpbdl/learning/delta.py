"""Delta-learning: a cheap model that knows most of the physics, and a learned difference.

    model(x) = baseline(x) + difference(x)

The difference is smaller and smoother than the whole, so fewer expensive labels teach it
(Ramakrishnan, Dral, Rupp and von Lilienfeld, J. Chem. Theory Comput. 11 (2015) 2087). `Corrected`
is the same idea for steps of a solver.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float, PyTree

from jaxpbdl import checks
from jaxpbdl.trainable import Constant


class Delta(eqx.Module):
    """`baseline(x) + difference(x)`, any two callables of one argument with outputs that add.

    Gradients to `x` (forces) go through both. Training leaves the baseline alone, its parameters
    included. Train the difference on `dear - baseline(x)`, or the sum on the dear labels: it is the
    same. A baseline that is a table rather than a function travels in `x`:

        Delta(lambda x: x.baseline, lambda x: network(x.graph))
    """

    baseline: Constant
    difference: Callable[[PyTree], PyTree]

    def __init__(
        self, baseline: Callable[[PyTree], PyTree], difference: Callable[[PyTree], PyTree]
    ):
        self.baseline, self.difference = Constant(baseline), difference

    def __call__(self, x: PyTree) -> PyTree:
        return self.baseline()(x) + self.difference(x)


def data_factors(
    sizes: Sequence[int] | np.ndarray,
    direct: Float[np.ndarray, " sizes"],
    delta: Float[np.ndarray, " sizes"],
) -> Float[np.ndarray, " sizes"]:
    """How many times the data the direct model needs for the error that the delta model has at each
    size: N / n, where N is read off the direct model's learning curve, by linear interpolation of
    the logarithm of its error over the logarithm of the size, at the first crossing.

    NaN where the direct model does not get there with the most data, nothing being extrapolated,
    and where it is there at the first size already.

    Raises ValueError for sizes that do not rise, or errors that are not > 0.
    """
    sizes = list(sizes)
    if sizes != sorted(set(sizes)) or sizes[0] < 1:
        raise ValueError(f"sizes must be different and rise from at least 1, got {sizes}")
    direct, delta = np.asarray(direct, float), np.asarray(delta, float)
    for name, errors in {"direct": direct, "delta": delta}.items():
        checks.shape(name, errors, (len(sizes),))
        checks.positive(name, errors)
    n, e = np.log(sizes), np.log(direct)
    factors = np.full(len(sizes), np.nan)
    for index, wanted in enumerate(np.log(delta)):
        reached = np.flatnonzero(e <= wanted)
        if len(reached) and reached[0] > 0:
            after = reached[0]
            part = (e[after - 1] - wanted) / (e[after - 1] - e[after])
            factors[index] = np.exp(n[after - 1] + part * (n[after] - n[after - 1]) - n[index])
    return factors
