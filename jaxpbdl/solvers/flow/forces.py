"""What a flow does to the body in it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl.grids.cells import Cells, face_widths
from jaxpbdl.grids.grid import outer
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.immersion import REACH, interpolation_stencil
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.state import Flow


def force_on_body(
    step: IncompressibleStep, state: Flow, push: Sequence[ArrayLike] | Array | None = None
) -> Float[Array, " dim"]:
    """The force of the fluid on the body, over density (pressure and friction); `push` is the input
    of the step at that time, an acceleration of the fluid, if it has one.

    What the fluid's momentum budget lacks: the rate of change that its stencils and the pressure
    give within the body, which no fluid takes up. By the conservative form it equals the flux of
    momentum through any closed curve about the body less what the fluid in between gains.
    """
    if step.body is None:
        raise ValueError("the step has no body")
    _, rates, slopes = step.balance(state, push)
    forces = []
    for component, (rate, slope) in enumerate(zip(rates, slopes, strict=True)):
        volume = control_volumes(component, step.grid)
        forces.append(jnp.sum(volume * step.body.solid[component] * (rate - slope)))
    return jnp.stack(forces)


def pressure_on_body(
    step: IncompressibleStep, state: Flow, shape: Shape, points: Float[Array, "k dim"]
) -> Float[Array, " k"]:
    """Pressure over density at points of the surface of `shape`, continued along the normal by the
    parabola through three points of the fluid."""
    grid = step.grid
    pressure = step.pressure(state).reshape(-1)
    normal = jax.vmap(jax.grad(shape))(points)
    width = jnp.stack(
        [
            jnp.interp(points[:, axis], jnp.asarray(line), jnp.asarray(h))
            for axis, (line, h) in enumerate(zip(grid.centres, grid.widths, strict=True))
        ]
    ).max(axis=0)
    extrapolated = jnp.zeros(len(points), grid.dtype)
    for factor, weight in ((1, 3.0), (2, -3.0), (3, 1.0)):
        away = points + factor * REACH * width[:, None] * normal
        sources, weights = interpolation_stencil(away, grid.centres)
        extrapolated = extrapolated + weight * jnp.sum(weights * pressure[sources], axis=1)
    return extrapolated


def control_volumes(component: int, grid: Cells) -> Array:
    """Of the faces of a component."""
    return jnp.asarray(outer(face_widths(component, grid)), grid.dtype)
