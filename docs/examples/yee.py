"""Maxwell's equations by Yee's scheme in two dimensions, as a step that everything takes.

    dEz/dt = dHy/dx - dHx/dy,   dHx/dt = -dEz/dy,   dHy/dt = dEz/dx

Ez lies in the cells, H on the faces between them, in a periodic box. A state is a tree of arrays:
`rollout`, `Windows`, `unrolled`, `evaluate` and `Corrected` take it as it is. Takes 20 seconds.
"""

import jax
import jax.numpy as jnp
import optax

import jaxpbdl as jp
from jaxpbdl.learning import Corrected, Windows, evaluate, fit, unrolled
from jaxpbdl.networks import ConvNet
from jaxpbdl.solvers import time


def yee(grid, dt):
    """The step on states (E, (Hx, Hy)), exact in energy to second order in time."""
    dx, dy = (float(h[0]) for h in grid.widths)

    def electric_rate(magnetic):
        hx, hy = magnetic
        return (jnp.roll(hy, -1, 0) - hy) / dx - (jnp.roll(hx, -1, 1) - hx) / dy

    def magnetic_rate(ez):
        return (jnp.roll(ez, 1, 1) - ez) / dy, (ez - jnp.roll(ez, 1, 0)) / dx

    fastest = 2 * (dx**-2 + dy**-2) ** 0.5
    return time.hamiltonian(
        electric_rate, magnetic_rate, dt, largest_dt=lambda _: time.leapfrog.largest_dt(fastest)
    )


def plane_wave(grid, at=0.0):
    """Along the diagonal, at a time; each part where it lives."""
    n = jnp.asarray([1.0, 1.0]) / jnp.sqrt(2.0)

    def wave(location):
        return jnp.cos(2 * jnp.pi * jnp.sqrt(2.0) * (grid.points_at(location) @ n - at))

    ez, hx, hy = wave(jp.grids.cell), wave(jp.grids.face(1)), wave(jp.grids.face(0))
    return ez, (n[1] * hx, -n[0] * hy)


if __name__ == "__main__":
    errors = []
    for cells in (16, 32):
        grid = jp.grids.Cells((cells, cells), 1.0, periodic=True)
        step = yee(grid, 0.5 / cells)
        states = jp.rollout(step, plane_wave(grid), 2 * cells, every=cells)
        errors.append(float(jp.diagnostics.relative_l2(states[0][-1], plane_wave(grid, 1.0)[0])))
    print(f"after one period {errors[0]:.4f} on 16, {errors[1]:.4f} on 32 cells a side")

    # A coarse solver that a network corrects: the same calls as for any other step.
    coarse = jp.grids.Cells((16, 16), 1.0, periodic=True)
    step = yee(coarse, 0.5 / 16)
    times = 0.5 / 16 * jnp.arange(33)
    truth = jax.tree.map(
        lambda *leaves: jnp.stack(leaves)[None], *[plane_wave(coarse, t) for t in times]
    )

    def features(state):
        ez, (hx, hy) = state
        return jnp.stack([ez, hx, hy])

    def change(state, increment):
        ez, (hx, hy) = state
        return ez + increment[0], (hx + increment[1], hy + increment[2])

    network = ConvNet(2, 3, 3, width=8, depth=1, zero_last=True, key=jax.random.key(0))
    hybrid = Corrected(step, network, scale=0.02, features=features, change=change)
    windows = Windows(truth, steps=2, batch=8)
    hybrid, _ = fit(hybrid, unrolled, windows, optax.adam(3e-3), 300, key=jax.random.key(1))
    plain, better = (evaluate(model, truth, times).error_at(1.0) for model in (step, hybrid))
    print(f"on 16 cells the scheme is off by {plain:.4f}, corrected by {better:.4f}")
    assert errors[0] / errors[1] > 3.5 and better < plain / 2
