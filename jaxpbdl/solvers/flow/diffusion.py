"""What viscosity does alone, on a staggered grid."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.operators import Ends, Velocity, line, outward, slope


def velocity_laplacian(
    velocity: Velocity,
    ends: Sequence[Sequence[Ends]],
    grid: Cells,
    holds: Sequence[tuple[bool, bool]] | None = None,
) -> Velocity:
    """Of each component on its faces. `ends[component][axis]`: what is given of it on the sides of
    an axis; `holds[axis]`: whether that of the axis is given on its lower and upper side, where the
    Laplacian is then zero (both by default). Beyond the others nothing changes."""
    laplacians = []
    for component, u in enumerate(velocity):
        held = (True, True) if holds is None else holds[component]
        total = _along_itself(u, component, grid, held)
        for axis in range(grid.ndim):
            if axis != component:
                total = total + outward(slope(u, axis, grid, ends[component][axis]), axis, grid)
        laplacians.append(total)
    return tuple(laplacians)


def _along_itself(u: Array, axis: int, grid: Cells, holds: tuple[bool, bool]) -> Array:
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
    first, last = along(slopes, axis, 0, 1), along(slopes, axis, n - 1, n)
    low = jnp.zeros_like(first) if holds[0] else first / grid.gaps[axis][0]
    high = jnp.zeros_like(last) if holds[1] else -last / grid.gaps[axis][-1]
    return jnp.concatenate([low, inner, high], axis)
