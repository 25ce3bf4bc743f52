"""What an equation is: named parameters, and a residual that judges any field."""

from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.fields import Field, Interpolant, interpolate
from jaxpbdl.grids.grid import Grid

Parameter: TypeAlias = Any
"""Given as a number or an array, kept as an array of floats."""


def parameter(**options: Any) -> Any:
    """A field of an equation that `jax.grad` and `jax.vmap` reach: converted to an array of
    floats.
    """
    return eqx.field(converter=checks.as_floats, **options)


def optional_parameter(**options: Any) -> Any:
    """Like `parameter`, but None (the default) leaves the term out of the computation
    altogether.
    """
    return eqx.field(
        converter=lambda v: None if v is None else checks.as_floats(v), default=None, **options
    )


class Equation(eqx.Module):
    """The physics: named parameters, and the residual of a field, zero for a solution.

    What a discretisation needs besides stands in a second layer (`SemilinearEquation` for spectral
    solvers), or in the solver of the equation.
    """

    judged_quantity: ClassVar[str | None] = None
    """What a field that `residual` takes gives, where that is not the unknown itself."""

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the unknown at one point: () for a scalar, (c,) for c components."""
        return ()

    @property
    def field_shape(self) -> tuple[int, ...] | None:
        """Shape of what a field that `residual` judges gives at a point; None where that depends on
        the dimension of space, which the equation does not know."""
        return self.value_shape

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """What the field leaves of the equation at a point: (x_1, .., x_d, t), or (x_1, .., x_d)
        where nothing depends on time."""
        raise NotImplementedError(f"{type(self).__name__} must define residual")

    def check_grid(self, grid: Grid) -> None:
        """Raise ValueError if the equation cannot live on the grid."""

    def field_of(
        self,
        grid: Grid,
        states: Float[Array, "times *value_and_grid"],
        times: Float[Array, " times"],
        degree: int = 4,
    ) -> Interpolant:
        """The field that `residual` takes, through the states of a rollout.

            residual_loss(equation, equation.field_of(grid, states, times), points)

        **Arguments:** `states` as `rollout` gives them on `grid`; `times` of each; `degree` of the
        interpolation in time (see `interpolate`).

        **Raises:** ValueError where shapes do not fit, or the equation does not live on the grid.
        """
        self.check_grid(grid)
        states = jnp.asarray(states)
        checks.shape("states", states, (np.size(times), *self.value_shape, *grid.shape))
        judged = eqx.filter_jit(type(self).judged_states)(self, states, grid)
        return interpolate(grid, judged, times, degree, self.judged_quantity)

    def judged_states(self, states: Array, grid: Grid) -> Array:
        """What `residual` takes the fields of, at the times of the states; by default the states
        themselves."""
        return states

    def check_field(self, field: Field) -> None:
        """Raise ValueError for a numerical solution of another quantity than `residual` takes: of
        the vorticity, say, where that is the stream function."""
        if isinstance(field, Interpolant) and field.quantity != self.judged_quantity:
            takes = self.judged_quantity or "its own unknown"
            raise ValueError(
                f"{type(self).__name__} judges fields of {takes}, this interpolant is of "
                f"{field.quantity or 'a quantity that is not named'}; make it from the states of "
                "a rollout by `equation.field_of(grid, states, times)`, or name it by "
                "`interpolate(.., quantity=..)`"
            )

    def space_time_flux(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """The flux of a field through space-time, its last component the conserved quantity, on a
        new last axis of the value: where the equation is a balance, residual = div flux -
        production.
        """
        raise ValueError(f"{type(self).__name__} with these terms has no flux: use its residual")

    def production(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """What the balance produces at the point."""
        return jnp.zeros(self.value_shape, point.dtype)


def require_ndim(equation: Equation, grid: Grid, *allowed: int) -> None:
    """Refuse a grid of another dimension."""
    if grid.ndim not in allowed:
        choice = " or ".join(str(n) for n in allowed)
        raise ValueError(
            f"{type(equation).__name__} needs a grid of {choice} axes, got shape {grid.shape}"
        )
