"""What a scheme in time is: it advances a system by one step and knows where it is stable.

A system is what `System` holds, or `SeparableSystem` for symplectic schemes. Explicit schemes are
modules that need nothing else (`rk3`, `rk4`, `ssp_rk3`, `adams_bashforth`, `leapfrog`); those that
treat a linear part apart are built from its symbol: `Exponential = (symbol, dt) -> Scheme`. Time,
where the physics depends on it, is a part of the state whose rate is one.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from jaxpbdl.grids.spectrum import scaled


def added(state: PyTree, change: PyTree) -> PyTree:
    """The sum of two trees of the same structure."""
    return jax.tree.map(lambda u, du: u + du, state, change)


class System(NamedTuple):
    """What a scheme advances: d(state)/dt = rates(state).

    **Attributes:** `rates`, from a state to a tree of rates of change (of what an exponential or
    implicit-explicit scheme does not treat otherwise); `dt`; `moved`, the state plus a change, a
    projection of that sum where the state has a constraint.
    """

    rates: Callable[[PyTree], PyTree]
    dt: Array
    moved: Callable[[PyTree, PyTree], PyTree] = added


class Scheme(eqx.Module):
    """A scheme. It is stable while dt times the rate of an undamped oscillation is at most
    `imaginary` and dt times a rate of decay at most `real`, of what it treats explicitly.
    """

    trainable_fields = ()

    imaginary: eqx.AbstractVar[float]
    real: eqx.AbstractVar[float]
    remembers: ClassVar[bool] = False
    """Whether working variables hold more than the state, such as earlier rates."""

    def start(self, state: PyTree, system: Any) -> PyTree:
        """Working variables of a state: the state itself unless the scheme remembers more."""
        return state

    def advance(self, working: PyTree, system: Any) -> PyTree:
        """Working variables one step later."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")

    def current(self, working: PyTree) -> PyTree:
        """The state in the working variables."""
        return working

    def largest_dt(self, oscillation: Array | float, decay: Array | float = 0.0) -> Array | float:
        """From the fastest rates of a system; the two shares of the stability region add up."""
        return 1 / (oscillation / self.imaginary + decay / self.real + 1e-30)


def check_inputs(scheme: Scheme, inputs: tuple[PyTree, ...]) -> None:
    """Refuse an input to a scheme whose memory starts before the first one is known."""
    if inputs and scheme.remembers:
        raise ValueError(
            f"{type(scheme).__name__} remembers rates from before the first input: a step that is "
            "given inputs needs a one-step scheme"
        )


Exponential: TypeAlias = Callable[[Array, Array | float], Scheme]
"""From the eigenvalues of a linear part, and dt, to a scheme."""


def combined(weights: Sequence[Array | float], trees: Sequence[PyTree]) -> PyTree:
    """The weighted sum of trees of the same structure."""

    def total(*leaves: Array) -> Array:
        first = weights[0] * leaves[0]
        for weight, leaf in zip(weights[1:], leaves[1:], strict=True):
            first = first + weight * leaf
        return first

    return jax.tree.map(total, *trees)


def weighted_sum(
    propagator: Array, state: Array, weights: Sequence[Array | None], slopes: Sequence[Array]
) -> Array:
    """propagator * state + sum_j weights[j] * slopes[j], leaving out weights that are None."""
    total = scaled(propagator, state)
    for weight, slope in zip(weights, slopes, strict=False):
        if weight is not None:
            total = total + scaled(weight, slope)
    return total
