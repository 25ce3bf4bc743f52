"""Maxwell's equations for fields of space and time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation, Parameter, parameter
from jaxpbdl.fields import Field

Permittivity = Callable[[Float[Array, " dim"]], Float[Array, ""]]


class Maxwell(Equation):
    """Electric and magnetic fields in a medium that may change from place to place,

        permittivity dE/dt + conductivity E = curl H,   dH/dt = -curl E,   div H = 0

    in units in which the speed of light and the constants of vacuum are one.

    **Arguments:** `permittivity` > 0 and `conductivity` >= 0, numbers; `profile`, a field
    `position -> factor` of the permittivity, None where it is the same everywhere.
    """

    permittivity: Parameter = parameter(default=1.0)
    conductivity: Parameter = parameter(default=0.0)
    profile: Permittivity | None = None

    def __check_init__(self):
        checks.positive("permittivity", self.permittivity)
        checks.non_negative("conductivity", self.conductivity)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """(E_x, E_y, E_z, H_x, H_y, H_z)."""
        return (6,)

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Float[Array, "7"]:
        """Of a field that gives (E, H), all six components, at (x, .., t), one to three coordinates
        of space: the equations of E, of H, and div H. Nothing depends on the coordinates that a
        point does not have."""
        ndim = len(point) - 1
        if not 1 <= ndim <= 3:
            raise ValueError(
                f"point must have 1 to 3 coordinates and time, got {len(point)} entries"
            )
        slopes = jax.jacfwd(field)(point)  # (6, ndim + 1)
        space = jnp.zeros((6, 3), slopes.dtype).at[:, :ndim].set(slopes[:, :ndim])
        rate = slopes[:, ndim]
        permittivity = self.permittivity
        if self.profile is not None:
            permittivity = permittivity * self.profile(point[:ndim])
        electric = permittivity * rate[:3] + self.conductivity * field(point)[:3] - _curl(space[3:])
        return jnp.concatenate([electric, rate[3:] + _curl(space[:3]), jnp.trace(space[3:])[None]])


def _curl(slopes: Float[Array, "3 3"]) -> Float[Array, "3"]:
    """Of a vector from its derivatives, components first."""
    return jnp.stack(
        [
            slopes[2, 1] - slopes[1, 2],
            slopes[0, 2] - slopes[2, 0],
            slopes[1, 0] - slopes[0, 1],
        ]
    )
