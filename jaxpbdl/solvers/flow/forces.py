"""What a flow does to the body in it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.grids.cells import Cells, face_widths
from jaxpbdl.grids.grid import outer
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.immersion import BAND, REACH, interpolation_stencil
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.resolution import distances, local_width
from jaxpbdl.solvers.flow.state import Flow


def force_on_body(
    step: IncompressibleStep,
    state: Flow,
    push: Sequence[ArrayLike] | Array | None = None,
    shape: Shape | None = None,
) -> Float[Array, " dim"]:
    """The force of the fluid on the body, over density (pressure and friction); `push` is the input
    of the step at that time, an acceleration of the fluid, if it has one. `shape`: one of several
    bodies, at least four cells apart, for the force on it alone. Raises ValueError for a step
    without a body, and, outside jit, for a shape that is none of its bodies or nearer to another.

    What the fluid's momentum budget lacks: the rate of change that its stencils and the pressure
    give within the body, which no fluid takes up. By the conservative form it equals the flux of
    momentum through any closed curve about the body less what the fluid in between gains.
    """
    return jnp.stack([jnp.sum(part) for part in _taken_up(step, state, push, shape)])


def torque_on_body(
    step: IncompressibleStep,
    state: Flow,
    about: Numbers,
    push: Sequence[ArrayLike] | Array | None = None,
    shape: Shape | None = None,
) -> Float[Array, "*vector"]:
    """The torque of the fluid on the body about a point, over density: a number, anticlockwise, in
    two dimensions, a vector (3,) in three.

    The moment of what `force_on_body` adds up. The Laplacian of the continued velocity has the
    moment of the gradient's stress on the surface less the vorticity within, which is the
    circulation along the surface: that is the moment of the symmetric stress.

    **Arguments:** `about`: the point (dim,); `push`, `shape`: as of `force_on_body`.

    **Raises:** ValueError as `force_on_body`, and for a point of another dimension.
    """
    grid = step.grid
    checks.shape("about", about, (grid.ndim,))
    centre = jnp.asarray(about, grid.dtype)
    forces = _taken_up(step, state, push, shape)
    arms = [grid.points_at(face(component)) - centre for component in range(grid.ndim)]

    def moment(first: int, second: int) -> Array:
        """In the plane of two axes, from the first towards the second."""
        return jnp.sum(arms[second][..., first] * forces[second]) - jnp.sum(
            arms[first][..., second] * forces[first]
        )

    if grid.ndim == 2:
        return moment(0, 1)
    return jnp.stack([moment(1, 2), moment(2, 0), moment(0, 1)])


def _taken_up(
    step: IncompressibleStep,
    state: Flow,
    push: Sequence[ArrayLike] | Array | None,
    shape: Shape | None,
) -> Velocity:
    """The momentum that the body takes up about each face, a unit of time."""
    if step.body is None:
        raise ValueError("the step has no body")
    grid = step.grid
    _, rates, slopes = step.balance(state, push)
    # No flux brought it, so that it would be missing from the budget of the fluid.
    restored = None
    if step.body.walls is not None:
        restored = step.restored(step.body.continued(state.velocity))
    parts = []
    for component, (rate, slope) in enumerate(zip(rates, slopes, strict=True)):
        part = step.body.solid[component] * (rate - slope)
        if restored is not None:
            part = part - restored[component]
        if shape is not None:
            # Faces about the surface count too, as far as part of them is solid.
            away = distances(shape, grid.points_at(face(component)))
            cells_away = away / local_width(component, grid)
            _refuse_other_bodies(step.body.solid[component], cells_away)
            part = jnp.where(cells_away < BAND, part, 0.0)
        parts.append(control_volumes(component, grid) * part)
    return tuple(parts)


def _refuse_other_bodies(solid: Array, cells_away: Array) -> None:
    """Within a body most is solid, and beyond its band nothing is. Raises ValueError, where the
    values are known. Functions of shapes need not be distances: at the tips of an ellipse they are
    too large, so that some faces that seem deep inside are open."""
    if not checks.is_concrete((solid, cells_away)):
        return
    inside = cells_away < 0
    within, open_within = int(jnp.sum(inside)), int(jnp.sum(inside & (solid == 0)))
    near = (cells_away > BAND) & (cells_away < 2 * BAND) & (solid > 0)
    if open_within > within / 2:
        raise ValueError(
            f"shape must be one of the step's bodies: {open_within} of {within} faces within it "
            "are open"
        )
    if jnp.any(near):
        nearest = float(jnp.min(jnp.where(near, cells_away, jnp.inf)))
        raise ValueError(
            f"shape must be a whole body at least {2 * BAND:.0f} cells from all others: something "
            f"solid is {nearest:.1f} cells outside it"
        )


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
