"""Lorenz' models of the atmosphere: small systems of ordinary differential equations whose errors
grow as those of a weather forecast do.

`rates` are for `solvers.time.explicit`; the residual takes a field of time alone, `(t,) -> state`.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation, Parameter, parameter
from jaxpbdl.fields import Field, time_derivative


class Lorenz63(Equation):
    """Convection in three variables,

        dx/dt = prandtl (y - x),   dy/dt = x (rayleigh - z) - y,   dz/dt = x y - aspect z

    (Lorenz, J. Atmos. Sci. 20 (1963) 130; there sigma, r, b).
    """

    prandtl: Parameter = parameter(default=10.0)
    rayleigh: Parameter = parameter(default=28.0)
    aspect: Parameter = parameter(default=8 / 3)

    def __check_init__(self):
        for name in ("prandtl", "rayleigh", "aspect"):
            checks.finite(name, getattr(self, name))

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (3,)

    def rates(self, state: Float[Array, " 3"]) -> Float[Array, " 3"]:
        """d(state)/dt."""
        x, y, z = state
        return jnp.stack(
            [self.prandtl * (y - x), x * (self.rayleigh - z) - y, x * y - self.aspect * z]
        )

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        return time_derivative(field)(point) - self.rates(field(point))

    def fixed_points(self) -> Float[Array, "3 3"]:
        """The states of no motion and of steady convection one way round and the other; the latter
        exist for a `rayleigh` above one, and are not numbers below."""
        height = self.rayleigh - 1
        side = jnp.sqrt(self.aspect * height)
        one_way = jnp.stack([side, side, height])
        return jnp.stack([jnp.zeros_like(one_way), one_way, one_way * jnp.array([-1, -1, 1])])


class Lorenz96(Equation):
    """A quantity round a circle of latitude,

        dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + forcing,   i = 1 .. size, cyclic

    (Lorenz, ECMWF Seminar on Predictability I (1996) 1). One unit of time stands for five days.
    """

    forcing: Parameter = parameter(default=8.0)
    size: int = eqx.field(static=True, default=40)

    def __check_init__(self):
        checks.finite("forcing", self.forcing)
        checks.count("size", self.size, 4)

    @property
    def value_shape(self) -> tuple[int, ...]:
        return (self.size,)

    def rates(self, state: Float[Array, " size"]) -> Float[Array, " size"]:
        """d(state)/dt."""
        ahead, behind, second = (jnp.roll(state, shift) for shift in (-1, 1, 2))
        return (ahead - second) * behind - state + self.forcing

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        return time_derivative(field)(point) - self.rates(field(point))
