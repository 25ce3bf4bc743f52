"""What flow carries along: values between cells, and the rate of change of momentum."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.operators import Ends, Velocity, line, mean, opened, outward, slope
from jaxpbdl.solvers.flow.sides import Plane


class Stencil(NamedTuple):
    """What is known along an axis about the places where a carried value is wanted."""

    mean: Array
    """Of the two neighbours."""
    rise: Array
    """From the one before to the one after."""
    before: Array
    """The rise one place before."""
    after: Array
    """The rise one place after."""
    carrying: Array
    """The velocity that carries."""
    component: int | None
    """Of the velocity that is carried; None for a scalar."""
    axis: int


Interpolation: TypeAlias = Callable[[Stencil], Array]
"""The carried value of a stencil."""


def central(stencil: Stencil) -> Array:
    """The mean of both sides: second order, keeps the kinetic energy, oscillates where fronts are
    not resolved."""
    return stencil.mean


def limited(stencil: Stencil) -> Array:
    """Van Leer's limiter (J. Comput. Phys. 14 (1974) 361): second order where smooth, no new
    extrema at fronts. On equidistant cells exactly, on graded ones nearly."""
    rise, carrying = stencil.rise, stencil.carrying
    upstream = jnp.where(carrying > 0, stencil.before, stencil.after)
    product, both = upstream * rise, upstream + rise
    safe = jnp.where(both == 0, 1.0, both)
    step = jnp.where((product > 0) & (both != 0), product / safe, 0.0)
    return stencil.mean + jnp.sign(carrying) * (step - rise / 2)


def neighbours(rises: Array, axis: int, periodic: bool, repeated: int) -> tuple[Array, Array]:
    """The entries one place before and after along an axis; of a periodic one, `repeated` entries
    at its end are those at its beginning. Beyond a side that of the side itself."""
    n = rises.shape[axis]
    first, last = along(rises, axis, 0, 1), along(rises, axis, n - 1, n)
    if periodic:
        first = along(rises, axis, n - 1 - repeated, n - repeated)
        last = along(rises, axis, repeated, repeated + 1)
    before = jnp.concatenate([first, along(rises, axis, 0, n - 1)], axis)
    return before, jnp.concatenate([along(rises, axis, 1, n), last], axis)


def carried(
    values: Array,
    carrying: Array,
    diffusivity: ArrayLike,
    axis: int,
    grid: Cells,
    ends: tuple,
    interpolation: Interpolation,
    component: int | None = None,
) -> Array:
    """Flux across the faces of an axis: what the velocity `carrying` there takes along, less what
    diffuses."""
    slopes = slope(values, axis, grid, ends)
    means = mean(values, axis, grid, ends)
    if interpolation is not central:
        rises = slopes * line(grid.gaps[axis], axis, grid)
        around = neighbours(rises, axis, grid.periodic[axis], 1)
        means = interpolation(Stencil(means, rises, *around, carrying, component, axis))
    return carrying * means - diffusivity * slopes


def momentum_rate(
    velocity: Velocity,
    planes: Sequence[tuple[Plane, Plane] | None],
    viscosity: ArrayLike,
    grid: Cells,
    interpolation: Interpolation = central,
) -> Velocity:
    """-div(u u) + viscosity lap u on the faces, in conservative form.

    The control volume of a face reaches to the centres of the cells on both sides; that of a face
    on a side of the box is half a cell.
    """
    closed = [close(u, axis, grid.periodic[axis]) for axis, u in enumerate(velocity)]
    rates = []
    for component, u in enumerate(closed):
        rate = jnp.zeros_like(u)
        for axis in range(grid.ndim):
            if axis == component:
                rate = rate - _own(u, axis, viscosity, grid, interpolation)
                continue
            across = closed[axis]
            carrying = mean(across, component, grid, given_ends(planes, component, axis, grid))
            flux = carried(
                u,
                carrying,
                viscosity,
                axis,
                grid,
                given_ends(planes, axis, component, grid),
                interpolation,
                component,
            )
            rate = rate - outward(flux, axis, grid)
        rates.append(opened(rate, component, grid))
    return tuple(rates)


def _own(
    u: Array, axis: int, viscosity: ArrayLike, grid: Cells, interpolation: Interpolation
) -> Array:
    """Derivative along its own axis of the flux of a component, whose values lie on the faces and
    whose fluxes lie in the cells."""
    n = grid.shape[axis]
    before, after = along(u, axis, 0, n), along(u, axis, 1, n + 1)
    means = (before + after) / 2
    rises = after - before
    carrying = means
    if interpolation is not central:
        around = neighbours(rises, axis, grid.periodic[axis], 0)
        means = interpolation(Stencil(means, rises, *around, carrying, axis, axis))
    flux = carrying * means - viscosity * rises * line(1 / grid.widths[axis], axis, grid)
    if grid.periodic[axis]:
        first, last = along(flux, axis, 0, 1), along(flux, axis, n - 1, n)
        padded = [last, flux, first]
    else:
        # Beyond an open side nothing changes; what comes in brings no momentum.
        low, high = along(u, axis, 0, 1), along(u, axis, n, n + 1)
        padded = [jnp.minimum(low, 0.0) * low, flux, jnp.maximum(high, 0.0) * high]
    flux = jnp.concatenate(padded, axis)
    difference = along(flux, axis, 1, n + 2) - along(flux, axis, 0, n + 1)
    return difference * line(1 / grid.gaps[axis], axis, grid)


def given_ends(
    planes: Sequence[tuple[Plane, Plane] | None], axis: int, component: int, grid: Cells
) -> Ends:
    """What is given of a component on the two sides of an axis."""

    def given(plane: Plane) -> Array | None:
        value = plane[component]
        return None if value is None else close(value, component, grid.periodic[component])

    pair = planes[axis]
    return (None, None) if pair is None else (given(pair[0]), given(pair[1]))


def with_sides(
    velocity: Velocity, planes: Sequence[tuple[Plane, Plane] | None], grid: Cells
) -> Velocity:
    """The velocity with the given values on the sides that it crosses."""
    components = []
    for axis, u in enumerate(velocity):
        pair = planes[axis]
        if pair is not None:
            n = u.shape[axis]
            lower, upper = pair[0][axis], pair[1][axis]
            first = along(u, axis, 0, 1)
            parts = [
                first if lower is None else jnp.broadcast_to(lower, first.shape),
                along(u, axis, 1, n - 1),
                along(u, axis, n - 1, n) if upper is None else jnp.broadcast_to(upper, first.shape),
            ]
            u = jnp.concatenate(parts, axis)
        components.append(u)
    return tuple(components)
