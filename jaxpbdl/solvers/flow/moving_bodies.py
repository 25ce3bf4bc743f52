"""Bodies whose surface moves, on a grid: what they are at a time.

About a body on a path all is computed again at every stage, for the shape that it has then. Of a
body at rest whose surface slides only the velocity on the surface changes.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.grids.poisson import FastSolver
from jaxpbdl.shapes import Shape, Union
from jaxpbdl.solvers.flow.bodies import Body, Continuation
from jaxpbdl.solvers.flow.immersion import (
    Survey,
    continuation,
    feet_of,
    immersed,
    is_fixed,
    solid_shares,
    surface_share,
    survey_of,
)
from jaxpbdl.solvers.flow.motion import (
    check_velocity,
    has_velocity,
    moves,
    resting,
    shape_at,
    velocity_of,
)
from jaxpbdl.solvers.flow.resolution import distances, local_width, refuse_unresolved

ROOM = 1.5
"""Faces to reserve space for, over those that a body cuts at the start."""
CLEARANCE = 3
"""Cells that a body keeps from the sides of the box and from other bodies: the velocity within it
is continued from fluid on its own side."""


class SlidingBody(eqx.Module):
    """A body at rest whose surface slides along itself: no volume crosses it.

    **Attributes:** `shape`: as given, with its surface velocities; `fixed`: the body at rest;
    `feet`, `shares`: for each component the points of the surface that its continued values
    depend on, and their weights.
    """

    trainable_fields = ()

    shape: Shape
    fixed: Body
    grid: Cells
    feet: tuple[Float[Array, "k dim"], ...]
    shares: tuple[Float[Array, " k"], ...]

    def at(self, time: Array) -> Body:
        """The body at a time."""
        filled = []
        for component, old in enumerate(self.fixed.continuations):
            velocity = jax.vmap(lambda point: velocity_of(self.shape, point, time))(
                self.feet[component]
            )
            surface = self.shares[component] * velocity[:, component]
            filled.append(Continuation(old.faces, old.sources, old.weights, surface))
        walls = walls_of(self.shape, self.grid, time)
        return dataclasses.replace(self.fixed, continuations=tuple(filled), walls=walls)


class MovingBody(eqx.Module):
    """A body on a prescribed path, or several, of which some may be at rest.

    **Attributes:** `shape`: as given, with its paths and surface velocities; `capacity`: faces that
    it may cut.
    """

    trainable_fields = ()

    shape: Shape
    grid: Cells
    capacity: int = eqx.field(static=True)

    def at(self, time: Array) -> Body:
        """The body at a time. A runtime error where the grid cannot hold it."""
        grid, shape = self.grid, shape_at(self.shape, time)
        corners, survey = survey_of(shape, grid)
        survey = self._refused(shape, corners, survey)
        filled = []
        for component, mark in enumerate(survey.near):

            def surface(point: Array, component: int = component) -> Array:
                return velocity_of(self.shape, point, time)[component]

            lines, width = grid.lines_at(face(component)), local_width(component, grid)
            filled.append(continuation(shape, mark, lines, width, 2 * self.capacity, surface))
        none = jnp.zeros((2, 0), int), jnp.zeros(0, grid.dtype)
        solid = solid_shares(survey, grid)
        return Body(survey.open, solid, tuple(filled), *none, None, self.walls(time))

    def walls(self, time: Array) -> Velocity:
        """The velocity of the body, continued to all faces."""
        return walls_of(self.shape, self.grid, time)

    def accelerations(self, time: Array) -> Velocity:
        """The rate of change of `walls`."""
        return jax.jvp(self.walls, (time,), (jnp.ones_like(time),))[1]

    def _refused(self, shape: Shape, corners: Array, survey: Survey) -> Survey:
        cut = sum((jnp.sum(mark) for mark in survey.cut), jnp.zeros((), int))
        wrong = {
            f"the shape cuts more faces than `max_cut_faces` = {self.capacity}": (
                cut > self.capacity
            ),
            "the path of a body leaves the box: no face of the grid is cut": cut == 0,
            f"the path of a body comes within {CLEARANCE} cells of a side of the box": (
                near_sides(corners)
            ),
            f"bodies come within {CLEARANCE} cells of each other": meeting(shape, self.grid),
        }
        marks = jnp.stack(list(wrong.values()))
        return eqx.branched_error_if(survey, jnp.any(marks), jnp.argmax(marks), list(wrong))


def walls_of(shape: Shape, grid: Cells, time: Array) -> Velocity:
    """The velocity of a body's surface, continued to all faces."""
    return grid.velocity(lambda point: velocity_of(shape, point, time))


def near_sides(corners: Array) -> Array:
    """Whether a corner closer than `CLEARANCE` cells to a side of the box lies within the body."""
    inner = corners[tuple(slice(CLEARANCE, -CLEARANCE) for _ in corners.shape)]
    return jnp.sum(corners < 0) > jnp.sum(inner < 0)


def meeting(shape: Shape, grid: Cells) -> Array:
    """Whether two shapes of a union are closer than `CLEARANCE` cells at a corner of the grid."""
    if not isinstance(shape, Union):
        return jnp.zeros((), bool)
    reach = CLEARANCE / 2 * max(float(h.min()) for h in grid.widths)
    near = [distances(one, grid.corner_points) < reach for one in shape.shapes]
    return jnp.any(sum(one.astype(int) for one in near) > 1)


def embodied(
    shape: Shape, grid: Cells, fast: FastSolver, max_cut_faces: int | None, bounded: bool
) -> Body | SlidingBody | MovingBody:
    """The body of a shape that may move, or whose surface may.

    **Arguments, raises:** as `immersed`; for a path, those of its beginning. Without
    `max_cut_faces` a body on a path has room for half as many faces again as it cuts at time 0.
    """
    if not has_velocity(shape):
        return immersed(shape, grid, fast, max_cut_faces, bounded)
    check_velocity(shape, grid.ndim, grid.dtype)
    if not moves(shape):
        rest = resting(shape)
        fixed = immersed(rest, grid, fast, max_cut_faces, bounded)
        feet, shares = [], []
        for component, filled in enumerate(fixed.continuations):
            lines, width = grid.lines_at(face(component)), local_width(component, grid)
            foot, _, value, reach = feet_of(rest, filled.faces, lines, width)
            feet.append(foot)
            shares.append(surface_share(value, reach))
        return SlidingBody(shape, fixed, grid, tuple(feet), tuple(shares))
    if is_fixed(shape, grid):
        with jax.ensure_compile_time_eval():
            cut = refuse_at(shape, grid, 0.0)
        max_cut_faces = round(ROOM * cut) + 16 if max_cut_faces is None else max_cut_faces
    if max_cut_faces is None:
        raise ValueError(
            "the path is traced: give `max_cut_faces`, the number of faces that the body may cut, "
            "such as 1.5 times those of a step with a path that is known"
        )
    return MovingBody(shape, grid, max_cut_faces)


def refuse_at(shape: Shape, grid: Cells, time: float) -> int:
    """Refuse where a body is at a time, if the grid cannot hold it there. Returns the faces that it
    cuts."""
    now = shape_at(shape, jnp.asarray(time, grid.dtype))
    corners, survey = survey_of(now, grid)
    when = f"at time {time:.4g}"
    try:
        refuse_unresolved(np.asarray(corners), grid)
    except ValueError as error:
        raise ValueError(f"{when} {error}") from None
    if bool(near_sides(corners)):
        raise ValueError(f"{when} a body is within {CLEARANCE} cells of a side of the box")
    if bool(meeting(now, grid)):
        raise ValueError(f"{when} bodies are within {CLEARANCE} cells of each other")
    return sum(int(jnp.sum(mark)) for mark in survey.cut)


def check_path(
    shape: Shape, grid: Cells, duration: float, *, start: float = 0.0, samples: int = 100
) -> int:
    """Follow bodies along their paths before any flow is computed.

    **Arguments:** `shape`: with its paths; `duration`: of the time to look at, > 0, from `start`;
    `samples`: how many times, 2 or more.

    **Returns** the most faces that they cut, for `max_cut_faces`.

    **Raises:** ValueError, with the time, where a body leaves the box, comes within three cells of
    a side of it or of another body, or is not resolved.
    """
    checks.positive("duration", duration)
    checks.count("samples", samples, 2)
    times = np.linspace(start, start + duration, samples)
    return max(refuse_at(shape, grid, float(time)) for time in times)
