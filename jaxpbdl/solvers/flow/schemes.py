"""Schemes in time of incompressible flow, of third order. What a scheme adds it projects at once,
so every velocity it passes through is free of divergence to round-off.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxpbdl.solvers.flow.state import Flow, Rates


class System(Protocol):
    """What a scheme advances by dt."""

    @property
    def dt(self) -> Array: ...

    def rates(self, flow: Flow) -> Rates:
        """At a state."""
        ...

    def moved(self, flow: Flow, change: Rates, time: Array) -> Flow:
        """The state plus a change, projected, at a time."""
        ...


class FlowScheme(eqx.Module):
    """A scheme. `dt` times the rate of what oscillates stays below `advective`, of what decays
    below `diffusive`."""

    advective: eqx.AbstractClassVar[float]
    diffusive: eqx.AbstractClassVar[float]

    def start(self, flow: Flow, system: System) -> Any:
        """Working variables of a state: the state itself unless the scheme remembers more."""
        return flow

    def advance(self, working: Any, system: System) -> Any:
        """Working variables one step later."""
        raise NotImplementedError(f"{type(self).__name__} must define advance")

    def current(self, working: Any) -> Flow:
        """The state in the working variables."""
        return working


class RungeKutta(FlowScheme):
    """Three stages with one register besides the state (Williamson, J. Comput. Phys. 35 (1980)
    48)."""

    advective: ClassVar[float] = 1.7
    diffusive: ClassVar[float] = 2.5

    def advance(self, working: Flow, system: System) -> Flow:
        dtype = system.dt.dtype
        decays = jnp.array([0.0, -5 / 9, -153 / 128], dtype)
        weights = jnp.array([1 / 3, 15 / 16, 8 / 15], dtype)
        ends = jnp.array([1 / 3, 3 / 4, 1.0], dtype)

        def stage(carry: tuple[Flow, Rates], row: tuple[Array, Array, Array]) -> Any:
            (flow, change), (decay, weight, end) = carry, row
            change = _sum((decay, system.dt), (change, system.rates(flow)))
            time = working.time + end * system.dt
            return (system.moved(flow, _sum((weight,), (change,)), time), change), None

        # A loop and not three copies: compiled once, and XLA cannot fuse the stencils of one stage
        # into the next, which it would compute again for every neighbour. A gradient computes a
        # stage once more, which is faster than to fetch what it would have to keep.
        again = jax.checkpoint(stage, prevent_cse=False)
        still = jax.tree.map(jnp.zeros_like, Rates(working.velocity, working.marker))
        return lax.scan(again, (working, still), (decays, weights, ends))[0][0]


class Remembered(NamedTuple):
    """A state, and the rates one and two steps before it."""

    flow: Flow
    before: Rates
    earlier: Rates


class AdamsBashforth(FlowScheme):
    """One evaluation and one projection a step, with the rates of the two steps before."""

    advective: ClassVar[float] = 0.72
    diffusive: ClassVar[float] = 0.54

    def start(self, flow: Flow, system: System) -> Remembered:
        """The rates before the start, on the parabola through those of two steps of Runge-Kutta."""
        rates, ahead = [system.rates(flow)], flow
        for _ in range(2):
            ahead = runge_kutta.advance(ahead, system)
            rates.append(system.rates(ahead))
        return Remembered(flow, _sum((3, -3, 1), rates), _sum((6, -8, 3), rates))

    def advance(self, working: Remembered, system: System) -> Remembered:
        flow, before, earlier = working
        now = system.rates(flow)
        weights = [weight / 12 * system.dt for weight in (23, -16, 5)]
        change = _sum(weights, (now, before, earlier))
        return Remembered(system.moved(flow, change, flow.time + system.dt), now, before)

    def current(self, working: Remembered) -> Flow:
        return working.flow


def _sum(weights: Sequence[Array | float], parts: Sequence[Rates]) -> Rates:
    def total(*leaves: Array) -> Array:
        return sum(w * leaf for w, leaf in zip(weights, leaves, strict=True))  # type: ignore

    return jax.tree.map(total, *parts)


runge_kutta = RungeKutta()
"""Stable up to 1.7 cells a step: the larger dt, and nothing remembered between steps."""
adams_bashforth = AdamsBashforth()
"""Stable up to 0.72 cells a step at a third of the cost: the faster one in long rollouts that
advection limits. It starts with two steps of `runge_kutta`, so a single step is dear."""
