"""Initial states of the standard test cases on the sphere, each with its equation.

Williamson, Drake, Hack, Jakob and Swarztrauber, J. Comput. Phys. 102 (1992) 211, cases 2, 5 and 6;
Galewsky, Scott and Polvani, Tellus A 56 (2004) 429. Metres and seconds.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.equations.sphere import (
    EARTH_RADIUS,
    EARTH_ROTATION,
    BarotropicVorticity,
    ShallowWater,
    turned_sine,
)
from jaxpbdl.grids.harmonics import SphericalHarmonics

GRAVITY = 9.80616
DAY = 86400.0
WAVE = 7.848e-6
"""Of the Rossby-Haurwitz wave, 1/s: the rotation of its mean flow, and its amplitude."""
WAVE_NUMBER = 4


def solid_rotation(
    harmonics: SphericalHarmonics,
    tilt: float = 0.0,
    speed: float = 2 * np.pi * EARTH_RADIUS / (12 * DAY),
    geopotential: float = 2.94e4,
) -> tuple[ShallowWater, Float[Array, "3 latitudes longitudes"]]:
    """Case 2: a wind in solid rotation in balance with the depth, which does not change.

    **Arguments**

    - `tilt`: of the axis of both rotations against the grid, radians.
    - `speed`: of the wind at its equator.
    - `geopotential`: there.
    """
    sine = turned_sine(harmonics.grid.coordinates, tilt)
    depth = geopotential - (EARTH_RADIUS * EARTH_ROTATION * speed + speed**2 / 2) * sine**2
    spin = 2 * speed / EARTH_RADIUS * sine
    mean = geopotential - (EARTH_RADIUS * EARTH_ROTATION * speed + speed**2 / 2) / 3
    return ShallowWater(mean, tilt=tilt), jnp.stack([spin, 0 * spin, depth])


def mountain(
    harmonics: SphericalHarmonics,
) -> tuple[ShallowWater, Float[Array, "3 latitudes longitudes"]]:
    """Case 5: a westerly wind of 20 m/s over a cone of 2000 m at 30 degrees north."""
    _, state = solid_rotation(harmonics, 0.0, 20.0, 5960 * GRAVITY)

    equation = ShallowWater(5850 * GRAVITY, terrain=cone)
    ground = equation.ground(harmonics.grid)
    return equation, state.at[2].add(-harmonics.to_grid(harmonics.transform(ground)))


def cone(point: Float[Array, "2"]) -> Float[Array, ""]:
    """Gravity times the height of the mountain of case 5, at longitude 270 degrees."""
    # The small part: at the peak the distance would have no derivative.
    away = jnp.sqrt((point[0] - np.pi / 6) ** 2 + (point[1] - 1.5 * np.pi) ** 2 + 1e-30)
    return 2000 * GRAVITY * jnp.maximum(1 - away / (np.pi / 9), 0)


def shallow_water_wave(
    harmonics: SphericalHarmonics,
) -> tuple[ShallowWater, Float[Array, "3 latitudes longitudes"]]:
    """Case 6: a Rossby-Haurwitz wave of wavenumber 4, which moves to the east."""
    north, east = harmonics.grid.coordinates
    r, c = WAVE_NUMBER, jnp.cos(north)
    mean = WAVE / 2 * (2 * EARTH_ROTATION + WAVE) * c**2 + WAVE**2 / 4 * c ** (2 * r) * (
        (r + 1) * c**2 + (2 * r**2 - r - 2)
    )
    mean = mean - WAVE**2 / 2 * r**2 * c ** (2 * r - 2)
    once = 2 * (EARTH_ROTATION + WAVE) * WAVE / ((r + 1) * (r + 2)) * c**r
    once = once * ((r**2 + 2 * r + 2) - (r + 1) ** 2 * c**2)
    twice = WAVE**2 / 4 * c ** (2 * r) * ((r + 1) * c**2 - (r + 2))
    depth = mean + once * jnp.cos(r * east) + twice * jnp.cos(2 * r * east)
    depth = 8000 * GRAVITY + EARTH_RADIUS**2 * depth
    vorticity = barotropic_wave(harmonics)[1]
    state = jnp.stack([vorticity, 0 * vorticity, depth])
    return ShallowWater(9500 * GRAVITY), state


def barotropic_wave(
    harmonics: SphericalHarmonics, time: float = 0.0
) -> tuple[BarotropicVorticity, Float[Array, "latitudes longitudes"]]:
    """The Rossby-Haurwitz wave in a flow without divergence, where it is exact: it turns to the
    east without a change of shape, at `wave_speed`.

    **Arguments**

    - `time`: in seconds, of the state.
    """
    north, east = harmonics.grid.coordinates
    r = WAVE_NUMBER
    shape = jnp.sin(north) * jnp.cos(north) ** r
    wave = (r**2 + 3 * r + 2) * shape * jnp.cos(r * (east - wave_speed() * time))
    return BarotropicVorticity(), WAVE * (2 * jnp.sin(north) - wave)


def wave_speed() -> float:
    """Of the wave in longitude, radians a second (Haurwitz, J. Mar. Res. 3 (1940) 254)."""
    r = WAVE_NUMBER
    return (r * (3 + r) * WAVE - 2 * EARTH_ROTATION) / ((1 + r) * (2 + r))


def unstable_jet(
    harmonics: SphericalHarmonics, bump: float = 120.0, viscosity: float | None = 1e5
) -> tuple[ShallowWater, Float[Array, "3 latitudes longitudes"]]:
    """A jet of 80 m/s at 45 degrees north in balance with a depth of 10 km in the mean, and a bump
    on it from which it breaks up within six days.

    **Arguments**

    - `bump`: its height in metres; 0 leaves the balanced jet.
    - `viscosity`: m^2/s, of vorticity, divergence and depth.
    """
    grid = harmonics.grid
    rows, columns = grid.lines
    wind = np.broadcast_to(jet(rows)[:, None], grid.shape)
    east = jnp.asarray(wind, grid.dtype)
    spin = harmonics.to_grid(harmonics.vorticity_divergence(east, jnp.zeros_like(east))[0])

    def force(north: np.ndarray) -> np.ndarray:
        speed = jet(north)
        coriolis = 2 * EARTH_ROTATION * np.sin(north)
        return EARTH_RADIUS * speed * (coriolis + np.tan(north) * speed / EARTH_RADIUS)

    balanced = -_integrals(force, rows)
    weights = grid.weights[0]
    balanced = balanced + 10000 * GRAVITY - np.sum(weights * balanced) / np.sum(weights)
    away = (columns + np.pi) % (2 * np.pi) - np.pi
    shape = np.cos(rows) * np.exp(-(((np.pi / 4 - rows) * 15) ** 2))
    lump = bump * GRAVITY * np.outer(shape, np.exp(-((3 * away) ** 2)))
    depth = jnp.asarray(balanced[:, None] + lump, grid.dtype)
    equation = ShallowWater(10000 * GRAVITY, viscosity=viscosity)
    return equation, jnp.stack([spin, 0 * spin, depth])


def jet(north: np.ndarray) -> np.ndarray:
    """The wind of Galewsky's jet by latitude, zero outside of (pi/7, pi/2 - pi/7), m/s."""
    low, high = np.pi / 7, np.pi / 2 - np.pi / 7
    inside = (north > low) & (north < high)
    safe = np.where(inside, north, np.pi / 4)
    top = np.exp(4 / (high - low) ** 2)
    return np.where(inside, 80 * top * np.exp(1 / ((safe - low) * (safe - high))), 0.0)


def _integrals(function: Callable[[np.ndarray], np.ndarray], places: np.ndarray) -> np.ndarray:
    """From the south pole to each place, by Gauss's rule on eighths of the intervals."""
    edges = np.concatenate([[-np.pi / 2], places])
    steps = np.linspace(0, 1, 9)
    fine = np.append((edges[:-1, None] + np.diff(edges)[:, None] * steps[:-1]).ravel(), edges[-1])
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(fine)[:, None] / 2
    values = function(fine[:-1, None] + half * (1 + nodes))
    return np.cumsum(np.sum(half * values * weights, axis=1))[7::8]
