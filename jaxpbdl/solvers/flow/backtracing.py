"""Values that the flow has carried to a point, found by following it backwards: linear
interpolation on a staggered grid, and a correction of second order.

Places are counted in cells from the lower corner of the box: its sides are at 0, the centres of the
first cells at 1/2.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Ends, Velocity, line, mean

Around: TypeAlias = Callable[[Array, float], tuple[Array, Array]]
"""(values, sign) -> the values around the points that the flow reaches in sign * dt from those of
the field, and their weights: both with a first axis of 2^dim."""
Transport: TypeAlias = Callable[[Array, Around], Array]


def backtraced(values: Array, around: Around) -> Array:
    """Values where the flow comes from (Courant, Isaacson and Rees, Comm. Pure Appl. Math. 5 (1952)
    243; Stam, SIGGRAPH 1999): first order, never unstable, no new extrema."""
    return _blended(*around(values, -1.0))


def maccormack(values: Array, around: Around) -> Array:
    """The same with half of what a way there and back adds taken off (Selle, Fedkiw, Kim, Liu and
    Rossignac, J. Sci. Comput. 35 (2008) 350): second order where smooth, kept between the values
    around the point that the flow comes from."""
    neighbours, weights = around(values, -1.0)
    moved = _blended(neighbours, weights)
    returned = _blended(*around(moved, 1.0))
    corrected = moved + (values - returned) / 2
    return jnp.clip(corrected, jnp.min(neighbours, axis=0), jnp.max(neighbours, axis=0))


def around_cells(velocity: Velocity, ends: Sequence[Ends], dt: Array, grid: Cells) -> Around:
    """For a scalar in the cells; `ends`: what is given of it on the sides of each axis. Its normal
    derivative vanishes on the others."""
    return _around(grid.centres, grid.to_cells(velocity), None, ends, dt, grid)


def around_faces(
    component: int, velocity: Velocity, ends: Sequence[Ends], dt: Array, grid: Cells
) -> Around:
    """For a velocity component on its faces; `ends`: what is given of it on the sides of each
    axis."""
    in_cells = grid.to_cells(velocity)
    size = grid.shape_at(face(component))[component]
    carrying = [
        u
        if axis == component
        else along(mean(in_cells[axis], component, grid, (None, None)), component, 0, size)
        for axis, u in enumerate(velocity)
    ]
    return _around(grid.lines_at(face(component)), carrying, component, ends, dt, grid)


def _around(
    axes: Sequence[np.ndarray],
    carrying: Sequence[Array] | Array,
    component: int | None,
    ends: Sequence[Ends],
    dt: Array,
    grid: Cells,
) -> Around:
    starts, shifts = [], []
    for axis, (places, u) in enumerate(zip(axes, carrying, strict=True)):
        h = grid.widths[axis][0]
        starts.append(line((places - grid.edges[axis][0]) / h, axis, grid))
        shifts.append(dt * u / jnp.asarray(h, grid.dtype))

    def around(values: Array, sign: float) -> tuple[Array, Array]:
        one = (1,) * (1 + grid.ndim)
        index, weight = jnp.zeros(one, int), jnp.ones(one, grid.dtype)
        wider = [(0, 0)] * grid.ndim
        stencils = []
        for axis, (start, shift) in enumerate(zip(starts, shifts, strict=True)):
            on_faces, wraps = axis == component, grid.periodic[axis]
            if not on_faces and not wraps:
                lower, upper = (e if e is None else jnp.pad(e, wider, "edge") for e in ends[axis])
                values = _extended(values, axis, (lower, upper))
                wider[axis] = (1, 1)
            stencils.append(_stencil(start + sign * shift, grid.shape[axis], on_faces, wraps))
        for size, (both, shares) in zip(values.shape, stencils, strict=True):
            index = jnp.concatenate([index * size + place for place in both])
            weight = jnp.concatenate([weight * share for share in shares])
        return values.reshape(-1)[index], weight

    return around


def _extended(values: Array, axis: int, ends: Ends) -> Array:
    """Values in cells with those on both sides of the box at the ends: what is given there, else
    that of the cell."""
    n = values.shape[axis]
    first, last = along(values, axis, 0, 1), along(values, axis, n - 1, n)
    lower = first if ends[0] is None else jnp.broadcast_to(ends[0], first.shape)
    upper = last if ends[1] is None else jnp.broadcast_to(ends[1], last.shape)
    return jnp.concatenate([lower, values, upper], axis)


def _stencil(
    place: Array, n: int, on_faces: bool, periodic: bool
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Indices of the values below and above places along an axis of n cells, and their weights;
    places beyond a side count as on it."""
    if periodic:
        place = place if on_faces else place - 0.5
        lower = jnp.floor(place)
        share = place - lower
        first = lower.astype(int) % n
        return (first, (first + 1) % n), (1 - share, share)
    place = jnp.clip(place, 0.0, n)
    if on_faces:
        lower = jnp.minimum(jnp.floor(place), n - 1)
        share = place - lower
    else:
        # With the sides at both ends the values lie at 0, 1/2, 3/2, .., n - 1/2, n.
        lower = jnp.minimum(jnp.floor(place + 0.5), n)
        start, stop = jnp.maximum(lower - 0.5, 0.0), jnp.minimum(lower + 0.5, n)
        share = (place - start) / (stop - start)
    first = lower.astype(int)
    return (first, first + 1), (1 - share, share)


def _blended(neighbours: Float[Array, "corners *points"], weights: Array) -> Array:
    return jnp.sum(neighbours * weights, axis=0)
