"""A semilinear equation on a sphere, by spherical harmonics and the schemes of `solvers.time`."""

from jax.typing import ArrayLike

from jaxpbdl import checks
from jaxpbdl.equations.sphere import BarotropicVorticity, ShallowWater
from jaxpbdl.grids.harmonics import SphericalHarmonics
from jaxpbdl.solvers.spectral.semilinear import SpectralStep, assembled
from jaxpbdl.solvers.time.exponential import etdrk4
from jaxpbdl.solvers.time.scheme import Exponential


def on_sphere(
    equation: BarotropicVorticity | ShallowWater,
    harmonics: SphericalHarmonics,
    dt: ArrayLike,
    scheme: Exponential = etdrk4,
) -> SpectralStep:
    """The step of an equation on a sphere: exact in space up to the truncation, of the scheme's
    order in time.

    **Arguments**

    - `harmonics`: of a grid of the equation's radius, free of aliasing in products of two fields.
    - `dt`: time step, > 0. May be traced: gradients reach it.
    - `scheme`: `etdrk1` .. `etdrk4`, `etd_multistep`, `etd_adams`, `imex`, or another function of
      its kind.

    **Raises** ValueError for a dt that is not finite and positive, another radius, or a truncation
    at which products are aliased on the grid.
    """
    checks.positive("dt", dt)
    grid = harmonics.grid
    equation.check_grid(grid)
    if harmonics.truncation > grid.alias_free:
        raise ValueError(
            f"truncation must be at most {grid.alias_free} on {grid.shape[0]} latitudes and "
            f"{grid.shape[1]} longitudes for products free of aliasing, got {harmonics.truncation}"
        )
    return assembled(equation, harmonics, harmonics, dt, scheme)
