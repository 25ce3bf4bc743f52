"""The trajectory of any solver before the residual of its own equation, in one call.

Vorticity in a periodic box by a spectral solver, and a flow between walls by finite volumes: what
the states have to become (a stream function, velocities with their pressure) is the solver's
business. Takes 20 seconds.
"""

import jax
import jax.numpy as jnp

import jaxpbdl as jp
from jaxpbdl.solvers.flow import incompressible, slip, wall


def size(residual):
    return float(jnp.sqrt(jnp.mean(residual**2)))


if __name__ == "__main__":
    flow = jp.equations.NavierStokes2D(0.01)
    grid = jp.grids.Periodic((64, 64))
    start = jp.initial_states.random_vorticity(jax.random.key(0), grid)
    step = jp.solvers.spectral.semilinear(flow, grid, 0.01)
    states, times = jp.rollout(step, start, 16), 0.01 * jnp.arange(17)
    vorticity = size(jp.learning.residual_of(step, states, times))
    print(f"a turbulent flow, spectral: {vorticity:.1e}")

    found = []
    points = jax.random.uniform(jax.random.key(1), (200, 3), minval=0.2, maxval=0.8)
    points = points * jnp.asarray([1.0, 1.0, 0.4])
    for cells in (16, 32):
        grid = jp.grids.Cells((cells, cells), 1.0, periodic=(True, False))
        equation = jp.equations.IncompressibleFlow(0.02)
        step = incompressible(equation, grid, 0.2 / cells, (None, (wall(), slip())))
        start = step.start(
            lambda p: jnp.stack(
                [
                    p[1] * (2 - p[1]) + 0.1 * jnp.sin(6.28318 * p[0]) * jnp.sin(3.14159 * p[1]),
                    0.0 * p[0],
                ]
            )
        )
        states = jp.rollout(step, start, 2 * cells, every=cells // 4)
        residual = jp.learning.residual_of(step, states, 0.05 * jnp.arange(9), points)
        found.append(size(residual))
    print(f"a channel, finite volumes: {found[0]:.1e} on 16, {found[1]:.1e} on 32 cells a side")
    assert vorticity < 1e-2 and found[1] < found[0] / 3
