"""Rising smoke in a closed box, and the divergence each step has to take away.

    du/dt + u . grad u + grad p = smoke e_y,   div u = 0,   d smoke/dt + u . grad smoke = 0

Semi-Lagrangian advection (Stam, SIGGRAPH 1999), buoyancy, projection by the direct solver, in steps
of one on unit cells (see `cells` for where the velocities live). Smoke and flow start random and
smooth: even noise, so that they know the walls.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.experiments.pressure.cells import divergence, gradient, solve

BUOYANCY = 0.1
SPEEDS = (0.2, 1.0)
"""Root mean square of the first velocity, in cells a step, drawn between these."""
EVERY = 4
"""Steps between two recorded fields."""

State = tuple[Float[Array, "n n"], Float[Array, "2 n n"]]


@partial(jax.jit, static_argnums=(1, 2, 3))
def divergences(
    key: PRNGKeyArray, count: int, snapshots: int, cells: int
) -> Float[Array, "count snapshots cells cells"]:
    """Of the velocities before projection, in `count` simulations, every `EVERY` steps; each
    field is divided by its root mean square."""

    def recorded(state: State, _: None) -> tuple[State, Array]:
        state, sources = jax.lax.scan(lambda now, _: step(now), state, None, length=EVERY)
        return state, sources[-1]

    def simulation(key: PRNGKeyArray) -> Array:
        return jax.lax.scan(recorded, start(key, cells), None, length=snapshots)[1]

    found = jax.lax.map(simulation, jax.random.split(key, count), batch_size=8)
    found = found - jnp.mean(found, axis=(-2, -1), keepdims=True)
    return found / jnp.sqrt(jnp.mean(found**2, axis=(-2, -1), keepdims=True))


def start(key: PRNGKeyArray, n: int) -> State:
    """Blobs of smoke, and a flow whose stream function vanishes on the walls."""
    clouds, eddies, speed = jax.random.split(key, 3)
    smoke = jnp.maximum(_even_noise(clouds, n, 0.12), 0)
    x = jnp.sin(jnp.pi * jnp.arange(n) / n)
    corners = jnp.pad(_even_noise(eddies, n, 0.15) * x[:, None] * x, (0, 1))
    velocity = jnp.stack([jnp.diff(corners, axis=1)[:-1], -jnp.diff(corners, axis=0)[:, :-1]])
    wanted = jax.random.uniform(speed, minval=SPEEDS[0], maxval=SPEEDS[1])
    return smoke, velocity * wanted / jnp.sqrt(jnp.mean(velocity**2))


def step(state: State) -> tuple[State, Float[Array, "n n"]]:
    """The next state, and the divergence that its projection took away."""
    smoke, velocity = advected(*state)
    on_faces = (smoke[:, 1:] + smoke[:, :-1]) / 2
    velocity = velocity.at[1, :, 1:].add(BUOYANCY * on_faces)
    source = divergence(velocity, False)
    return (smoke, velocity - gradient(solve(source, False), False)), source


def advected(smoke: Float[Array, "n n"], velocity: Float[Array, "2 n n"]) -> State:
    """Values from where the flow carries them, one step back, by linear interpolation."""
    i, j = jnp.meshgrid(*[jnp.arange(n, dtype=smoke.dtype) for n in smoke.shape], indexing="ij")
    # With the far walls, at which the velocity is zero too.
    along_x, along_y = (
        jnp.pad(velocity[0], ((0, 1), (0, 0))),
        jnp.pad(velocity[1], ((0, 0), (0, 1))),
    )

    def back(x: Array, y: Array) -> tuple[Array, Array]:
        return x - _at(along_x, x, y - 0.5), y - _at(along_y, x - 0.5, y)

    x, y = back(i + 0.5, j + 0.5)
    carried = _at(smoke, x - 0.5, y - 0.5)
    x, y = back(i, j + 0.5)
    first = _at(along_x, x, y - 0.5).at[0].set(0)
    x, y = back(i + 0.5, j)
    second = _at(along_y, x - 0.5, y).at[:, 0].set(0)
    return carried, jnp.stack([first, second])


def _at(values: Array, x: Array, y: Array) -> Array:
    return map_coordinates(values, [x, y], order=1, mode="nearest")


def _even_noise(key: PRNGKeyArray, n: int, scale: float) -> Array:
    """Cosines with random amplitudes that fall as `exp(-(scale k)^2 / 2)`, of unit deviation."""
    squared = np.add.outer(np.arange(n) ** 2, np.arange(n) ** 2)
    amplitude = np.where(squared > 0, np.exp(-(scale**2) * squared / 2), 0)
    noise = jax.scipy.fft.idctn(jax.random.normal(key, (n, n)) * amplitude)
    return noise / jnp.std(noise)
