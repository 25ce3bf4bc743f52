"""Steady diffusion through a medium: pressure in a porous body, temperature, electric potential."""

from jaxtyping import Array, Float

from jaxpbdl.equations.equation import Equation
from jaxpbdl.fields import Field, gradient, laplacian


class Darcy(Equation):
    """-div(permeability grad u) = source.

    **Arguments:** `permeability` > 0 and `source`, fields `position -> value`, of which the first
    must be differentiable. `solvers.elliptic.solve` solves it from values at nodes, where the
    permeability may jump.
    """

    permeability: Field
    source: Field

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """-div(permeability grad u) - source at the point (x_1, .., x_d), zero for a solution."""
        slopes = gradient(self.permeability)(point) @ gradient(field)(point)
        flux = slopes + self.permeability(point) * laplacian(field)(point)
        return -flux - self.source(point)
