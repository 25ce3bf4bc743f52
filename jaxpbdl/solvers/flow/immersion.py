"""The body of a shape on a grid: what is open, what is cut, and what its surface is continued from.

The open fraction of a face comes from the signed distance at its corners, so it is exact for a
straight cut. The velocity on closed faces near the surface follows from a parabola along the normal
through the surface and two points of the fluid. All of it is a function of the shape that gradients
go through; only which faces are closed, cut or near is decided in steps.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells, along, close, outer
from jaxpbdl.grids.grid import points_of
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.grids.poisson import FastSolver, times
from jaxpbdl.shapes import Shape, Union
from jaxpbdl.solvers.flow.bodies import Body, Continuation
from jaxpbdl.solvers.flow.resolution import (
    distances,
    local_width,
    refuse_overlap,
    refuse_unresolved,
    warn_where_thin,
)

REACH = 1.5
"""Distance of the first point in the fluid, in cell widths: beyond the diagonal of a cell, so that
all the values about it are of the fluid."""
SLIT = 0.01
"""Faces less open than this count as closed: corners of the grid on the very surface would leave
openings of round-off size."""
BAND = 2.0
"""Depth, in cell widths, to which the velocity is continued into the body."""


def immersed(
    shape: Shape,
    grid: Cells,
    fast: FastSolver,
    max_cut_faces: int | None = None,
    bounded: bool = False,
) -> Body:
    """The body of a signed distance on a grid.

    **Arguments:** `fast`: of the box without the body; `max_cut_faces`: number of faces to reserve
    space for where the shape is traced (under jit, grad or vmap), at least those it cuts;
    `bounded`: whether the flow is to be carried without new extrema, else parts of the body thinner
    than two cells are warned of.

    **Raises:** ValueError for a shape that no cell lies in, one thinner than two cells, one that
    reaches within three cells of a side, a union of shapes that overlap, or a traced shape without
    `max_cut_faces`.
    """
    if is_fixed(shape, grid):
        # Now, even while jit traces what is around: the number of faces has to be known.
        with jax.ensure_compile_time_eval():
            return _body(shape, grid, fast, None, bounded)
    if max_cut_faces is None:
        raise ValueError(
            "the shape is traced: give `max_cut_faces`, the number of faces it may cut, such as "
            "1.25 times the `surface_faces` of a step about a similar shape"
        )
    return _body(shape, grid, fast, max_cut_faces, bounded)


def is_fixed(shape: Shape, grid: Cells) -> bool:
    """Whether the shape computes with nothing that JAX is tracing: neither its arrays nor what a
    function closes over. (Arrays that jnp makes under jit are traced, also those of constants.)"""
    point = jax.ShapeDtypeStruct((grid.ndim,), grid.dtype)
    return checks.is_concrete(jax.make_jaxpr(shape)(point).consts)


def _body(
    shape: Shape, grid: Cells, fast: FastSolver, max_cut_faces: int | None, bounded: bool
) -> Body:
    """With space for `max_cut_faces` faces; None: for those of a fixed shape."""
    corners, survey = _survey(shape, grid)
    if max_cut_faces is not None:
        many = sum(jnp.sum(mark) for mark in survey.cut) > max_cut_faces
        message = f"the shape cuts more faces than `max_cut_faces` = {max_cut_faces}"
        survey = eqx.error_if(survey, many, message)
        return _assembled(
            shape, survey, grid, fast, max_cut_faces, (2 * max_cut_faces,) * grid.ndim
        )
    refuse_unresolved(np.asarray(corners), grid)
    if isinstance(shape, Union):
        refuse_overlap(shape, grid)
    if not bounded:
        warn_where_thin(shape, grid, survey.near)
    cut = sum(int(np.sum(mark)) for mark in survey.cut)
    near = tuple(_rounded_up(int(np.sum(mark))) for mark in survey.near)
    return _assembled(shape, survey, grid, fast, _rounded_up(cut), near)


def _rounded_up(count: int) -> int:
    """To a multiple of 16, so that similar shapes share one compiled program."""
    return -(-count // 16) * 16


class Survey(NamedTuple):
    """The faces of each component: their distances and open fractions, and which of them the
    surface cuts or closes and to which the velocity is continued."""

    distances: Velocity
    open: Velocity
    cut: tuple[Array, ...]
    near: tuple[Array, ...]


@eqx.filter_jit
def _survey(shape: Shape, grid: Cells) -> tuple[Array, Survey]:
    """The distances of the corners, and what follows for the faces."""
    corners = distances(shape, grid.corner_points)
    components = range(grid.ndim)
    open_ = tuple(_open_fraction(corners, component, grid) for component in components)
    faces = tuple(distances(shape, grid.points_at(face(component))) for component in components)
    near = tuple(
        (fraction <= 0) & (distance > -BAND * local_width(component, grid))
        for component, (fraction, distance) in enumerate(zip(open_, faces, strict=True))
    )
    return corners, Survey(faces, open_, tuple(_cut(open_, grid)), near)


@eqx.filter_jit
def _assembled(
    shape: Shape,
    survey: Survey,
    grid: Cells,
    fast: FastSolver,
    max_cut_faces: int,
    capacities: tuple[int, ...],
) -> Body:
    solid = []
    for component, fraction in enumerate(survey.open):
        width = local_width(component, grid)
        share = jnp.clip(0.5 - survey.distances[component] / width, 0.0, 1.0)
        # What the stencils give on a closed face is taken up by the body alone.
        solid.append(jnp.where(fraction > 0, share, 1.0))
    continuations = tuple(
        continuation(
            shape,
            near,
            grid.lines_at(face(component)),
            local_width(component, grid),
            capacities[component],
        )
        for component, near in enumerate(survey.near)
    )
    cells, roots = _lacking(survey, grid, max_cut_faces)
    inverse = _dense(cells, lax.stop_gradient(roots), fast, grid)
    return Body(survey.open, tuple(solid), continuations, cells, roots, inverse)


def _open_fraction(corners: Array, component: int, grid: Cells) -> Array:
    """Of each face: the part of its edges, between corners, where the distance is positive."""
    fractions = []
    others = [axis for axis in range(grid.ndim) if axis != component]
    for axis in others:
        n = grid.shape[axis]
        first, second = along(corners, axis, 0, n), along(corners, axis, 1, n + 1)
        size = jnp.abs(first) + jnp.abs(second)
        fraction = (jnp.maximum(first, 0) + jnp.maximum(second, 0)) / jnp.where(size == 0, 1, size)
        for other in others:  # the mean of the two edges of a face in three dimensions
            if other != axis:
                m = grid.shape[other]
                before, after = along(fraction, other, 0, m), along(fraction, other, 1, m + 1)
                fraction = (before + after) / 2
        fractions.append(fraction)
    mean = sum(fractions) / len(fractions)
    mean = jnp.where(mean < SLIT, 0.0, mean)
    n = grid.shape[component]
    return along(mean, component, 0, n) if grid.periodic[component] else mean


def continuation(
    shape: Shape,
    near: Array,
    lines: Sequence[np.ndarray],
    width: Array,
    count: int,
    surface: Callable[[Array], Array] | None = None,
) -> Continuation:
    """Of the values that are `near` the surface, within it.

    **Arguments:** `lines`: the coordinates along each axis of the values; `width` of the cell about
    each; `count`: how many to reserve space for; `surface`: the value at points of the surface,
    zero by default.
    """
    chosen = jnp.nonzero(near.reshape(-1), size=count, fill_value=near.size)[0]
    value, normal, foot, reach = feet_of(shape, chosen, lines, width)
    once = (value * (2 * reach - value) / reach**2)[:, None]
    twice = (value * (value - reach) / (2 * reach**2))[:, None]
    first = interpolation_stencil(foot + reach[:, None] * normal, lines)
    second = interpolation_stencil(foot + 2 * reach[:, None] * normal, lines)
    sources = jnp.concatenate([first[0], second[0]], axis=1)
    weights = jnp.concatenate([once * first[1], twice * second[1]], axis=1)
    if surface is None:
        return Continuation(chosen, sources, weights)
    return Continuation(
        chosen, sources, weights, surface_share(value, reach) * jax.vmap(surface)(foot)
    )


class Feet(NamedTuple):
    """Of values within a body: their distances, the normals there, the points of the surface that
    they lie behind, and how far from these the first point in the fluid is."""

    values: Float[Array, " k"]
    normals: Float[Array, "k dim"]
    feet: Float[Array, "k dim"]
    reach: Float[Array, " k"]


def feet_of(
    shape: Shape, chosen: Int[Array, " k"], lines: Sequence[np.ndarray], width: Array
) -> Feet:
    """Of the values with the flat numbers `chosen` on `lines` of coordinates."""
    points = points_of(lines, width.dtype).reshape(-1, len(lines))
    safe = jnp.minimum(chosen, len(points) - 1)
    where, h = points[safe], width.reshape(-1)[safe]
    value, normal = jax.vmap(jax.value_and_grad(shape))(where)
    return Feet(value, normal, where - value[:, None] * normal, REACH * h)


def surface_share(value: Array, reach: Array) -> Array:
    """The weight of the value on the surface in a continued one."""
    return (value - reach) * (value - 2 * reach) / (2 * reach**2)


def interpolation_stencil(
    points: Float[Array, "k dim"], axes: Sequence[np.ndarray]
) -> tuple[Int[Array, "k corners"], Float[Array, "k corners"]]:
    """Flat indices and weights of multilinear interpolation at points."""
    lower, share = [], []
    for axis, places in enumerate(axes):
        places = jnp.asarray(places, points.dtype)
        index = jnp.clip(jnp.searchsorted(places, points[:, axis]) - 1, 0, len(places) - 2)
        lower.append(index)
        share.append((points[:, axis] - places[index]) / (places[index + 1] - places[index]))
    strides = [prod(len(a) for a in axes[axis + 1 :]) for axis in range(len(axes))]
    indices, weights = [], []
    for corner in range(2 ** len(axes)):
        index, weight = jnp.zeros_like(lower[0]), jnp.ones_like(share[0])
        for axis, stride in enumerate(strides):
            bit = (corner >> axis) & 1
            index = index + stride * (lower[axis] + bit)
            weight = weight * (share[axis] if bit else 1 - share[axis])
        indices.append(index)
        weights.append(weight)
    return jnp.stack(indices, axis=1), jnp.stack(weights, axis=1)


def _cut(open_: Sequence[Array], grid: Cells) -> list[Array]:
    """Marks the faces that are not fully open and next to a cell with an open face."""
    wet = jnp.zeros(grid.shape, bool)
    for axis, fraction in enumerate(open_):
        n = grid.shape[axis]
        fraction = close(fraction, axis, grid.periodic[axis])
        wet = wet | (along(fraction, axis, 0, n) > 0) | (along(fraction, axis, 1, n + 1) > 0)
    marks = []
    for axis, fraction in enumerate(open_):
        n = grid.shape[axis]
        edge = along(wet, axis, n - 1, n) if grid.periodic[axis] else along(wet, axis, 0, 1)
        before = jnp.concatenate([edge, wet], axis)
        after = jnp.concatenate([wet, along(wet, axis, n - 1, n)], axis)
        either = before | after
        either = along(either, axis, 0, fraction.shape[axis])
        marks.append((fraction < 1) & either)
    return marks


def _lacking(survey: Survey, grid: Cells, max_cut_faces: int) -> tuple[Array, Array]:
    """The cells on both sides of each cut face, and the root of the conductance that it lacks."""
    here, there, lacking, marks = [], [], [], []
    numbers = jnp.arange(grid.size).reshape(grid.shape)
    for axis, (fraction, mark) in enumerate(zip(survey.open, survey.cut, strict=True)):
        n = grid.shape[axis]
        last, first = along(numbers, axis, n - 1, n), along(numbers, axis, 0, 1)
        before = jnp.concatenate([last if grid.periodic[axis] else first, numbers], axis)
        after = jnp.concatenate([numbers, last], axis)
        size = fraction.shape[axis]
        here.append(along(after, axis, 0, size).reshape(-1))
        there.append(along(before, axis, 0, size).reshape(-1))
        full = along(conductance(axis, grid), axis, 0, size)
        lacking.append((full * (1 - fraction)).reshape(-1))
        marks.append(mark.reshape(-1))
    mark, lack = jnp.concatenate(marks), jnp.concatenate(lacking)
    chosen = jnp.nonzero(mark, size=max_cut_faces, fill_value=len(mark))[0]
    safe = jnp.minimum(chosen, len(mark) - 1)
    used = chosen < len(mark)
    cells = jnp.stack([jnp.concatenate(here)[safe], jnp.concatenate(there)[safe]])
    inside = jnp.where(used, lack[safe], 1.0)
    return cells, jnp.where(used, jnp.sqrt(inside), 0.0)


def conductance(axis: int, grid: Cells) -> Array:
    """Area over gap of all faces across an axis."""
    lines = list(grid.widths)
    lines[axis] = 1 / grid.gaps[axis]
    return jnp.asarray(outer(lines), grid.dtype)


def _dense(cells: Array, roots: Array, fast: FastSolver, grid: Cells) -> Array:
    """The inverse of 1 - r K r, K the pressure differences over the cut faces that unit sources
    across them make in the open box."""

    def column(source: Int[Array, "2"]) -> Array:
        unit = jnp.zeros(grid.size, grid.dtype).at[source[0]].add(1.0).at[source[1]].add(-1.0)
        values = fast(unit.reshape(grid.shape)).reshape(-1)
        return values[cells[0]] - values[cells[1]]

    matrix = lax.map(column, cells.T)
    matrix = roots[:, None] * matrix * roots
    values, vectors = jnp.linalg.eigh(jnp.eye(len(roots), dtype=grid.dtype) - matrix)
    # The pressure within a closed surface has no level: those vectors are left out.
    threshold = 1e-4 if grid.dtype == jnp.float32 else 1e-8
    found = values > threshold
    inverse = jnp.where(found, 1 / jnp.where(found, values, 1.0), 0.0)
    return times(vectors * inverse, vectors.T, 0)
