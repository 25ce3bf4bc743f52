"""A scalar that the flow carries, in conservative form."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, close
from jaxpbdl.grids.operators import Velocity, outward
from jaxpbdl.solvers.flow.bodies import Body
from jaxpbdl.solvers.flow.operators import carried, limited


def marker_rate(
    marker: Float[Array, "*cells"],
    velocity: Velocity,
    diffusivity: Array,
    grid: Cells,
    source: Array | None,
    body: Body | None,
) -> Float[Array, "*cells"]:
    """-div(u m) + diffusivity lap m + source: nothing diffuses through sides or the body, and what
    flows in brings what the first cell holds."""
    rate = jnp.zeros_like(marker) if source is None else source
    for axis, u in enumerate(velocity):
        flux = carried(
            marker,
            close(u, axis, grid.periodic[axis]),
            diffusivity,
            axis,
            grid,
            (None, None),
            limited,
        )
        if body is not None:
            flux = flux * close(body.open[axis], axis, grid.periodic[axis])
        rate = rate - outward(flux, axis, grid)
    return rate
