"""Poisson's equation on an L, whose inner corner makes the solution singular, by a small network.

    -lap u = 1 inside,  u = 0 on the boundary

Points inside and on the boundary come from the polygon itself. The integral of u is known:
0.2140758, by adaptive finite elements. Near the inner corner u goes like r^(2/3): the network
gets this function as a third input and need not imitate its kink. Takes 40 seconds.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import jaxpbdl as jp
from jaxpbdl import fields, shapes
from jaxpbdl.learning import PerChunk, fit, quasi_newton, residual_loss
from jaxpbdl.networks import Dense

jax.config.update("jax_enable_x64", True)
polygon = shapes.Outline([(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)])
box = fields.Box((-1.0, -1.0), (1.0, 1.0))
poisson = jp.equations.Darcy(lambda point: jnp.ones(()), lambda point: jnp.ones(()))


def corner(point):
    """r^(2/3) sin(2/3 angle), harmonic, and zero on both sides of the corner."""
    x, y = point
    angle = jnp.arctan2(-x, y)  # from the side x = 0, through the L
    angle = jnp.where(angle < 0, angle + 2 * jnp.pi, angle)
    return (x**2 + y**2 + 1e-12) ** (1 / 3) * jnp.sin(2 / 3 * angle)


class Solution(eqx.Module):
    network: Dense

    def __call__(self, point):
        return self.network(jnp.append(point, corner(point)))[0]


def draw(key, model):
    inner, edge = jax.random.split(key)
    return (
        fields.inside(inner, box, 600, polygon),
        fields.on_surface(edge, box, 300, polygon),
    )


def loss(model, points):
    inner, edge = points
    wrong = residual_loss(poisson, model, inner)
    return wrong + 100 * jnp.mean(jax.vmap(model)(edge) ** 2)


if __name__ == "__main__":
    model = Solution(Dense((3, 20, 20, 1), key=jax.random.key(0)))
    model, history = fit(
        model, loss, PerChunk(draw), quasi_newton(), 600, key=jax.random.key(1), chunk=200
    )
    centres = fields.Box((-0.995, -0.995), (0.995, 0.995))
    points = fields.grid_points(centres, (200, 200))
    held = jax.vmap(polygon)(points) < 0
    integral = 3 * float(jnp.mean(jax.vmap(model)(points), where=held))  # the L has the area 3
    print(f"integral {integral:.5f}, known 0.21408")
    assert abs(integral / 0.2140758 - 1) < 0.005
