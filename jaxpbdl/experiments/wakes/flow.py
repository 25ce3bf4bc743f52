"""Wakes of a cylinder over Reynolds numbers, on a coarse grid and on one four times finer.

A box of 10 by 5 diameters with the cylinder a quarter in, a uniform inflow of speed one, slip along
the stream: the set-up of the book's wake flow. A state is one vector, the velocities on all faces
and the viscosity after them, so that one solver serves all Reynolds numbers.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    central,
    incompressible,
    inflow,
    outflow,
    slip,
)
from jaxpbdl.solvers.flow.operators import Interpolation
from jaxpbdl.step import Step

LENGTHS, CENTRE, RADIUS = (10.0, 5.0), (2.5, 2.5), 0.5


class WakeSolver(Step):
    """The incompressible solver of a grid, viscosity in the state, on packed states."""

    flow: IncompressibleStep

    @property
    def grid(self) -> Cells:
        return self.flow.grid

    def enter(self, state: Float[Array, " values"]) -> tuple[Flow, Array]:
        *velocity, viscosity = self.unpacked(state)
        return Flow(tuple(velocity), jnp.zeros((), state.dtype)), viscosity[0]

    def advance(self, working: tuple[Flow, Array]) -> tuple[Flow, Array]:
        flow, viscosity = working
        equation = IncompressibleFlow(viscosity)
        step = eqx.tree_at(lambda s: s.equation, self.flow, equation)
        return step.advance(flow), viscosity

    def leave(self, working: tuple[Flow, Array]) -> Float[Array, " values"]:
        return self.packed(working[0].velocity, working[1])

    def packed(self, velocity: Any, viscosity: Any) -> Float[Array, " values"]:
        parts = [u.reshape(-1) for u in velocity]
        return jnp.concatenate([*parts, jnp.reshape(viscosity, (1,)).astype(parts[0].dtype)])

    def unpacked(self, state: Float[Array, " values"]) -> list[Array]:
        """Components on their faces, and the viscosity as an array of one."""
        shapes = [self.grid.face_shape(axis) for axis in range(2)]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = jnp.split(state, ends)
        return [part.reshape(shape) for part, shape in zip(parts, [*shapes, (1,)], strict=True)]


@dataclass(frozen=True)
class Setting:
    """Cells of the coarse grid and its time step; the fine one has `finer` times as many."""

    cells: tuple[int, int] = (64, 32)
    finer: int = 4
    dt: float = 0.1

    def solver(self, factor: int = 1, interpolation: Interpolation = central) -> WakeSolver:
        grid = Cells(tuple(factor * n for n in self.cells), LENGTHS)
        sides = ((inflow((1.0, 0.0)), outflow()), slip())
        step = incompressible(
            IncompressibleFlow(0.01),
            grid,
            self.dt / factor,
            sides=sides,
            body=jp.shapes.Ball(CENTRE, RADIUS),
            interpolation=interpolation,
        )
        return WakeSolver(step)


def simulate(
    fine: WakeSolver,
    coarse: WakeSolver,
    reynolds: Float[Array, " n"],
    warm_up: int,
    frames: int,
) -> Float[Array, "n frames values"]:
    """States of the fine solver, brought to the coarse grid, a coarse time step apart, after
    `warm_up` of these from an uneven start."""
    every = _factor(fine, coarse)

    def one(number: Array) -> Array:
        start = fine.packed(fine.flow.start(_kicked).velocity, 1 / number)
        developed = jp.repeat(fine, warm_up * every, checkpoint=False)(start)
        observe = partial(coarsened, fine, coarse)
        steps = (frames - 1) * every
        return jp.rollout(fine, developed, steps, every, observe=observe, checkpoint=False)

    return jp.distributed.map_members(one, jnp.asarray(reynolds, jnp.float32))


def _kicked(point: Array) -> Array:
    """The stream with a vortex to one side, so that shedding sets in early."""
    offset = point - jnp.asarray([4.0, 3.0])
    swirl = jnp.exp(-2 * jnp.sum(offset**2))
    return jnp.stack([1.0 - swirl * offset[1], swirl * offset[0]])


def coarsened(
    fine: WakeSolver, coarse: WakeSolver, state: Float[Array, " values"]
) -> Float[Array, " fewer"]:
    """The mean flow through the fine faces that make up each coarse face, freed of the divergence
    that the coarse body's other openings leave."""
    *velocity, viscosity = fine.unpacked(state)
    body = fine.flow.body
    assert body is not None
    made = []
    for axis, (u, fraction) in enumerate(zip(velocity, body.open, strict=True)):
        flux, room = (_block_mean(part, axis, fine, coarse) for part in (fraction * u, fraction))
        made.append(jnp.where(room > 0, flux / jnp.where(room > 0, room, 1.0), 0.0))
    clean, _ = coarse.flow.projected(tuple(made), jnp.zeros((), state.dtype))
    return coarse.packed(clean, viscosity)


def _block_mean(values: Array, axis: int, fine: WakeSolver, coarse: WakeSolver) -> Array:
    factor = _factor(fine, coarse)
    n = coarse.grid.shape[1 - axis]
    on_faces = values[::factor] if axis == 0 else values[:, ::factor]
    if axis == 0:
        return on_faces.reshape(-1, n, factor).mean(axis=2)
    return on_faces.reshape(n, factor, -1).mean(axis=1)


def _factor(fine: WakeSolver, coarse: WakeSolver) -> int:
    return fine.grid.shape[0] // coarse.grid.shape[0]


def vorticity(solver: WakeSolver, state: Float[Array, " values"]) -> Float[Array, "nx ny"]:
    """Of a packed state, for pictures."""
    return solver.grid.vorticity(solver.unpacked(state)[:2])


def relative_l1(
    prediction: Float[Array, "runs frames values"], truth: Float[Array, "runs frames values"]
) -> Float[np.ndarray, "runs frames"]:
    """Sum of the distances over the sum of the speeds, as the book's figure has it."""
    apart = jnp.sum(jnp.abs(prediction - truth), axis=-1)
    return np.asarray(apart / jnp.sum(jnp.abs(truth), axis=-1))


def features(solver: WakeSolver, state: Float[Array, " values"]) -> Float[Array, "4 nx ny"]:
    """What a network sees: velocity in the cells, the open part of each cell, the Reynolds
    number."""
    *velocity, viscosity = solver.unpacked(state)
    body = solver.flow.body
    assert body is not None
    room = jnp.mean(solver.grid.to_cells(body.open), axis=0)
    number = jnp.full(solver.grid.shape, jnp.log(0.01 / viscosity[0]))
    return jnp.concatenate([solver.grid.to_cells(velocity), jnp.stack([room, number])])


def solenoidal(solver: WakeSolver, increment: Float[Array, "2 nx ny"]) -> Float[Array, " values"]:
    """An increment of the velocity given in the cells, on the open faces inside the box and freed
    of its divergence, as an increment of a packed state."""
    grid, flow = solver.grid, solver.flow
    assert flow.body is not None
    faces = grid.to_faces(increment)
    still = eqx.tree_at(
        lambda s: s.boundary.planes, flow, jax.tree.map(jnp.zeros_like, flow.boundary.planes)
    )
    clean, _ = still.projected(faces, jnp.zeros((), increment.dtype))
    return solver.packed(clean, 0.0)
