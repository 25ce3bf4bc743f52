"""What a flow does to the body in it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.grids.cells import Cells, face_widths
from jaxpbdl.grids.grid import outer
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.immersion import REACH, interpolation_stencil
from jaxpbdl.solvers.flow.motion import shape_at, velocity_of
from jaxpbdl.solvers.flow.moving_bodies import MovingBody
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.resolution import distances, local_width
from jaxpbdl.solvers.flow.state import Flow


def force_on_body(
    step: IncompressibleStep, state: Flow, shape: Shape | None = None
) -> Float[Array, " dim"]:
    """The force of the fluid on the body, over density (pressure and friction).

    What the fluid's momentum budget lacks: the rate of change that its stencils and the pressure
    give within the body, which no fluid takes up, and what the moving surface sweeps over. By the
    conservative form it equals the flux of momentum through any closed curve about the body less
    what the fluid in between gains.

    **Arguments:** `shape`: one of several bodies, with its motion, for the force on it alone; by
    default that on all of them together.

    **Raises:** ValueError for a step without a body.
    """
    return jnp.stack([jnp.sum(part) for part in _taken_up(step, state, shape)])


def torque_on_body(
    step: IncompressibleStep,
    state: Flow,
    about: Numbers,
    shape: Shape | None = None,
) -> Float[Array, "*vector"]:
    """The torque of the fluid on the body about a point, over density: anticlockwise, a number in
    two dimensions, a vector (3,) in three.

    The moment of what `force_on_body` adds up. Inside the surface the velocity is that of the
    body, so the moment of the Laplacian's stress is that of the symmetric one.

    **Arguments:** `about`: a point (dim,); `shape`: one of several bodies, with its motion.

    **Raises:** ValueError for a step without a body, or a point of another dimension.
    """
    ndim, dtype = step.grid.ndim, step.grid.dtype
    checks.shape("about", about, (ndim,))
    arms = [
        step.grid.points_at(face(component)) - jnp.asarray(about, dtype)
        for component in range(ndim)
    ]
    push = _taken_up(step, state, shape)

    def moment(first: int, second: int) -> Array:
        """Of the forces along the axis `second` with arms along `first`, and the other way."""
        return jnp.sum(arms[second][..., first] * push[second]) - jnp.sum(
            arms[first][..., second] * push[first]
        )

    if ndim == 2:
        return moment(0, 1)
    return jnp.stack([moment(1, 2), moment(2, 0), moment(0, 1)])


def _taken_up(step: IncompressibleStep, state: Flow, shape: Shape | None) -> list[Array]:
    """What the body takes up of momentum on each face a unit of time."""
    if step.body is None:
        raise ValueError("the step has no body")
    grid, body = step.grid, step.body.at(state.time)
    _, rates, push = step.balance(state)
    swept = (0.0,) * grid.ndim
    if isinstance(step.body, MovingBody):
        swept = _swept(step.body.shape, state.time, grid)
    parts = []
    for component, (rate, slope) in enumerate(zip(rates, push, strict=True)):
        share = control_volumes(component, grid) * body.solid[component]
        if shape is not None:
            away = distances(shape_at(shape, state.time), grid.points_at(face(component)))
            share = jnp.where(away < local_width(component, grid), share, 0.0)
        parts.append(share * (rate - slope + swept[component]))
    return parts


def _swept(shape: Shape, time: Array, grid: Cells) -> Velocity:
    """(U . grad) U of the velocity U of the body: its integral over the body is the momentum flux
    U (U . n) over the surface, by which the rate of change at fixed points differs from that of
    the fluid between moving surfaces."""

    def along_itself(point: Array) -> Array:
        def velocity(where: Array) -> Array:
            return velocity_of(shape, where, time)

        return jax.jvp(velocity, (point,), (velocity(point),))[1]

    return grid.velocity(along_itself)


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
