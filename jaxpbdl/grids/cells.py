"""Staggered grids: scalars in the cells of a box, each velocity component on the faces it crosses
(Harlow and Welch, Phys. Fluids 8 (1965) 2182)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.grid import Grid, float_dtype, one_per_axis, outer, points_of, shape_of
from jaxpbdl.grids.location import Location, face

FieldLike: TypeAlias = (
    Callable[[Array], ArrayLike | Sequence[ArrayLike]] | ArrayLike | Sequence[ArrayLike]
)
"""A function of the point, a constant (one a component) or arrays."""


class Cells(Grid):
    """Cells of a box between given edges.

    A scalar has the shape of the cells, its points are their centres. Component
    `a` of a velocity lies on the faces across axis `a`: one more than cells along it, both sides of
    the box included, or as many where the axis is periodic (the face at the origin is also the
    last).

    **Arguments:**

    - `shape`: cells along each axis, at least 4, one to six axes.
    - `lengths`: of the box, one number or one each; `origin`: its lowest corner.
    - `periodic`: whether the axes close on themselves, one or one each.
    - `edges`: instead of the three above, the edges of the cells along each axis, increasing, one
      more than cells; `graded` makes some. An axis of None is equidistant.
    - `dtype`: float32 or float64; by default JAX's own default.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    lengths: tuple[float, ...] = eqx.field(static=True)
    edges: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(
        self,
        shape: int | Sequence[int],
        lengths: float | Sequence[float] = 1.0,
        origin: float | Sequence[float] = 0.0,
        *,
        periodic: bool | Sequence[bool] = False,
        edges: Sequence[ArrayLike | Sequence[float] | None] | None = None,
        dtype: DTypeLike | None = None,
    ):
        shape = shape_of(shape, minimum=4)
        sides = one_per_axis("lengths", lengths, len(shape))
        first = one_per_axis("origin", origin, len(shape))
        checks.positive("lengths", sides)
        lines = [
            start + side * np.arange(n + 1) / n
            for start, side, n in zip(first, sides, shape, strict=True)
        ]
        for axis, given in enumerate(edges or ()):
            if given is not None:
                lines[axis] = _checked(given, shape[axis], axis)
        self.edges = tuple(tuple(float(x) for x in line) for line in lines)
        wraps = (periodic,) * len(shape) if isinstance(periodic, bool) else tuple(periodic)
        if len(wraps) != len(shape):
            raise ValueError(f"periodic must be one or {len(shape)}, one per axis; got {periodic}")
        self.periodic = wraps
        self.dtype = float_dtype(dtype)
        self.shape = tuple(len(line) - 1 for line in self.edges)
        self.lengths = tuple(line[-1] - line[0] for line in self.edges)

    @property
    def widths(self) -> tuple[np.ndarray, ...]:
        """Widths of the cells along each axis."""
        return tuple(np.diff(np.asarray(line)) for line in self.edges)

    @property
    def centres(self) -> tuple[np.ndarray, ...]:
        """Coordinates of the centres of the cells along each axis."""
        lines = (np.asarray(line) for line in self.edges)
        return tuple((line[1:] + line[:-1]) / 2 for line in lines)

    @property
    def gaps(self) -> tuple[np.ndarray, ...]:
        """Between the centres on both sides of each face along each axis, faces on both ends
        included: half a cell at a side of the box, the same twice where the axis is periodic."""
        gaps = []
        for h, wraps in zip(self.widths, self.periodic, strict=True):
            seam = (h[0] + h[-1]) / 2
            ends = (seam, seam) if wraps else (h[0] / 2, h[-1] / 2)
            gaps.append(np.concatenate([[ends[0]], (h[1:] + h[:-1]) / 2, [ends[1]]]))
        return tuple(gaps)

    @property
    def uniform(self) -> bool:
        """Whether the cells are equal along every axis."""
        return all(self.equal_along(axis) for axis in range(self.ndim))

    def equal_along(self, axis: int) -> bool:
        """Whether the cells are equal along an axis."""
        return bool(np.ptp(self.widths[axis]) <= 1e-9 * np.max(self.widths[axis]))

    @property
    def volumes(self) -> Float[Array, "*cells"]:
        """Volumes of the cells, areas in two dimensions."""
        return jnp.asarray(outer(self.widths), self.dtype)

    @property
    def lines(self) -> tuple[np.ndarray, ...]:
        """The centres of the cells along each axis, in double precision."""
        return self.centres

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """The widths of the cells along each axis."""
        return self.widths

    def lines_at(self, location: Location) -> tuple[np.ndarray, ...]:
        """The coordinates along each axis of the values that live at a location."""
        return tuple(
            (line[:-1] if wraps else line) if on_boundary else centres
            for line, centres, wraps, on_boundary in zip(
                map(np.asarray, self.edges),
                self.centres,
                self.periodic,
                location.on_boundary(self.ndim),
                strict=True,
            )
        )

    def shape_at(self, location: Location) -> tuple[int, ...]:
        """Of the array of values that live at a location: one more than cells along an axis on
        whose boundaries they lie, or as many where that axis is periodic."""
        return tuple(len(line) for line in self.lines_at(location))

    def points_at(self, location: Location) -> Float[Array, "*values dim"]:
        """Where the values of a location lie."""
        return points_of(self.lines_at(location), self.dtype)

    @property
    def corner_points(self) -> Float[Array, "*corners dim"]:
        """The corners of the cells, one more than cells along each axis."""
        return points_of([np.asarray(line) for line in self.edges], self.dtype)

    def velocity(self, field: FieldLike | None = None) -> tuple[Array, ...]:
        """Components on their faces of a function `point -> velocity` or of constants; zero by
        default."""
        if field is None:
            return tuple(jnp.zeros(self.shape_at(face(c)), self.dtype) for c in range(self.ndim))
        return tuple(
            component_of(field, self.points_at(face(c)), c, self.ndim) for c in range(self.ndim)
        )

    def scalar(self, field: FieldLike = 0.0) -> Float[Array, "*cells"]:
        """A function of the point, a constant or an array, in the cells."""
        if callable(field):
            values = jax.vmap(field)(self.points.reshape(-1, self.ndim))
            return jnp.asarray(values, self.dtype).reshape(self.shape)
        return jnp.broadcast_to(jnp.asarray(field, self.dtype), self.shape)

    def to_cells(self, velocity: Sequence[Array]) -> Float[Array, "dim *cells"]:
        """The mean of the two faces of each cell."""
        means = []
        for axis, u in enumerate(velocity):
            u = close(u, axis, self.periodic[axis])
            n = self.shape[axis]
            means.append((along(u, axis, 0, n) + along(u, axis, 1, n + 1)) / 2)
        return jnp.stack(means)

    def vorticity(self, velocity: Sequence[Array]) -> Float[Array, "*corners"]:
        """dv/dx - du/dy at the corners inside a box in two dimensions."""
        if self.ndim != 2:
            raise ValueError(f"vorticity is a number in two dimensions, the grid has {self.ndim}")
        u, v = (close(part, axis, self.periodic[axis]) for axis, part in enumerate(velocity))
        dx, dy = (np.diff(line) for line in self.centres)
        return jnp.asarray(
            jnp.diff(v[:, 1:-1], axis=0) / dx[:, None] - jnp.diff(u[1:-1], axis=1) / dy, self.dtype
        )

    def to_faces(self, values: Float[Array, "dim *cells"]) -> tuple[Array, ...]:
        """A vector given in the cells, on the faces: the mean of the two cells, zero on the sides
        of the box."""
        components = []
        for axis, u in enumerate(values):
            n = self.shape[axis]
            if self.periodic[axis]:
                before = jnp.concatenate([along(u, axis, n - 1, n), along(u, axis, 0, n - 1)], axis)
                components.append((u + before) / 2)
            else:
                inner = (along(u, axis, 1, n) + along(u, axis, 0, n - 1)) / 2
                components.append(
                    jnp.pad(inner, [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)])
                )
        return tuple(components)


def block_of(grid: Cells, counts: Mapping[int, int], width: int) -> Cells:
    """A box of the size of one of the equal blocks that a grid is cut into, `counts[axis]` along an
    axis whose cells are equal, with `width` cells more at both ends of these axes. It keeps the
    periods of the grid."""
    edges = [np.asarray(line) for line in grid.edges]
    for axis, count in counts.items():
        cells = grid.shape[axis] // count + 2 * width
        edges[axis] = grid.lengths[axis] / grid.shape[axis] * np.arange(cells + 1)
    shape = [len(line) - 1 for line in edges]
    return Cells(shape, edges=edges, periodic=grid.periodic, dtype=grid.dtype)


def graded(
    lower: float, upper: float, fine: tuple[float, float], width: float, growth: float = 1.05
) -> np.ndarray:
    """Edges from `lower` to `upper`: cells of `width` about the part `fine`, beyond it each wider
    than the one before by the factor `growth` at most."""
    start, stop = fine
    if not lower <= start < stop <= upper:
        raise ValueError(f"fine must lie within {lower}..{upper}, got {fine}")
    checks.positive("width", width)
    if growth < 1:
        raise ValueError(f"growth must be at least 1, got {growth}")
    middle = np.linspace(start, stop, max(1, round((stop - start) / width)) + 1)
    step = middle[1] - middle[0]
    left, right = _growing(start - lower, step, growth), _growing(upper - stop, step, growth)
    return np.concatenate([start - left[::-1], middle, stop + right])


def _growing(length: float, first: float, growth: float) -> np.ndarray:
    """Distances of edges up to `length`, cells growing from `first`."""
    if length <= 1e-9 * first:
        return np.zeros(0)
    widths, total, width = [], 0.0, first
    while total < length:
        width *= growth
        widths.append(width)
        total += width
    return np.cumsum(np.asarray(widths) * length / total)


def _checked(given: ArrayLike | Sequence[float], cells: int, axis: int) -> np.ndarray:
    line = np.asarray(given, float)
    if line.shape != (cells + 1,):
        raise ValueError(f"edges of axis {axis} must be {cells + 1}, got shape {line.shape}")
    if not np.all(np.diff(line) > 0):
        raise ValueError(f"edges of axis {axis} must increase")
    return line


def face_widths(component: int, grid: Cells) -> list[np.ndarray]:
    """Sides of the control volumes of the faces that hold a component, along each axis."""
    lines = list(grid.widths)
    lines[component] = grid.gaps[component][: grid.shape_at(face(component))[component]]
    return lines


def component_of(field: FieldLike, where: Array, component: int, ndim: int) -> Array:
    """One component of a velocity, a function of points or constants, at points."""
    if callable(field):
        flat = jax.vmap(lambda point: jnp.asarray(field(point))[component])(where.reshape(-1, ndim))
        return flat.reshape(where.shape[:-1]).astype(where.dtype)
    value = jnp.broadcast_to(jnp.asarray(field, where.dtype), (ndim,))[component]
    return jnp.broadcast_to(value, where.shape[:-1])


def along(values: Array, axis: int, start: int, stop: int) -> Array:
    """The part start..stop of an axis."""
    index = [slice(None)] * values.ndim
    index[axis] = slice(start, stop)
    return values[tuple(index)]


def close(values: Array, axis: int, periodic: bool) -> Array:
    """Values on faces, the first repeated at the end of a periodic axis."""
    if not periodic:
        return values
    return jnp.concatenate([values, along(values, axis, 0, 1)], axis)
