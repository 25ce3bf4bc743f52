"""Physical units at the edges: vortices in water, in the units of the laboratory.

Arguments and results have units, checked by pint; what is computed in between are plain numbers.
Takes 5 seconds.
"""

from math import exp, pi
from typing import Annotated

import jax.numpy as jnp
import pint

import jaxpbdl as jp


@jp.with_units
def turning(
    size: Annotated[float, "m"],
    viscosity: Annotated[float, "m^2/s"],
    speed: Annotated[float, "m/s"],
    time: Annotated[float, "s"],
) -> Annotated[float, "1/s"]:
    """The greatest vorticity of four vortices in a periodic box of that size, after that time."""
    grid = jp.grids.Periodic((32, 32), (size, size))
    water = jp.equations.NavierStokes2D(viscosity=viscosity)
    x, y = jnp.moveaxis(grid.points, -1, 0) * 2 * pi / size
    vorticity = 4 * pi / size * speed * jnp.cos(x) * jnp.cos(y)
    step = jp.solvers.spectral.semilinear(water, grid, time / 300)
    return float(jnp.max(jp.rollout(step, vorticity, 300)[-1]))


if __name__ == "__main__":
    unit = pint.get_application_registry()
    found = turning(
        size=2 * unit.cm,
        viscosity=1 * unit.mm**2 / unit.s,
        speed=3 * unit.cm / unit.s,
        time=5 * unit.s,
    )
    # Taylor and Green: u = U sin(x) cos(y) decays by exp(-2 viscosity k^2 t).
    exact = 4 * pi / 0.02 * 0.03 * exp(-2 * 1e-6 * (2 * pi / 0.02) ** 2 * 5) / unit.s
    print(f"vorticity {found.to('1/minute'):.1f}, exact {exact.to('1/minute'):.1f}")
    assert abs(found - exact) < 1e-4 * exact
