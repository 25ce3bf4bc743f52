"""What of a scalar a body gives to the flow about it, and what enters through the sides."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import along
from jaxpbdl.grids.operators import divergence, line
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.scalars import flux_through_sides, scalar_rate
from jaxpbdl.solvers.flow.state import Flow


def scalar_from_body(step: IncompressibleStep, state: Flow, name: str) -> Float[Array, ""]:
    """What of a scalar leaves the body, or all of several, a unit of time: of a temperature the
    heat over density and heat capacity, diffusivity times its slope into the body over the whole
    surface.

    What the stencils take from the cells within the body, where nothing is kept, and what the step
    gives to those outside, since the continued velocity is not free of divergence next to the
    surface. So it is the very number by which the sum over the cells with their centre outside
    grows, less what comes through the sides and from sources; sources of such cells count whole,
    also where the surface cuts them.

    **Arguments:** `name`: of a scalar whose value is given on the body (`on_body`).

    **Raises** ValueError for another one, and for a step without a body.
    """
    on_body, body = step.on_body.get(name), step.body
    if on_body is None or body is None:
        raise ValueError(
            f"name must be of a scalar that is given on the body, one of {sorted(step.on_body)}, "
            f"got {name!r}"
        )
    values, velocity = on_body.continued(state.scalars[name]), body.continued(state.velocity)
    rate = scalar_rate(
        values,
        velocity,
        step.equation.scalars[name].diffusivity,
        step.scalar_sides(name, state.time),
        step.grid,
        step.scalar_interpolation,
        None,
    )
    within = jnp.where(on_body.fluid, 0.0, rate * step.grid.volumes)
    spurious = jnp.where(on_body.fluid, values * divergence(velocity, step.grid), 0.0)
    return jnp.sum(spurious) - jnp.sum(within)


def scalar_through_sides(
    step: IncompressibleStep, state: Flow, name: str
) -> list[tuple[Float[Array, ""], Float[Array, ""]] | None]:
    """What of a scalar diffuses into the box through the lower and the upper side of each axis, a
    unit of time, by the stencils of the step; None for a periodic axis. Of a temperature the heat
    over density and heat capacity. What the flow carries through a side does not count.

    **Raises** ValueError for a scalar that the flow does not have.
    """
    if name not in step.equation.scalar_names:
        known = sorted(step.equation.scalar_names)
        raise ValueError(f"name must be of a scalar of the flow, one of {known}, got {name!r}")
    diffusivity, sides = (
        step.equation.scalars[name].diffusivity,
        step.scalar_sides(name, state.time),
    )
    through = flux_through_sides(state.scalars[name], diffusivity, sides, step.grid)
    found: list[tuple[Array, Array] | None] = []
    for axis, pair in enumerate(through):
        if pair is None:
            found.append(None)
            continue
        across = step.grid.volumes / line(step.grid.widths[axis], axis, step.grid)
        areas = along(across, axis, 0, 1)
        found.append((jnp.sum(pair[0] * areas), jnp.sum(pair[1] * areas)))
    return found
