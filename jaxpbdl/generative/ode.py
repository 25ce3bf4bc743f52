"""Ordinary differential equations over a time interval by equal steps: what carries noise to data.

    dx/dt = rate(x, t)

A method is a function `(rate, x, t, dt) -> x` that takes one step; the state is any pytree.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.rollouts import nested_scan
from jaxpbdl.solvers.time.runge_kutta import rk4 as classical
from jaxpbdl.solvers.time.scheme import System

Time: TypeAlias = Float[Array, ""]
Rate: TypeAlias = Callable[[PyTree, Time], PyTree]
Method: TypeAlias = Callable[[Rate, PyTree, Time, Time], PyTree]


def euler(rate: Rate, x: PyTree, t: Time, dt: Time) -> PyTree:
    """Order 1, one evaluation of the rate."""
    return _moved(x, dt, rate(x, t))


def midpoint(rate: Rate, x: PyTree, t: Time, dt: Time) -> PyTree:
    """Order 2, two evaluations: the slope in the middle of the step (Runge 1895)."""
    half = _moved(x, dt / 2, rate(x, t))
    return _moved(x, dt, rate(half, t + dt / 2))


def heun(rate: Rate, x: PyTree, t: Time, dt: Time) -> PyTree:
    """Order 2, two evaluations: the mean of the slopes at both ends (Heun 1900)."""
    first = rate(x, t)
    last = rate(_moved(x, dt, first), t + dt)
    return _moved(x, dt / 2, jax.tree.map(jnp.add, first, last))


def rk4(rate: Rate, x: PyTree, t: Time, dt: Time) -> PyTree:
    """Order 4, four evaluations (Kutta 1901)."""
    system = System(lambda state: (rate(*state), jnp.ones_like(t)), dt)
    return classical.advance((x, t), system)[0]


def integrate(
    rate: Rate,
    state: PyTree,
    steps: int,
    method: Method = rk4,
    *,
    begin: float = 0.0,
    end: float = 1.0,
) -> PyTree:
    """The state at `end` of one that is `state` at `begin`, which may be the later time.

    Gradients recompute each step twice, in the memory of `2 sqrt(steps)` states and one step.

    **Raises** ValueError for fewer than one step.
    """
    steps = checks.count("steps", steps)
    dt = jnp.asarray((end - begin) / steps)
    times = begin + dt * jnp.arange(steps)
    return nested_scan(lambda x, t: method(rate, x, t, dt), state, steps, 2, inputs=times)


def _moved(x: PyTree, dt: Time, slope: PyTree) -> PyTree:
    return jax.tree.map(lambda u, du: u + dt * du, x, slope)
