"""Fluxes through a face between two states: approximate solutions of its Riemann problem.

E. F. Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics, Springer 2009, chapter 10.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.equations.compressible import CompressibleFlow
from jaxpbdl.equations.conservation_law import ConservationLaw

NumericalFlux: TypeAlias = Callable[[Any, Array, Array, int], Array]
"""From an equation, the states below and above a face, and its axis."""


def rusanov(
    equation: ConservationLaw,
    below: Float[Array, "value *faces"],
    above: Float[Array, "value *faces"],
    axis: int,
) -> Float[Array, "value *faces"]:
    """The mean of both fluxes minus half the jump times the speed of the fastest wave (V. V.
    Rusanov 1961), of any conservation law. It smears contacts the most."""
    speeds = [*equation.wave_speeds(below, axis), *equation.wave_speeds(above, axis)]
    fastest = jnp.max(jnp.abs(jnp.stack(speeds)), axis=0)
    mean = (equation.flux(below, axis) + equation.flux(above, axis)) / 2
    return mean - fastest / 2 * (above - below)


def hllc(
    equation: CompressibleFlow,
    below: Float[Array, "value *faces"],
    above: Float[Array, "value *faces"],
    axis: int,
) -> Float[Array, "value *faces"]:
    """Two waves and the contact between them (Toro, Spruce and Speares, Shock Waves 4 (1994) 25),
    of an ideal gas: contacts at rest stay as they are. The speeds of the waves are bounded by those
    of both states and of Roe's mean (Einfeldt, SIAM J. Numer. Anal. 25 (1988) 294)."""
    slow, fast = _bounds(equation, below, above, axis)
    u, v = below[1 + axis] / below[0], above[1 + axis] / above[0]
    p, q = equation.pressure(below), equation.pressure(above)
    mass, other = below[0] * (slow - u), above[0] * (fast - v)  # both have a sign: never equal
    contact = (q - p + mass * u - other * v) / (mass - other)

    # The side on which the face lies, and the flux behind its wave if it lies there.
    lower = contact >= 0
    state, speed = jnp.where(lower, below, above), jnp.where(lower, slow, fast)
    velocity, pressure = jnp.where(lower, u, v), jnp.where(lower, p, q)
    density = state[0] * (speed - velocity) / (speed - contact)
    push = [jnp.zeros_like(density)] * equation.ndim
    push[axis] = contact - velocity
    work = (contact - velocity) * (contact + pressure / (state[0] * (speed - velocity)))
    star = density * (state / state[0] + jnp.stack([0 * density, *push, work]))
    outside = jnp.where(lower, slow >= 0, fast <= 0)
    return equation.flux(state, axis) + jnp.where(outside, 0.0, speed * (star - state))


def _bounds(
    equation: CompressibleFlow, below: Array, above: Array, axis: int
) -> tuple[Array, Array]:
    """Of the speeds of all waves of the Riemann problem."""
    share, rest = jnp.sqrt(below[0]), jnp.sqrt(above[0])
    share = share / (share + rest)

    def mean(one: Array, two: Array) -> Array:
        return share * one + (1 - share) * two

    velocity = mean(below[1:-1] / below[0], above[1:-1] / above[0])
    enthalpy = mean(
        (below[-1] + equation.pressure(below)) / below[0],
        (above[-1] + equation.pressure(above)) / above[0],
    )
    kinetic = jnp.sum(velocity**2, axis=0) / 2
    sound = jnp.sqrt((equation.gamma - 1) * (enthalpy - kinetic))
    slow = jnp.minimum(equation.wave_speeds(below, axis)[0], velocity[axis] - sound)
    fast = jnp.maximum(equation.wave_speeds(above, axis)[1], velocity[axis] + sound)
    return slow, fast
