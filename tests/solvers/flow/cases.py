"""A steady flow without divergence, given by a stream function, and the force that keeps it."""

import jax
import jax.numpy as jnp

import jaxpbdl as jp

VISCOSITY = 0.05


def steady(stream, viscosity=VISCOSITY):
    """(velocity, equation): the flow of a stream function on the plane, with a pressure, and the
    equation whose force balances it."""

    def field(point):
        slope = jax.grad(stream)(point[:2])
        pressure = 0.2 * jnp.cos(jnp.pi * point[0]) * jnp.sin(jnp.pi * point[1])
        return jnp.stack([slope[1], -slope[0], pressure])

    def velocity(point):
        return field(point)[:2]

    bare = jp.equations.IncompressibleFlow(viscosity)

    def forcing(point):
        return bare.residual(field, jnp.append(point, 0.0))[:2]

    return velocity, jp.equations.IncompressibleFlow(viscosity, forcing=forcing), field
