"""The flows of Mosaic's protocol: from velocity to velocity, spectral and on staggered cells.

The box has the side 2 pi. Initial states are Taylor-Green vortices in three dimensions and random
waves about wavenumber 2 of largest speed 0.3 in two; the latter are ours, not Mosaic's random bits.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from tesseract_flow.spectral import velocity_after

import jaxpbdl as jp
from jaxpbdl.diagnostics import velocity
from jaxpbdl.initial_states import random_vorticity, taylor_green_3d
from jaxpbdl.shapes import Ball, Shape
from jaxpbdl.solvers.flow import Flow, incompressible

VISCOSITY, DT = 1e-3, 0.05
CYLINDER = Ball((jnp.pi, jnp.pi), 1.0)
FlowMap = Callable[[Array], Array]
"""From a velocity (dim, *points) to the one after some steps."""


def spectral(
    steps: int, viscosity: float = VISCOSITY, dt: float = DT, checkpoint: bool = True
) -> FlowMap:
    """Pseudo-spectral, ETDRK4."""
    return lambda start: velocity_after(start, viscosity, dt, steps, checkpoint=checkpoint)


def staggered(
    steps: int,
    viscosity: float = VISCOSITY,
    dt: float = DT,
    checkpoint: bool = True,
    body: Shape | None = None,
) -> FlowMap:
    """On staggered cells, Runge-Kutta of third order; start and result are in the cells."""

    def flow(start: Array) -> Array:
        grid = jp.grids.Cells(start.shape[1:], 2 * jnp.pi, periodic=True, dtype=start.dtype)
        equation = jp.equations.IncompressibleFlow(viscosity)
        step = incompressible(equation, grid, dt, body=body)
        now = jnp.zeros((), start.dtype)
        clean, _ = step.projected(grid.to_faces(start), now)
        end = jp.repeat(step, steps, checkpoint=checkpoint)(Flow(clean, now))
        return grid.to_cells(end.velocity)

    return flow


def random_waves(points: int) -> Array:
    """Of two dimensions."""
    grid = jp.grids.Periodic((points, points))
    return velocity(random_vorticity(jax.random.key(42), grid, 2.0, 0.3), grid)


def vortices(points: int) -> Array:
    """Taylor-Green vortices of three dimensions."""
    return taylor_green_3d(jp.grids.Periodic((points,) * 3))
