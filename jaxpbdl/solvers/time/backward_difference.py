"""An implicit-explicit multistep scheme: stiff terms by backward differences, all others
extrapolated."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxpbdl.solvers.time.scheme import Scheme, combined


class StiffSystem(NamedTuple):
    """What an implicit-explicit scheme advances: dx/dt = rates + stiff(x), x a part of the state.

    **Attributes:** `rates`, from a state to those of x that are treated explicitly; `part`, x of a
    state; `solve(right, level, state)`, the next state, whose x fulfils `level x - dt stiff(x) =
    right`, with what else the state holds (a pressure) taken on from the last one; `dt`.
    """

    rates: Callable[[Any], Any]
    part: Callable[[Any], Any]
    solve: Callable[[Any, Array, Any], Any]
    dt: Array


class Past(NamedTuple):
    """A state, its part and rates one step before, and whether there was one."""

    state: PyTree
    before: PyTree
    rates: PyTree
    begun: Array


class BackwardDifference(Scheme):
    """Order 2 with one evaluation and one solution a step, L-stable for what is stiff. The first
    step is of order 1, which leaves the order of a rollout at 2.

        3/2 x(t + dt) - 2 x(t) + 1/2 x(t - dt) = dt (2 N(t) - N(t - dt) + stiff x(t + dt))

    An oscillation that nothing damps grows, by 0.7 % a step at the limit and like the fourth power
    of dt below it.

    Source: Ascher, Ruuth and Wetton, SIAM J. Numer. Anal. 32 (1995) 797, equation 1.9b (SBDF).
    """

    imaginary: ClassVar[float] = 0.3
    real: ClassVar[float] = 1.3
    remembers: ClassVar[bool] = True

    def start(self, state: PyTree, system: StiffSystem) -> Past:
        return Past(state, system.part(state), system.rates(state), jnp.zeros((), bool))

    def advance(self, working: Past, system: StiffSystem) -> Past:
        state, before, earlier, begun = working
        dt, now, rates = system.dt, system.part(state), system.rates(state)
        second = begun.astype(dt.dtype)  # 0 in the first step, then 1
        weights = (1 + second, -second / 2, dt * (1 + second), -dt * second)
        right = combined(weights, (now, before, rates, earlier))
        ahead = system.solve(right, 1 + second / 2, state)
        return Past(ahead, now, rates, jnp.ones((), bool))

    def current(self, working: Past) -> PyTree:
        return working.state


backward_difference = BackwardDifference()
"""SBDF2, for diffusion at any dt; up to 0.3 cells a step of what is carried."""
