"""The layer between an equation and finite volumes: fluxes of a state, and the waves it carries."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.equations.equation import Equation, require_ndim
from jaxpbdl.fields import Field
from jaxpbdl.grids.grid import Grid


class ConservationLaw(Equation):
    """Conserved quantities U whose integrals change by what flows through the boundary alone,

        dU/dt + sum_a d/dx_a [flux_a(U) - diffusive_flux_a(U, grad U)] = 0

    To write one: the dimension of space `ndim`, `value_shape`, `flux` and `wave_speeds`. The rest
    has defaults: the primitive variables are the conserved ones, no quantity has to be positive,
    the waves are the quantities themselves, nothing diffuses.

    All methods take values with the components first and any axes after them: one point, the cells
    of a grid, its faces.
    """

    ndim: eqx.AbstractVar[int]
    diffusive: ClassVar[bool] = False
    """Whether there is a diffusive flux."""

    def flux(self, state: Float[Array, "value *cells"], axis: int) -> Float[Array, "value *cells"]:
        """What a unit of area across `axis` lets through a unit of time."""
        raise NotImplementedError(f"{type(self).__name__} must define flux")

    def wave_speeds(
        self, state: Float[Array, "value *cells"], axis: int
    ) -> tuple[Float[Array, "*cells"], Float[Array, "*cells"]]:
        """Velocities along `axis` of the slowest and the fastest wave, with their signs."""
        raise NotImplementedError(f"{type(self).__name__} must define wave_speeds")

    def primitive(self, state: Float[Array, "value *cells"]) -> Float[Array, "value *cells"]:
        """The variables in which states are given and looked at."""
        return state

    def conserved(self, primitive: Float[Array, "value *cells"]) -> Float[Array, "value *cells"]:
        """The inverse of `primitive`."""
        return primitive

    def mirrored(
        self, state: Float[Array, "value *cells"], axis: int
    ) -> Float[Array, "value *cells"]:
        """Of conserved or primitive variables, what a mirror across `axis` shows."""
        return state

    def positive(self, state: Float[Array, "value *cells"]) -> Mapping[str, Float[Array, "*cells"]]:
        """What has to be above zero, by its name: concave functions of the state, each defined
        where those before it are positive."""
        return {}

    def to_waves(
        self,
        change: Float[Array, "value *cells"],
        mean: Float[Array, "value *#cells"],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        """A change of the conserved variables about the state `mean`, which broadcasts against it,
        as amplitudes of the waves along `axis`: the left eigenvectors of the Jacobian of the
        flux."""
        return change

    def from_waves(
        self,
        waves: Float[Array, "value *cells"],
        mean: Float[Array, "value *#cells"],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        """The inverse of `to_waves`."""
        return waves

    def diffusive_flux(
        self,
        primitive: Float[Array, "value *cells"],
        slopes: Sequence[Float[Array, "value *cells"]],
        axis: int,
    ) -> Float[Array, "value *cells"]:
        """What the derivatives of the primitive variables, one array an axis, add to the conserved
        quantities through a unit of area across `axis`."""
        return jnp.zeros_like(primitive)

    def diffusivity(self, state: Float[Array, "value *cells"]) -> Float[Array, "*cells"]:
        """The largest diffusivity of a quantity; it bounds dt."""
        return jnp.zeros_like(state[0])

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Float[Array, " value"]:
        """Of a field that gives the conserved variables at (x_1, .., x_ndim, t)."""
        slopes = jax.jacfwd(lambda where: self.space_time_flux(field, where))(point)
        return jnp.trace(slopes, axis1=1, axis2=2)

    def space_time_flux(
        self, field: Field, point: Float[Array, " dim"]
    ) -> Float[Array, "value dim"]:
        """The flux along each axis, and the conserved variables last.

        **Raises:** ValueError for a point that does not have `ndim` coordinates and time.
        """
        if len(point) != self.ndim + 1:
            raise ValueError(
                f"point must have {self.ndim + 1} entries, {self.ndim} of space and time, got "
                f"{len(point)}"
            )
        state = field(point)
        fluxes = [self.flux(state, axis) for axis in range(self.ndim)]
        if self.diffusive:
            primitive = self.primitive(state)
            matrix = jax.jacfwd(lambda where: self.primitive(field(where)))(point)
            slopes = [matrix[:, axis] for axis in range(self.ndim)]
            fluxes = [
                flux - self.diffusive_flux(primitive, slopes, axis)
                for axis, flux in enumerate(fluxes)
            ]
        return jnp.stack([*fluxes, state], axis=-1)

    def check_grid(self, grid: Grid) -> None:
        require_ndim(self, grid, self.ndim)
