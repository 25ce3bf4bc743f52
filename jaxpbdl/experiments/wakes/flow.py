"""Wakes of a cylinder over Reynolds numbers, on a coarse grid and on one four times finer.

A box of 10 by 5 diameters with the cylinder a quarter in, a uniform inflow of speed one, slip along
the stream: the set-up of the book's wake flow. A state is a flow and its viscosity, so that one
solver serves all Reynolds numbers.
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import jaxpbdl as jp
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.learning import Varied, Varying
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    central,
    incompressible,
    inflow,
    outflow,
    slip,
)
from jaxpbdl.solvers.flow.bodies import Body
from jaxpbdl.solvers.flow.operators import Interpolation

LENGTHS, CENTRE, RADIUS = (10.0, 5.0), (2.5, 2.5), 0.5


def viscosity_of(step: IncompressibleStep) -> PyTree:
    """The part of the solver that travels in the state: an array, or what `eqx.tree_at` puts in its
    place to find it."""
    return step.equation.viscosity


def velocity(state: Varied) -> tuple[Array, ...]:
    """What of a state is compared."""
    return state.state.velocity


@dataclass(frozen=True)
class Setting:
    """Cells of the coarse grid and its time step; the fine one has `finer` times as many."""

    cells: tuple[int, int] = (64, 32)
    finer: int = 4
    dt: float = 0.1

    def solver(self, factor: int = 1, interpolation: Interpolation = central) -> Varying:
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
        return Varying(step, viscosity_of)


def flow_of(solver: Varying) -> IncompressibleStep:
    """The solver of one flow."""
    step = solver.solver
    assert isinstance(step, IncompressibleStep) and step.body is not None
    return step


def simulate(
    fine: Varying,
    coarse: Varying,
    reynolds: Float[Array, " n"],
    warm_up: int,
    snapshots: int,
) -> Varied:
    """States of the fine solver, brought to the coarse grid, a coarse time step apart, after
    `warm_up` of these from an uneven start: leaves `(n, snapshots, ..)`."""
    every = _factor(fine, coarse)

    def one(number: Array) -> Varied:
        start = Varied(flow_of(fine).start(_kicked), 1 / number)
        developed = jp.repeat(fine, warm_up * every, checkpoint=False)(start)
        observe = partial(coarsened, fine, coarse)
        steps = (snapshots - 1) * every
        return jp.rollout(fine, developed, steps, every, observe=observe, checkpoint=False)

    return jp.distributed.map_members(one, jnp.asarray(reynolds, jnp.float32))


def _kicked(point: Array) -> Array:
    """The stream with a vortex to one side, so that shedding sets in early."""
    offset = point - jnp.asarray([4.0, 3.0])
    swirl = jnp.exp(-2 * jnp.sum(offset**2))
    return jnp.stack([1.0 - swirl * offset[1], swirl * offset[0]])


def coarsened(fine: Varying, coarse: Varying, state: Varied) -> Varied:
    """The mean flow through the fine faces that make up each coarse face, freed of the divergence
    that the coarse body's other openings leave."""
    body = flow_of(fine).body
    assert isinstance(body, Body)
    coarse_faces = []
    for axis, (u, fraction) in enumerate(zip(velocity(state), body.open, strict=True)):
        flux, opened = (_block_mean(part, axis, fine, coarse) for part in (fraction * u, fraction))
        coarse_faces.append(jnp.where(opened > 0, flux / jnp.where(opened > 0, opened, 1.0), 0.0))
    # The inflow is steady: the time of a state does not matter, and is not stored.
    still = jnp.zeros((), flow_of(coarse).grid.dtype)
    clean, _ = flow_of(coarse).projected(tuple(coarse_faces), still)
    return Varied(Flow(clean, still), state.parameter)


def _block_mean(values: Array, axis: int, fine: Varying, coarse: Varying) -> Array:
    factor = _factor(fine, coarse)
    n = flow_of(coarse).grid.shape[1 - axis]
    on_faces = values[::factor] if axis == 0 else values[:, ::factor]
    if axis == 0:
        return on_faces.reshape(-1, n, factor).mean(axis=2)
    return on_faces.reshape(n, factor, -1).mean(axis=1)


def _factor(fine: Varying, coarse: Varying) -> int:
    return flow_of(fine).grid.shape[0] // flow_of(coarse).grid.shape[0]


def vorticity(solver: Varying, faces: tuple[Array, ...]) -> Float[Array, "nx ny"]:
    """Of a velocity, for pictures."""
    return flow_of(solver).grid.vorticity(faces)


def relative_l1(
    prediction: tuple[Array, ...], truth: tuple[Array, ...]
) -> Float[np.ndarray, "runs snapshots"]:
    """Sum of the distances of velocities over the sum of the speeds, as the book's figure has it;
    components with leading axes of runs and snapshots."""

    def size(faces: tuple[Array, ...]) -> Array:
        return sum((jnp.sum(jnp.abs(u), axis=(2, 3)) for u in faces), start=jnp.zeros(()))

    apart = tuple(p - u for p, u in zip(prediction, truth, strict=True))
    return np.asarray(size(apart) / size(truth))


class Features(eqx.Module):
    """What a network sees of a state: velocity in the cells, the open part of each cell, the
    Reynolds number."""

    trainable_fields = ()

    solver: Varying

    def __call__(self, state: Varied) -> Float[Array, "4 nx ny"]:
        flow = flow_of(self.solver)
        assert isinstance(flow.body, Body)
        opened = jnp.mean(flow.grid.to_cells(flow.body.open), axis=0)
        number = jnp.full(flow.grid.shape, jnp.log(0.01 / state.parameter))
        return jnp.concatenate([flow.channels(state.state), jnp.stack([opened, number])])
