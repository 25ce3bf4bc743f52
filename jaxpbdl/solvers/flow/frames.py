"""A flow seen from a frame that moves along, so that a body on a path stays where it is.

    du/dt = -div(u u) + viscosity lap u + force - grad p - dV/dt,   u = velocity at rest - V(t)

V is the velocity of the frame. The sides go with it: their velocities, given in the frame at rest,
are seen less V, and the acceleration of the frame is a force on all of the fluid. The pressure is
that of the frame at rest, and so is the force on the body: the acceleration, unlike gravity, leaves
no gradient in fluid that follows it. Fluid that a pressure accelerates past a body at rest pushes
it with the mass that the body displaces times that acceleration more.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.shapes import Shape
from jaxpbdl.solvers.flow.forces import force_on_body
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.sides import Boundary
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.solvers.flow.step_of_flow import StepOfFlow
from jaxpbdl.solvers.time.scheme import check_inputs


class Drift(eqx.Module):
    """The velocity of a frame that is accelerated uniformly from a time on."""

    velocity: Float[Array, " dim"]
    acceleration: Float[Array, " dim"]
    since: Float[Array, ""]

    def __call__(self, time: Array) -> Array:
        return self.velocity + self.acceleration * (time - self.since)


class Seen(NamedTuple):
    """The step of a flow in a frame, and the acceleration that is its input."""

    step: IncompressibleStep
    push: Float[Array, " dim"]


class FrameStep(StepOfFlow):
    """One step of a flow in a frame that moves; created by `in_frame`. The input are the velocities
    of the frame at the beginning and the end of the step, (2, dim), straight in between; without an
    input it is at rest.

    **Attributes:** `flow`: the step in the frame at rest.
    """

    flow: IncompressibleStep

    def at(self, time: Array, velocities: Float[Array, "2 dim"]) -> Seen:
        """The step of the flow from a time on, with the velocities of one input."""
        checks.shape("velocities", velocities, (2, self.grid.ndim))
        checks.finite("velocities", velocities)
        velocities = jnp.asarray(velocities, self.grid.dtype)
        acceleration = (velocities[1] - velocities[0]) / self.flow.dt
        boundary: Boundary = eqx.tree_at(
            lambda one: one.drift,
            self.flow.boundary,
            Drift(velocities[0], acceleration, time),
            is_leaf=lambda leaf: leaf is None,
        )
        return Seen(dataclasses.replace(self.flow, boundary=boundary), -acceleration)

    def force(
        self, state: Flow, velocities: Float[Array, "2 dim"], shape: Shape | None = None
    ) -> Float[Array, " dim"]:
        """The force of the fluid on the body, over density, at a state and the input from it on;
        `shape`: one of several bodies."""
        step, push = self.at(state.time, velocities)
        return force_on_body(step, state, push, shape)

    def begin(self, frame: Numbers, velocity: Numbers | None = None, time: float = 0.0) -> Flow:
        """The state of fluid that has a uniform velocity in the frame at rest (none by default),
        seen from a frame of velocity `frame`, freed of its divergence about the body.

        **Raises:** ValueError for velocities of another shape than (dim,), or not finite.
        """
        ndim, dtype = self.grid.ndim, self.grid.dtype
        checks.shape("frame", frame, (ndim,))
        checks.finite("frame", frame)
        if velocity is not None:
            checks.shape("velocity", velocity, (ndim,))
            checks.finite("velocity", velocity)
        own = jnp.asarray(frame, dtype)
        there = jnp.zeros(ndim, dtype) if velocity is None else jnp.asarray(velocity, dtype)
        seen = self.at(jnp.asarray(time, dtype), jnp.stack([own, own])).step
        return seen.start(lambda point: there - own + 0 * point, time=time)

    def enter(self, state: Flow) -> PyTree:
        return self.flow.enter(state)

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.flow.scheme, inputs)
        if not inputs:
            return self.flow.advance(working)
        step, push = self.at(self.flow.leave(working).time, *inputs)
        return step.advance(working, push)

    def leave(self, working: PyTree) -> Flow:
        return self.flow.leave(working)

    def largest_dt(self, state: Flow) -> Array | float:
        """As of `IncompressibleStep`."""
        return self.flow.largest_dt(state)


def in_frame(flow: IncompressibleStep) -> FrameStep:
    """The step of a flow in a frame that goes with its body on a path; its input are velocities of
    the frame, two for each step.

        step = in_frame(incompressible(equation, grid, dt, sides, body=Ball(centre, 0.5)))
        path = frame_inputs(velocities, 100)  # of velocities at 101 times
        states = jp.rollout(step, step.begin(velocities[0]), 100, inputs=path)

    The sides keep the velocities given to them, as those of fluid at rest or of a stream far away;
    an `outflow()` lets fluid pass. Gradients reach the path. `step.force(state, path[i])` is the
    force on the body.

    **Raises:** ValueError for a flow with drag, forcing, sources or a force of its own: they would
    act on velocities and at places as the frame sees them, not as the fluid at rest does.
    """
    parts = {
        "drag": flow.equation.drag is not None,
        "forcing": flow.equation.forcing is not None,
        "sources": bool(flow.sources),
        "force": flow.force is not None,
    }
    if given := [name for name, there in parts.items() if there]:
        raise ValueError(f"in_frame takes a flow without {', '.join(parts)}, got {given}")
    return FrameStep(flow)


def frame_inputs(velocities: ArrayLike, steps: int) -> Float[Array, "steps 2 dim"]:
    """The inputs of `in_frame` from the velocities of the frame at the beginning and after each
    step, (steps + 1, dim).

    **Raises:** ValueError for velocities of another number, or not finite.
    """
    checks.count("steps", steps)
    velocities = checks.as_floats(velocities)
    if velocities.ndim != 2 or len(velocities) != steps + 1:
        raise ValueError(
            f"velocities must have shape ({steps + 1}, dim), one more than steps, got "
            f"{velocities.shape}"
        )
    checks.finite("velocities", velocities)
    return jnp.stack([velocities[:-1], velocities[1:]], axis=1)
