"""An explicit multistep scheme."""

from typing import ClassVar, NamedTuple

from jaxtyping import PyTree

from jaxpbdl.solvers.time.runge_kutta import rk3
from jaxpbdl.solvers.time.scheme import Scheme, System, combined


class Remembered(NamedTuple):
    """A state, and the rates one and two steps before it."""

    state: PyTree
    before: PyTree
    earlier: PyTree


class AdamsBashforth(Scheme):
    """One evaluation a step, with the rates of the two steps before: order 3."""

    imaginary: ClassVar[float] = 0.72
    real: ClassVar[float] = 0.54
    remembers: ClassVar[bool] = True

    def start(self, state: PyTree, system: System) -> Remembered:
        """The rates before the start, on the parabola through those of two steps of `rk3`."""
        rates, ahead = [system.rates(state)], state
        for _ in range(2):
            ahead = rk3.advance(ahead, system)
            rates.append(system.rates(ahead))
        return Remembered(state, combined((3, -3, 1), rates), combined((6, -8, 3), rates))

    def advance(self, working: Remembered, system: System) -> Remembered:
        state, before, earlier = working
        now = system.rates(state)
        weights = [weight / 12 * system.dt for weight in (23, -16, 5)]
        change = combined(weights, (now, before, earlier))
        return Remembered(system.moved(state, change), now, before)

    def current(self, working: Remembered) -> PyTree:
        return working.state


adams_bashforth = AdamsBashforth()
"""Stable up to 0.72 cells a step at a third of the cost of `rk3`: the faster one in long rollouts
that advection limits. It starts with two steps of `rk3`, so a single step is dear."""
