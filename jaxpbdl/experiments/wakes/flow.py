"""Wakes of a body in a channel without friction, on grids of any fineness of one box.

A box of 10 by 5 diameters with a cylinder a quarter in, a uniform inflow of speed one, slip along
the stream: the set-up of the wake flow in the Physics-based Deep Learning book.

What grids have in common is the stream function at their corners, the volume that passes below a
point: its differences are the fluxes through the faces, whatever part of a face is open. A coarse
grid whose corners are corners of the fine one takes over its fluxes exactly; on others the stream
function is interpolated, and fluxes still balance in every cell.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxpbdl.environments import CENTRE, LENGTHS
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.learning import Varied, Varying
from jaxpbdl.shapes import Ball, Cuboid, Shape, Union
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
from jaxpbdl.solvers.time import rk3
from jaxpbdl.solvers.time.scheme import Scheme
from jaxpbdl.step import Step

RADIUS = 0.5

Body: TypeAlias = Literal["cylinder", "wide", "pair", "square"]
BODIES: dict[Body, Shape] = {
    "cylinder": Ball(CENTRE, RADIUS),
    "wide": Ball(CENTRE, 0.65),
    "pair": Union([Ball((2.5, 1.7), 0.35), Ball((2.5, 3.3), 0.35)]),
    "square": Cuboid(CENTRE, (0.5, 0.5)),
}
"""In the box; all but the cylinder serve tests alone."""

Stream = Float[Array, "nx_1 ny_1"]
"""The stream function at the corners of a grid, zero on the lower side."""


class Fluxes(NamedTuple):
    """Volume through the faces of a mesh a unit of time, over their area."""

    x: Float[Array, "nx_1 ny"]
    y: Float[Array, "nx ny_1"]


@dataclass(frozen=True)
class Setting:
    """Cells of the coarse grid, and the body in the box."""

    cells: tuple[int, int] = (64, 32)
    body: Body = "cylinder"

    @property
    def mesh(self) -> tuple[int, int]:
        """Cells of the mesh on which solvers are compared: half as fine as the coarse grid, so that
        grids 1, 1.5, 2, 2.5, 3 .. times as fine as that one have its corners and nothing has to be
        interpolated."""
        nx, ny = self.cells
        return nx // 2, ny // 2

    def solver(
        self,
        dt: float,
        finer: float = 1,
        interpolation: Interpolation = central,
        scheme: Scheme = rk3,
    ) -> IncompressibleStep:
        """The solver with `finer` times as many cells along each axis.

        **Raises:** ValueError unless that is a whole number of cells.
        """
        shape = tuple(round(finer * n) for n in self.cells)
        if any(abs(finer * n - m) > 1e-9 for n, m in zip(self.cells, shape, strict=True)):
            raise ValueError(f"finer must give whole cells of {self.cells}, got {finer}")
        sides = ((inflow((1.0, 0.0)), outflow()), slip())
        return incompressible(
            IncompressibleFlow(0.01),
            Cells(shape, LENGTHS),
            dt,
            sides=sides,
            body=BODIES[self.body],
            scheme=scheme,
            interpolation=interpolation,
        )


def viscosity_of(step: IncompressibleStep) -> PyTree:
    """The part of the solver that travels in the state."""
    return step.equation.viscosity


def family(step: IncompressibleStep) -> Varying:
    """The solver for states `Varied(flow, viscosity)`: one step for all Reynolds numbers."""
    return Varying(step, viscosity_of)


def flow_of(solver: Step) -> IncompressibleStep:
    """The solver of one flow in a family."""
    step = solver.solver if isinstance(solver, Varying) else solver
    assert isinstance(step, IncompressibleStep) and step.body is not None
    return step


def stream_function(step: IncompressibleStep, velocity: Velocity) -> Stream:
    """Of a velocity without divergence."""
    assert step.body is not None
    width = jnp.asarray(step.grid.widths[1], step.grid.dtype)
    below = jnp.cumsum(step.body.open[0] * velocity[0] * width, axis=1)
    return jnp.pad(below, ((0, 0), (1, 0)))


def sampled(stream: Stream, cells: tuple[int, ...]) -> Float[Array, "mx_1 my_1"]:
    """At the corners of another equidistant mesh of the same box: taken over where corners
    coincide along an axis, else interpolated by cubic polynomials."""
    for axis, count in enumerate(cells):
        present = stream.shape[axis] - 1
        if present % count == 0:
            stream = jnp.take(stream, jnp.arange(count + 1) * (present // count), axis)
        else:
            matrix = jnp.asarray(cubic(present, count), stream.dtype)
            stream = jnp.moveaxis(jnp.tensordot(matrix, stream, ([1], [axis])), 0, axis)
    return stream


def cubic(present: int, wanted: int) -> Float[np.ndarray, "wanted_1 present_1"]:
    """The matrix that interpolates values at `present + 1` equidistant points of an interval to
    `wanted + 1` others, by the polynomial through the four nearest."""
    where = np.arange(wanted + 1) * present / wanted
    first = np.clip(np.floor(where).astype(int) - 1, 0, present - 3)
    matrix = np.zeros((wanted + 1, present + 1))
    nodes = np.arange(4)
    for own in nodes:
        others = nodes[nodes != own]
        offsets = (where - first)[:, None]
        matrix[np.arange(wanted + 1), first + own] = np.prod(
            (offsets - others) / (own - others), axis=1
        )
    return matrix


def fluxes(stream: Stream) -> Fluxes:
    """Through the faces of the mesh whose corners it is given at."""
    nx, ny = (n - 1 for n in stream.shape)
    dx, dy = LENGTHS[0] / nx, LENGTHS[1] / ny
    return Fluxes(jnp.diff(stream, axis=1) / dy, -jnp.diff(stream, axis=0) / dx)


def flow_from(step: IncompressibleStep, stream: Stream) -> Flow:
    """The flow on the grid of `step` with the fluxes of a stream function on any mesh, freed of
    what passes through faces that its body closes."""
    assert step.body is not None
    through = fluxes(sampled(stream, step.grid.shape))
    velocity = tuple(
        jnp.where(fraction > 0, flux / jnp.where(fraction > 0, fraction, 1.0), 0.0)
        for flux, fraction in zip(through, step.body.open, strict=True)
    )
    # The inflow is steady: the time of a state does not matter.
    still = jnp.zeros((), step.grid.dtype)
    return Flow(step.projected(velocity, still)[0], still)


class Observer(eqx.Module):
    """From a state of a solver to its fluxes through the faces of a common mesh."""

    trainable_fields = ()

    step: IncompressibleStep
    cells: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, state: Varied) -> Fluxes:
        return fluxes(sampled(stream_function(self.step, state.state.velocity), self.cells))


def stream_of(through: Fluxes) -> Stream:
    """The inverse of `fluxes`."""
    dy = LENGTHS[1] / through.x.shape[1]
    return jnp.pad(jnp.cumsum(dy * through.x, axis=1), ((0, 0), (1, 0)))


def vorticity(through: Fluxes) -> Float[Array, "nx_1 ny_1"]:
    """At the inner corners of the mesh."""
    return Cells((through.y.shape[0], through.x.shape[1]), LENGTHS).vorticity(through)


def stepped(limit: float, interval: float, share: float) -> int:
    """Steps in an interval so that each is at most a share of a stability limit."""
    return int(np.ceil(interval / (share * limit)))
