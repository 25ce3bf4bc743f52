"""Incompressible flow in its own variables, with buoyancy of a marker."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.equation import Equation, Parameter, optional_parameter, parameter
from jaxpbdl.fields import Field, at_time, divergence, gradient, laplacian, time_derivative

Force = Callable[[Float[Array, " dim"]], Float[Array, " dim"]]


class IncompressibleFlow(Equation):
    """Velocity u and pressure p (over density) of a flow in two or three dimensions, and a marker m
    that it carries.

        du/dt + (u . grad) u = -grad p + viscosity lap u - drag u + buoyancy m + force,  div u = 0
        dm/dt + u . grad m = diffusivity lap m

    **Arguments:** `viscosity` >= 0; `forcing`, a field of space that gives the force vector;
    `buoyancy`, the acceleration by a marker of one, a vector; `diffusivity` >= 0 of the marker;
    `drag` >= 0, Rayleigh friction of a thin layer with its ground.
    """

    viscosity: Parameter = parameter(default=0.0)
    forcing: Force | None = None
    buoyancy: Parameter = optional_parameter()
    diffusivity: Parameter = parameter(default=0.0)
    drag: Parameter = optional_parameter()

    def __check_init__(self):
        for name in ("viscosity", "diffusivity", "drag"):
            value = getattr(self, name)
            if value is not None:
                checks.non_negative(name, value)

    @property
    def field_shape(self) -> None:
        """Velocity and pressure, and the marker where there is buoyancy: by the dimension."""
        return None

    def residual(self, field: Field, point: Float[Array, " dim"]) -> Array:
        """Of a field that gives (u, .., p) at (x, .., t), and the marker after it where there is
        buoyancy: momentum, divergence, and the marker's. A steady flow is a field of (x, ..)
        alone."""
        size = jax.eval_shape(field, point).shape[0]
        ndim = size - (1 if self.buoyancy is None else 2)
        if len(point) not in (ndim, ndim + 1):
            parts = "velocity and pressure" + ("" if self.buoyancy is None else " and marker")
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
        if self.buoyancy is None:
            return jnp.append(momentum, divergence(velocity)(position))

        def marker(at: Array) -> Array:
            return snapshot(at)[ndim + 1]

        momentum = momentum - self.buoyancy * value[ndim + 1]
        transport = rate[ndim + 1] + gradient(marker)(position) @ value[:ndim]
        transport = transport - self.diffusivity * laplacian(marker)(position)
        return jnp.concatenate([momentum, jnp.stack([divergence(velocity)(position), transport])])
