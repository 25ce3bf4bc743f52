"""Random Riemann problems on the unit tube, with their exact solutions."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.solvers.compressible import exact

GAMMA = 1.4
PATH = 0.4
"""Of the fastest wave until the end: none reaches the ends of the tube."""
PARTS = 32
"""Points a cell, over which the exact density is averaged."""


class Problems(NamedTuple):
    """`states` (problems, 2, 3), (density, velocity, pressure) below and above; the `places` where
    they meet; the `ends` in time."""

    states: np.ndarray
    places: np.ndarray
    ends: np.ndarray


def random_problems(
    key: int, count: int, low: float, speed: float, strong: float | None = None
) -> Problems:
    """Densities and pressures between `low` and 1, uniform in their logarithms, velocities within
    `speed`; with `strong`, pressures of 1 and of 1 / ratio, ratios up to `strong` from a tenth of
    it. Gases that part by more than half of what opens a vacuum are drawn anew."""
    random = np.random.default_rng(key)
    found: list[np.ndarray] = []
    while len(found) < count:
        density, pressure = np.exp(random.uniform(np.log(low), 0, (2, 2)))
        velocity = random.uniform(-speed, speed, 2)
        if strong is not None:
            weak = np.exp(-random.uniform(np.log(strong / 10), np.log(strong)))
            pressure = random.permutation(np.array([1.0, weak]))
        sounds = np.sqrt(GAMMA * pressure / density).sum()
        if velocity[1] - velocity[0] < sounds / (GAMMA - 1):
            found.append(np.stack([density, velocity, pressure], axis=1))
    states = np.stack(found)
    with jax.enable_x64(True):
        fastest = np.asarray(jax.jit(jax.vmap(_fastest))(jnp.asarray(states)))
    return Problems(states, random.uniform(0.45, 0.55, count), PATH / fastest)


def _fastest(pair: Array) -> Array:
    """The largest |u| + c of all states: no shock is faster than the sound behind it."""
    found = exact.riemann(pair[0], pair[1], GAMMA)
    star = jnp.stack(
        [jnp.stack([rho, found.velocity, found.pressure]) for rho in found.densities()]
    )
    states = jnp.concatenate([pair, star])
    sound = jnp.sqrt(GAMMA * states[:, 2] / states[:, 0])
    return jnp.max(jnp.abs(states[:, 1]) + sound)


def exact_densities(problems: Problems, cells: int) -> np.ndarray:
    """At the end, means over the cells: `(problems, cells)`."""
    with jax.enable_x64(True):
        places = (np.arange(cells * PARTS) + 0.5) / (cells * PARTS)
        return np.asarray(_densities(problems, jnp.asarray(places), cells))


@eqx.filter_jit
def _densities(problems: Problems, points: Array, cells: int) -> Array:
    def one(pair: Array, place: Array, end: Array) -> Array:
        density = exact.riemann(pair[0], pair[1], GAMMA)((points - place) / end)[0]
        return jnp.mean(density.reshape(cells, PARTS), axis=1)

    return jax.vmap(one)(*(jnp.asarray(each) for each in problems))


def starts(problems: Problems, cells: int) -> Array:
    """The states in the cells, exact means also of that in which the gases meet: `(problems, 3,
    cells)`."""
    with jax.enable_x64(True):
        gas = CompressibleFlow(1, jnp.asarray(GAMMA))
        below, above = (
            np.asarray(gas.conserved(jnp.asarray(problems.states[:, side].T))).T[..., None]
            for side in (0, 1)
        )
    share = np.clip(problems.places[:, None] * cells - np.arange(cells), 0, 1)[:, None]
    return jnp.asarray(below * share + above * (1 - share), jnp.float32)


def steps_of(cells: int, courant: float) -> int:
    """To the end of any problem."""
    return int(np.ceil(PATH * cells / courant))


class Run(NamedTuple):
    """Problems on some cells: states, exact densities, ends."""

    states: Array
    truth: Array
    ends: Array


def on_cells(problems: Problems, cells: int) -> Run:
    """Start, exact end and time of each."""
    truth = jnp.asarray(exact_densities(problems, cells), jnp.float32)
    return Run(starts(problems, cells), truth, jnp.asarray(problems.ends, jnp.float32))
