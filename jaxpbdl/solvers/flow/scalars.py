"""A scalar that the flow carries, in conservative form."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.operators import Velocity, outward, slope
from jaxpbdl.solvers.flow.bodies import Body
from jaxpbdl.solvers.flow.conditions import OnSide
from jaxpbdl.solvers.flow.operators import Interpolation, carried


def scalar_rate(
    values: Float[Array, "*cells"],
    velocity: Velocity,
    diffusivity: ArrayLike,
    sides: Sequence[tuple[OnSide, OnSide]],
    grid: Cells,
    interpolation: Interpolation,
    body: Body | None,
) -> Float[Array, "*cells"]:
    """-div(u s) + diffusivity lap s: what is given on the sides enters there, nothing passes the
    surface of the body. Fluid that enters where no value is given brings that of the first cell."""
    rate = jnp.zeros_like(values)
    for axis, u in enumerate(velocity):
        u = close(u, axis, grid.periodic[axis])
        ends = sides[axis][0].value, sides[axis][1].value
        across = carried(values, u, diffusivity, axis, grid, ends, interpolation)
        if body is not None:
            across = across * close(body.open[axis], axis, grid.periodic[axis])
        rate = rate - outward(across, axis, grid)
        rate = _plus_entering(rate, values, u, sides[axis], axis, grid)
    return rate


def scalar_diffusion(
    values: Float[Array, "*cells"],
    diffusivity: ArrayLike,
    sides: Sequence[tuple[OnSide, OnSide]],
    grid: Cells,
) -> Float[Array, "*cells"]:
    """diffusivity lap s alone, with what is given on the sides."""
    rate = jnp.zeros_like(values)
    for axis, pair in enumerate(sides):
        slopes = slope(values, axis, grid, (pair[0].value, pair[1].value))
        rate = rate + diffusivity * outward(slopes, axis, grid)
        rate = _plus_entering(rate, values, None, pair, axis, grid)
    return rate


def _plus_entering(
    rate: Array,
    values: Array,
    u: Array | None,
    pair: tuple[OnSide, OnSide],
    axis: int,
    grid: Cells,
) -> Array:
    """What the fluxes given on both sides of an axis add in the cells next to them, and what fluid
    that comes back through open sides brings other than those cells hold."""
    n = values.shape[axis]
    for end, (side, start, sign) in enumerate(zip(pair, (0, n - 1), (1, -1), strict=True)):
        enters = side.flux
        if side.returning is not None and u is not None:
            inward = sign * along(u, axis, end * n, end * n + 1)
            inside = along(values, axis, start, start + 1)
            enters = jnp.maximum(inward, 0.0) * (side.returning - inside)
        if enters is not None:
            h = float(grid.widths[axis][start])
            room = [(start, n - 1 - start) if a == axis else (0, 0) for a in range(grid.ndim)]
            shape = [1 if a == axis else size for a, size in enumerate(values.shape)]
            rate = rate + jnp.pad(jnp.broadcast_to(enters / h, shape), room)
    return rate


def flux_through_sides(
    values: Float[Array, "*cells"],
    diffusivity: ArrayLike,
    sides: Sequence[tuple[OnSide, OnSide]],
    grid: Cells,
) -> list[tuple[Array, Array] | None]:
    """What diffuses into the box a unit of area and time, on the faces of the lower and the upper
    side of each axis (of size one along it); None for a periodic one."""
    made: list[tuple[Array, Array] | None] = []
    for axis, pair in enumerate(sides):
        if grid.periodic[axis]:
            made.append(None)
            continue
        n = values.shape[axis]
        slopes = jnp.asarray(diffusivity) * slope(
            values, axis, grid, (pair[0].value, pair[1].value)
        )
        low, high = -along(slopes, axis, 0, 1), along(slopes, axis, n, n + 1)
        low = low if pair[0].flux is None else jnp.broadcast_to(pair[0].flux, low.shape)
        high = high if pair[1].flux is None else jnp.broadcast_to(pair[1].flux, high.shape)
        made.append((low, high))
    return made
