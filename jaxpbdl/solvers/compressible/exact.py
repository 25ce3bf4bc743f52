"""Exact solutions of an ideal gas: Riemann's problem and a vortex that a stream carries.

Riemann's problem, two states that meet at x = 0: E. F. Toro, Riemann Solvers and Numerical Methods
for Fluid Dynamics, Springer 2009, chapter 4. The vortex: C.-W. Shu, ICASE Report 97-65, section
4.2.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks


class RiemannSolution(eqx.Module):
    """The waves from two states; created by `riemann`. A call gives the primitive variables along
    the lines x / t = speed.

    **Attributes:** `below` and `above`, (density, velocity, pressure) of both sides; `gamma`;
    `pressure` and `velocity` between the outer waves.
    """

    below: Float[Array, "3"]
    above: Float[Array, "3"]
    gamma: Float[Array, ""]
    pressure: Float[Array, ""]
    velocity: Float[Array, ""]

    def __call__(self, speeds: Float[Array, "*points"]) -> Float[Array, "3 *points"]:
        """Density, velocity and pressure."""
        flip = jnp.array([1.0, -1.0, 1.0])
        lower = self._side(self.below, self.velocity, speeds)
        upper = self._side(self.above * flip, -self.velocity, -speeds)
        upper = upper * flip.reshape(3, *[1] * speeds.ndim)
        return jnp.where(speeds < self.velocity, lower, upper)

    def densities(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Below and above the contact."""
        return _star_density(self.below, self.pressure, self.gamma), _star_density(
            self.above, self.pressure, self.gamma
        )

    def _side(self, state: Array, velocity: Array, speeds: Array) -> Array:
        """Below the contact: the state, a shock or a fan, and the star state."""
        g, p = self.gamma, self.pressure
        sound = jnp.sqrt(g * state[2] / state[0])
        jump = jnp.sqrt((g + 1) / (2 * g) * p / state[2] + (g - 1) / (2 * g))
        tail_sound = sound * (p / state[2]) ** ((g - 1) / (2 * g))
        shock = p > state[2]
        head = jnp.where(shock, state[1] - sound * jump, state[1] - sound)
        tail = jnp.where(shock, head, velocity - tail_sound)
        star = jnp.stack([_star_density(state, p, g), velocity, p])
        inside = 2 / (g + 1) * (sound + (g - 1) / 2 * (state[1] - speeds))
        inside = jnp.maximum(inside, 1e-12 * sound)  # beyond the fan it would be negative
        ratio = inside / sound
        fan = jnp.stack(
            [
                state[0] * ratio ** (2 / (g - 1)),
                speeds + inside,
                state[2] * ratio ** (2 * g / (g - 1)),
            ]
        )
        shape = (3, *[1] * speeds.ndim)
        found = jnp.where(speeds < tail, fan, star.reshape(shape))
        return jnp.where(speeds < head, state.reshape(shape), found)


def riemann(
    below: Sequence[float] | Float[Array, "3"],
    above: Sequence[float] | Float[Array, "3"],
    gamma: ArrayLike = 1.4,
) -> RiemannSolution:
    """The exact solution of Riemann's problem between two gases at (density, velocity, pressure).

    **Raises:** ValueError for a density or pressure that is not positive, and for gases that part
    so fast that a vacuum opens between them.
    """
    one, two, gamma = (jnp.asarray(each, float) for each in (below, above, gamma))
    for name, state in {"below": one, "above": two}.items():
        checks.shape(name, state, (3,))
        checks.positive(f"density and pressure of {name}", state[::2])
    sounds = [jnp.sqrt(gamma * state[2] / state[0]) for state in (one, two)]
    limit = 2 / (gamma - 1) * (sounds[0] + sounds[1])
    if checks.is_concrete((one, two, gamma)) and float(two[1] - one[1]) >= float(limit):
        raise ValueError(
            f"the gases must part by less than {float(limit):.6g}, or a vacuum opens; got "
            f"{float(two[1] - one[1]):.6g}"
        )
    pressure, velocity = _star(one, two, gamma)
    return RiemannSolution(one, two, gamma, pressure, velocity)


def _star(below: Array, above: Array, gamma: Array) -> tuple[Array, Array]:
    """Pressure and velocity between the outer waves, by Newton's method in the logarithm of the
    pressure, in which the equation is nearly straight; the start is exact for two fans."""
    z = (gamma - 1) / (2 * gamma)
    sounds = [jnp.sqrt(gamma * s[2] / s[0]) for s in (below, above)]
    top = sounds[0] + sounds[1] - (gamma - 1) / 2 * (above[1] - below[1])
    bottom = sounds[0] / below[2] ** z + sounds[1] / above[2] ** z
    start = jnp.log(top / bottom) / z

    def newton(_: Array, level: Array) -> Array:
        p = jnp.exp(level)
        value, slope = above[1] - below[1], 0.0
        for state in (below, above):
            change, rise = _change(state, p, gamma)
            value, slope = value + change, slope + rise
        return level - jnp.clip(value / (slope * p), -1.0, 1.0)

    # A fixed number, so that reverse mode passes; from 1e-3 to 1e3 times the pressure takes 12.
    p = jnp.exp(lax.fori_loop(0, 20, newton, start))
    lower, upper = _change(below, p, gamma)[0], _change(above, p, gamma)[0]
    return p, (below[1] + above[1] + upper - lower) / 2


def _change(state: Array, pressure: Array, gamma: Array) -> tuple[Array, Array]:
    """Of velocity across the wave from a state to a pressure, and its derivative by it (Toro, 4.6
    and 4.7)."""
    density, _, p = state
    a, b = 2 / ((gamma + 1) * density), (gamma - 1) / (gamma + 1) * p
    root = jnp.sqrt(a / (pressure + b))
    sound, ratio = jnp.sqrt(gamma * p / density), pressure / p
    shock = (pressure - p) * root, root * (1 - (pressure - p) / (2 * (b + pressure)))
    fan = (
        2 * sound / (gamma - 1) * (ratio ** ((gamma - 1) / (2 * gamma)) - 1),
        ratio ** (-(gamma + 1) / (2 * gamma)) / (density * sound),
    )
    return jnp.where(ratio > 1, shock[0], fan[0]), jnp.where(ratio > 1, shock[1], fan[1])


def _star_density(state: Array, pressure: Array, gamma: Array) -> Array:
    ratio, share = pressure / state[2], (gamma - 1) / (gamma + 1)
    shock = (ratio + share) / (share * ratio + 1)
    return state[0] * jnp.where(ratio > 1, shock, ratio ** (1 / gamma))


def vortex(
    points: Float[Array, "*points 2"],
    time: ArrayLike,
    lengths: Sequence[float],
    *,
    strength: ArrayLike = 5.0,
    stream: Sequence[float] = (1.0, 1.0),
    gamma: ArrayLike = 1.4,
) -> Float[Array, "4 *points"]:
    """An isentropic vortex about the origin in a periodic box, carried by a stream of density and
    pressure one: density, velocity and pressure at points.

    **Arguments:** `lengths`, of the box, at least 20 for errors below 1e-10: where the vortex meets
    its periodic image, its velocity jumps.
    """
    box = np.asarray(lengths, float)
    place = points - jnp.asarray(time) * jnp.asarray(stream, points.dtype)
    x, y = jnp.moveaxis(place - box * jnp.round(place / box), -1, 0)
    swirl = strength / (2 * jnp.pi) * jnp.exp((1 - x**2 - y**2) / 2)
    temperature = 1 - (gamma - 1) / (2 * gamma) * swirl**2
    density = temperature ** (1 / (gamma - 1))
    return jnp.stack([density, stream[0] - swirl * y, stream[1] + swirl * x, density * temperature])
