"""The peers' steps of the same equation, as functions of working variables that a scan can carry.

Each entry is `(name, advance, start)`; states stay in Fourier space wherever the peer allows it.
Both integrate w = du/dy - dv/dx, the opposite sign of the curl, hence the minus sign before the
initial vorticity.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np


def exponax_navier_stokes_2d(
    points: int, dt: float, w0: Any, *, order: int, viscosity: float, drag: float
):
    import exponax as ex

    stepper = ex.stepper.KolmogorovFlowVorticity(
        2, 2 * np.pi, points, dt, diffusivity=viscosity, drag=-drag, injection_mode=4, order=order
    )
    return stepper.step_fourier, ex.fft(-w0[None], num_spatial_dims=2)


def jax_cfd_navier_stokes_2d(points: int, dt: float, w0: Any, *, viscosity: float, drag: float):
    import jax_cfd.base as cfd
    from jax_cfd import spectral

    grid = cfd.grids.Grid((points, points), domain=((0, 2 * np.pi), (0, 2 * np.pi)))
    forcing = lambda grid: cfd.forcings.kolmogorov_forcing(grid, scale=1.0, k=4)  # noqa: E731
    equation = spectral.equations.NavierStokes2D(
        viscosity, grid, drag=drag, smooth=True, forcing_fn=forcing
    )
    advance = spectral.time_stepping.crank_nicolson_rk4(equation, dt)
    return advance, jnp.fft.rfftn(-w0)


def jax_cfd_base():
    """The finite volumes of jax-cfd; the alias `jax.tree_map`, which JAX has dropped, is put back
    for them."""
    import jax

    if not hasattr(jax, "tree_map"):
        jax.tree_map = jax.tree.map
    import jax_cfd.base as cfd

    return cfd


def jax_cfd_finite_volume(points: int, dt: float, w0: Any, *, viscosity: float, drag: float):
    import jax

    cfd = jax_cfd_base()
    grid = cfd.grids.Grid((points, points), domain=((0, 2 * np.pi), (0, 2 * np.pi)))
    advance = cfd.equations.semi_implicit_navier_stokes(
        density=1.0,
        viscosity=viscosity,
        dt=dt,
        grid=grid,
        forcing=cfd.forcings.simple_turbulence_forcing(
            grid, constant_magnitude=1.0, constant_wavenumber=4, linear_coefficient=-drag
        ),
    )
    start = cfd.initial_conditions.filtered_velocity_field(jax.random.key(0), grid, 3.0, 4)
    return advance, start
