"""Differences on a mesh of cells, equidistant or graded: divergence, gradient, means, slopes.

Second order. The divergence of values on faces and the gradient of values in cells are adjoint to
each other up to the sign.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, along, close

Velocity: TypeAlias = tuple[Array, ...]
"""Components, each on the faces across its axis."""
Ends: TypeAlias = tuple[Array | None, Array | None]
"""Values on the lower and upper side of an axis; None where the normal derivative is zero."""


def divergence(velocity: Velocity, grid: Cells) -> Float[Array, "*cells"]:
    """Volume that leaves each cell a unit of time, the velocity weighted with anything."""
    total = jnp.zeros(grid.shape, velocity[0].dtype)
    for axis, u in enumerate(velocity):
        n = grid.shape[axis]
        u = close(u, axis, grid.periodic[axis])
        outflow = along(u, axis, 1, n + 1) - along(u, axis, 0, n)
        for other, h in enumerate(grid.widths):
            if other != axis:
                outflow = outflow * line(h, other, grid)
        total = total + outflow
    return total


def gradient(
    pressure: Float[Array, "*cells"], grid: Cells, holds: Sequence[tuple[bool, bool]]
) -> Velocity:
    """Differences of the pressure over the gaps, on the faces: zero on sides where the velocity is
    given, and against a pressure of zero on the others."""
    components = []
    for axis, (lower, upper) in enumerate(holds):
        ends = (None if lower else 0.0, None if upper else 0.0)
        components.append(opened(slope(pressure, axis, grid, ends), axis, grid))
    return tuple(components)


def slope(values: Array, axis: int, grid: Cells, ends: tuple) -> Array:
    """Derivatives on all faces across an axis, sides included, of values in between."""
    n = values.shape[axis]
    inner = along(values, axis, 1, n) - along(values, axis, 0, n - 1)
    first, last = along(values, axis, 0, 1), along(values, axis, n - 1, n)
    if grid.periodic[axis]:
        seam = first - last
        rises = [seam, inner, seam]
    else:
        lower, upper = ends
        rises = [
            jnp.zeros_like(first) if lower is None else first - lower,
            inner,
            jnp.zeros_like(last) if upper is None else upper - last,
        ]
    return jnp.concatenate(rises, axis) * line(1 / grid.gaps[axis], axis, grid)


def mean(values: Array, axis: int, grid: Cells, ends: tuple) -> Array:
    """Values on all faces across an axis, sides included, of values in between: linear
    interpolation inside, the given value or that of the next cell on a side."""
    n = values.shape[axis]
    h = grid.widths[axis]
    share = line(h[:-1] / (h[1:] + h[:-1]), axis, grid)
    before = along(values, axis, 0, n - 1)
    inner = before + share * (along(values, axis, 1, n) - before)
    first, last = along(values, axis, 0, 1), along(values, axis, n - 1, n)
    if grid.periodic[axis]:
        seam = last + h[-1] / (h[0] + h[-1]) * (first - last)
        parts = [seam, inner, seam]
    else:
        lower, upper = ends
        parts = [
            first if lower is None else jnp.broadcast_to(lower, first.shape),
            inner,
            last if upper is None else jnp.broadcast_to(upper, last.shape),
        ]
    return jnp.concatenate(parts, axis)


def outward(flux: Array, axis: int, grid: Cells) -> Array:
    """Derivative in the cells of a flux on the faces across an axis."""
    n = flux.shape[axis] - 1
    difference = along(flux, axis, 1, n + 1) - along(flux, axis, 0, n)
    return difference * line(1 / grid.widths[axis], axis, grid)


def line(values: np.ndarray, axis: int, grid: Cells) -> Array:
    """Constants along an axis that broadcast against arrays of the grid; a number if all agree."""
    if np.ptp(values) <= 1e-12 * np.max(np.abs(values)):
        return jnp.asarray(values[0], grid.dtype)
    shape = [1] * grid.ndim
    shape[axis] = -1
    return jnp.asarray(values, grid.dtype).reshape(shape)


def opened(values: Array, axis: int, grid: Cells) -> Array:
    """Values on faces without the repeated last one of a periodic axis."""
    return along(values, axis, 0, values.shape[axis] - 1) if grid.periodic[axis] else values
