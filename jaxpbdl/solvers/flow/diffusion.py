"""What viscosity and diffusion do alone, on a staggered grid."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.operators import Ends, Velocity, line, outward, slope


def scalar_laplacian(values: Float[Array, "*cells"], grid: Cells) -> Float[Array, "*cells"]:
    """Of a scalar in the cells; nothing passes through the sides."""
    total = jnp.zeros_like(values)
    for axis in range(grid.ndim):
        total = total + outward(slope(values, axis, grid, (None, None)), axis, grid)
    return total


def velocity_laplacian(velocity: Velocity, ends: Sequence[Sequence[Ends]], grid: Cells) -> Velocity:
    """Of each component on its faces; zero on the sides that it crosses. `ends[component][axis]`:
    what is given of it on the sides of an axis."""
    laplacians = []
    for component, u in enumerate(velocity):
        total = _along_itself(u, component, grid)
        for axis in range(grid.ndim):
            if axis != component:
                total = total + outward(slope(u, axis, grid, ends[component][axis]), axis, grid)
        laplacians.append(total)
    return tuple(laplacians)


def _along_itself(u: Array, axis: int, grid: Cells) -> Array:
    """The second derivative across its own faces."""
    n = grid.shape[axis]
    u = close(u, axis, grid.periodic[axis])
    slopes = along(u, axis, 1, n + 1) - along(u, axis, 0, n)
    slopes = slopes * line(1 / grid.widths[axis], axis, grid)
    inner = along(slopes, axis, 1, n) - along(slopes, axis, 0, n - 1)
    inner = inner * line(1 / grid.gaps[axis][1:-1], axis, grid)
    if grid.periodic[axis]:
        seam = along(slopes, axis, 0, 1) - along(slopes, axis, n - 1, n)
        return jnp.concatenate([seam / grid.gaps[axis][0], inner], axis)
    return jnp.pad(inner, [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)])
