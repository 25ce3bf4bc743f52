"""Incompressible flow in its own variables, and the scalars that it carries."""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation, Parameter, optional_parameter, parameter
from jaxpbdl.fields import Field, at_time, divergence, gradient, laplacian, time_derivative

Force = Callable[[Float[Array, " dim"]], Float[Array, " dim"]]

RESERVED = ("velocity", "pressure", "time", "ramp")


class Scalar(eqx.Module):
    """A scalar s that a flow carries (temperature, a concentration, smoke), and how it pushes it.

        ds/dt + u . grad s = diffusivity lap s,   acceleration = buoyancy (s - reference)

    **Arguments:** `diffusivity` >= 0; `buoyancy`, the acceleration of the fluid where the scalar is
    one above its reference, a vector, None where it does not push (Boussinesq's approximation:
    minus thermal expansion times gravity, for a temperature); `reference`, the value that does not
    push.
    """

    diffusivity: Parameter = parameter(default=0.0)
    buoyancy: Parameter = optional_parameter()
    reference: Parameter = parameter(default=0.0)

    def __check_init__(self):
        checks.non_negative("diffusivity", self.diffusivity)


def _as_dict(scalars: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    return dict(scalars)


class IncompressibleFlow(Equation):
    """Velocity u and pressure p (over density) of a flow in two or three dimensions, and scalars
    s_i that it carries.

        du/dt + (u . grad) u = -grad p + viscosity lap u - drag u + force
                               + sum_i buoyancy_i (s_i - reference_i),   div u = 0
        ds_i/dt + u . grad s_i = diffusivity_i lap s_i

    **Arguments:** `viscosity` >= 0; `forcing`, a field of space that gives the force vector;
    `scalars`, each a `Scalar` under its name; `drag` >= 0, Rayleigh friction of a thin layer with
    its ground.
    """

    viscosity: Parameter = parameter(default=0.0)
    forcing: Force | None = None
    scalars: Mapping[str, Scalar] = eqx.field(converter=_as_dict, default_factory=dict)
    drag: Parameter = optional_parameter()

    def __check_init__(self):
        for name in ("viscosity", "drag"):
            value = getattr(self, name)
            if value is not None:
                checks.non_negative(name, value)
        for name in self.scalars:
            if not name.isidentifier() or name in RESERVED:
                raise ValueError(
                    f"the name of a scalar must be an identifier other than {', '.join(RESERVED)}; "
                    f"got {name!r}"
                )

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """In alphabetical order, the one that JAX keeps the entries of a dictionary in."""
        return tuple(sorted(self.scalars))

    @property
    def field_shape(self) -> None:
        """Velocity, pressure and scalars: by the dimension."""
        return None

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """Of a field that gives (u, .., p) at (x, .., t), and the scalars after it in the order of
        `scalar_names`: momentum, divergence, and each scalar's. A steady flow is a field of (x, ..)
        alone."""
        size = jax.eval_shape(field, point).shape[0]
        ndim = size - 1 - len(self.scalars)
        if len(point) not in (ndim, ndim + 1):
            parts = ", ".join(("velocity", "pressure", *self.scalar_names))
            raise ValueError(
                f"a field of {parts} with {size} components has points of {ndim} coordinates, or "
                f"{ndim + 1} with time, got {len(point)}"
            )
        steady = len(point) == ndim
        position, snapshot = point[:ndim], field if steady else at_time(field, point[-1])

        def velocity(at: Array) -> Array:
            return snapshot(at)[:ndim]

        value = snapshot(position)
        rate = jnp.zeros_like(value) if steady else time_derivative(field)(point)
        momentum = (
            rate[:ndim]
            + gradient(velocity)(position) @ value[:ndim]
            + gradient(lambda at: snapshot(at)[ndim])(position)
            - self.viscosity * laplacian(velocity)(position)
        )
        if self.forcing is not None:
            momentum = momentum - self.forcing(position)
        if self.drag is not None:
            momentum = momentum + self.drag * value[:ndim]
        transports = []
        for place, name in enumerate(self.scalar_names, ndim + 1):
            one = self.scalars[name]

            def scalar(at: Array, place: int = place) -> Array:
                return snapshot(at)[place]

            if one.buoyancy is not None:
                momentum = momentum - one.buoyancy * (value[place] - one.reference)
            transport = rate[place] + gradient(scalar)(position) @ value[:ndim]
            transports.append(transport - one.diffusivity * laplacian(scalar)(position))
        rest = jnp.stack([divergence(velocity)(position), *transports])
        return jnp.concatenate([momentum, rest])
