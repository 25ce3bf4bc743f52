"""What a time integrator is: made from the linear symbol and dt, it advances du/dt = L u + N(u) by
one step.

A scheme is a function `scheme(symbol, dt, mask) -> Integrator`; `mask` is zero on modes that
dealiasing removes.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
from jaxtyping import Array

from jaxpbdl.grids.spectrum import scaled

NonlinearTerm: TypeAlias = Callable[[Array], Array]


class Integrator(eqx.Module):
    """One step of a scheme. `stability` bounds dt times the largest rate of an undamped
    oscillation.
    """

    trainable_fields = ()

    stability: eqx.AbstractVar[float]

    def start(self, state: Array, nonlinear: NonlinearTerm) -> Any:
        """Working variables of a state: the state itself unless the scheme remembers more."""
        return state

    def advance(self, working: Any, nonlinear: NonlinearTerm) -> Any:
        """Working variables one step later."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")

    def current(self, working: Any) -> Array:
        """The state in the working variables."""
        return working


Scheme: TypeAlias = Callable[[Array, Any, Any], Integrator]


def weighted_sum(
    propagator: Array, state: Array, weights: Sequence[Array | None], slopes: Sequence[Array]
) -> Array:
    """propagator * state + sum_j weights[j] * slopes[j], leaving out weights that are None."""
    total = scaled(propagator, state)
    for weight, slope in zip(weights, slopes, strict=False):
        if weight is not None:
            total = total + scaled(weight, slope)
    return total
