"""What a grid must resolve of a shape: refused where it cannot, warned of where it hardly does."""

import warnings
from collections.abc import Callable
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxpbdl.grids.cells import Cells, face_widths
from jaxpbdl.grids.location import face
from jaxpbdl.shapes import Shape, Union

THIN = 1.5
"""Cells behind a face within the body, along the normal, where there should still be body."""


def distances(shape: Callable[[Array], Array], points: Array) -> Array:
    """The function of each point."""
    flat = points.reshape(-1, points.shape[-1])
    chunk = min(len(flat), 4096)
    return lax.map(shape, flat, batch_size=chunk).reshape(points.shape[:-1])


def local_width(component: int, grid: Cells) -> Array:
    """The widest side of the control volume of each face of a component."""
    lines = face_widths(component, grid)
    return jnp.asarray(reduce(np.maximum.outer, lines), grid.dtype)


def cell_width(grid: Cells) -> Array:
    """The widest side of each cell."""
    return jnp.asarray(reduce(np.maximum.outer, grid.widths), grid.dtype)


def refuse_unresolved(corners: np.ndarray, grid: Cells) -> None:
    inside = corners < 0
    if not inside.any():
        raise ValueError("the shape holds no corner of the grid: it is outside or not resolved")
    for axis, periodic in enumerate(grid.periodic):
        occupied = np.flatnonzero(inside.any(axis=tuple(a for a in range(grid.ndim) if a != axis)))
        n = grid.shape[axis]
        if occupied[-1] - occupied[0] < 2:
            thickness = grid.edges[axis][occupied[-1]] - grid.edges[axis][occupied[0]]
            raise ValueError(
                f"the shape is thinner along axis {axis} than the grid resolves: about "
                f"{thickness:.3g}, less than two cells of {grid.widths[axis][occupied[0]]:.3g}"
            )
        if not periodic and (occupied[0] < 3 or occupied[-1] > n - 3):
            raise ValueError(
                f"the shape must stay three cells away from the sides of the box, along axis "
                f"{axis} it reaches from {grid.edges[axis][occupied[0]]:.3g} to "
                f"{grid.edges[axis][occupied[-1]]:.3g}"
            )


def refuse_overlap(union: Union, grid: Cells) -> None:
    inside = [np.asarray(distances(shape, grid.corner_points)) < 0 for shape in union.shapes]
    for first, one in enumerate(inside):
        for second in range(first + 1, len(inside)):
            common = int(np.sum(one & inside[second]))
            if common:
                raise ValueError(
                    f"shapes {first} and {second} of the union overlap, on {common} corners of the "
                    "grid; give one outline for both, or move them apart"
                )


def warn_where_thin(shape: Shape, grid: Cells, near: tuple[Array, ...]) -> None:
    """Warn of parts with fluid close behind their faces `near` the surface: one value on such a
    face cannot continue the flow of both sides, which `central` stencils may not survive."""
    count, place = 0, None
    for component, thin in enumerate(_thin_faces(shape, grid, near)):
        found = np.argwhere(thin)
        if len(found):
            count = count + len(found)
            place = grid.points_at(face(component))[tuple(found[0])]
    if place is not None:
        where = ", ".join(f"{x:.3g}" for x in place)
        warnings.warn(
            f"the shape is thinner than two cells about ({where}), on {count} faces; should the "
            "flow blow up there, take `interpolation=limited` or finer cells",
            stacklevel=4,
        )


@eqx.filter_jit
def _thin_faces(shape: Shape, grid: Cells, near: tuple[Array, ...]) -> tuple[Array, ...]:
    """Those of the marked faces of each component with fluid behind them."""

    def behind(point: Array) -> Array:
        *place, width = point
        place = jnp.stack(place)
        return shape(place - THIN * width * jax.grad(shape)(place))

    found = []
    for component, mark in enumerate(near):
        width = local_width(component, grid)[..., None]
        points = jnp.concatenate([grid.points_at(face(component)), width], axis=-1)
        found.append(mark & (distances(behind, points) > 0))
    return tuple(found)
