"""Surfaces that move along themselves, of bodies that stay where they are: a cylinder that turns.

The fluid sticks to the surface: on closed faces the velocity is continued through it by the
parabola of `immersion`, whose value on the surface is that of the surface. No volume crosses it, so
that the pressure is solved for as about a body at rest.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.location import face
from jaxpbdl.shapes import Shape, Union
from jaxpbdl.solvers.flow.bodies import Body, Sliding
from jaxpbdl.solvers.flow.immersion import BAND, Feet, feet_of, surface_share
from jaxpbdl.solvers.flow.resolution import local_width

SurfaceVelocity: TypeAlias = Callable[[Float[Array, " dim"]], Float[Array, " dim"]]
"""From a point of the surface to its velocity, along the surface."""
ACROSS = 0.02
"""The largest part of a surface velocity, relative to its largest size, that may point across the
surface: distances of shapes are exact to second order alone."""


class Spin(eqx.Module):
    """The velocity of points that turn about a centre; created by `spin`."""

    centre: Float[Array, " dim"]
    rate: Float[Array, "*axis"]

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, " dim"]:
        away = point - self.centre.astype(point.dtype)
        rate = self.rate.astype(point.dtype)
        if rate.ndim:
            return jnp.cross(rate, away)
        return rate * jnp.stack([-away[1], away[0]])


def spin(centre: Numbers, rate: Numbers = 1.0) -> Spin:
    """The velocity of points that turn about a centre, for the surface of a body.

        incompressible(equation, grid, dt, sides, body=Ball(centre, 0.5), surface=spin(centre, 2.0))

    **Arguments:** `rate`: radians a unit of time, anticlockwise; in three dimensions a vector along
    the axis. Gradients reach it.

    **Raises:** ValueError for numbers that are not finite, or a centre and a rate that are not of
    two or of three dimensions together.
    """
    centre, rate = checks.as_floats(centre), checks.as_floats(rate)
    checks.finite("centre", centre)
    checks.finite("rate", rate)
    if (centre.shape, rate.shape) not in (((2,), ()), ((3,), (3,))):
        raise ValueError(
            "spin takes a centre (2,) and one rate, or a centre (3,) and a rate (3,) in three "
            f"dimensions; got shapes {centre.shape} and {rate.shape}"
        )
    return Spin(centre, rate)


def with_surface(
    body: Body, shape: Shape, surface: SurfaceVelocity | Sequence[SurfaceVelocity], grid: Cells
) -> Body:
    """The body of a shape whose surface has a velocity along itself.

    **Arguments:** `surface`: the velocity, or those of the shapes of a union in their order.

    **Raises:** ValueError for velocities that are not one or as many as the shapes of a union, not
    vectors of the grid's dimension, not finite, or that point across the surface.
    """
    shapes = shape.shapes if isinstance(shape, Union) and not callable(surface) else (shape,)
    velocities = (surface,) if callable(surface) else tuple(surface)
    if len(velocities) != len(shapes):
        raise ValueError(
            f"surface must be one velocity or {len(shapes)}, one for each shape; got "
            f"{len(velocities)}"
        )
    point = jax.ShapeDtypeStruct((grid.ndim,), grid.dtype)
    for number, velocity in enumerate(velocities):
        got = jax.eval_shape(velocity, point).shape
        if got != (grid.ndim,):
            raise ValueError(
                f"surface velocity {number} must have the shape ({grid.ndim},) of the grid, got "
                f"{got}"
            )
    moved, feet, sliding = _along(body, shape, shapes, velocities, grid)
    for number in range(len(velocities)):
        for component in range(grid.ndim):
            _refuse_across(number, moved[component][number], feet[component])
    turning = dataclasses.replace(body, sliding=sliding)
    return turning.at_factors(jnp.ones(len(velocities), grid.dtype))


@eqx.filter_jit
def _along(
    body: Body,
    shape: Shape,
    shapes: Sequence[Shape],
    velocities: Sequence[SurfaceVelocity],
    grid: Cells,
) -> tuple[list[Array], list[Feet], Sliding]:
    """For each component the velocities at the points of the surface, each on the nearest shape
    alone, and these points; and what the velocities do."""
    moved, feet, added, walls = [], [], [], []

    def own(points: Float[Array, "k dim"]) -> Float[Array, "surfaces k dim"]:
        nearest = jnp.argmin(jnp.stack([jax.vmap(one)(points) for one in shapes]), axis=0)
        parts = [
            jnp.where((nearest == number)[:, None], jax.vmap(velocity)(points), 0.0)
            for number, velocity in enumerate(velocities)
        ]
        return jnp.stack(parts)

    for component, filled in enumerate(body.continuations):
        lines, width = grid.lines_at(face(component)), local_width(component, grid)
        found = feet_of(shape, filled.faces, lines, width)
        # Entries to spare lie far from the surface, where a shape need not be a distance.
        used = filled.faces < width.size
        there = jnp.where(used[:, None], own(found.feet), 0.0)
        share = surface_share(found.values, found.reach)
        moved.append(there)
        feet.append(found)
        added.append((share * there[..., component]).T)
        everywhere = feet_of(shape, jnp.arange(width.size), lines, width)
        about = jnp.abs(everywhere.values) < BAND * width.reshape(-1)
        near = jnp.where(about[:, None], everywhere.feet, found.feet[0])
        wall = jnp.where(about, own(near)[..., component], 0.0)
        walls.append(wall.reshape(-1, *width.shape))
    wet = [fraction > 0 for fraction in body.open]
    return moved, feet, Sliding(tuple(added), tuple(walls), _beside(wet, grid))


def _beside(marks: Sequence[Array], grid: Cells) -> Float[Array, "*cells"]:
    """1 in the cells with a marked face."""
    found = jnp.zeros(grid.shape, bool)
    for axis, mark in enumerate(marks):
        n, mark = grid.shape[axis], close(mark, axis, grid.periodic[axis])
        found = found | along(mark, axis, 0, n) | along(mark, axis, 1, n + 1)
    return found.astype(grid.dtype)


def _refuse_across(number: int, velocity: Array, feet: Feet) -> None:
    """Refuse a velocity that points across the surface, at the points of the surface."""
    if not checks.is_concrete((velocity, feet)):
        return
    moved, normals = np.asarray(velocity), np.asarray(feet.normals)
    if not np.isfinite(moved).all():
        raise ValueError(f"surface velocity {number} must be finite on the surface")
    across = np.abs(np.sum(moved * normals, axis=1))
    largest = np.linalg.norm(moved, axis=1).max(initial=0.0)
    if across.max(initial=0.0) > ACROSS * largest:
        place = np.asarray(feet.feet)[np.argmax(across)]
        raise ValueError(
            f"surface velocity {number} must point along the surface, got {across.max():.3g} "
            f"across it of {largest:.3g} at ({', '.join(f'{x:.3g}' for x in place)})"
        )
