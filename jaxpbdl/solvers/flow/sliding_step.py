"""A flow about bodies whose surfaces move along themselves at rates that are inputs of the step."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.solvers.flow.step_of_flow import StepOfFlow
from jaxpbdl.solvers.time.scheme import check_inputs


class SlidingStep(StepOfFlow):
    """One step of a flow whose input are the factors of the surface velocities, one for each, held
    over the step; created by `sliding`. Without an input they are one.

    **Attributes:** `flow`: the step at factors of one.
    """

    flow: IncompressibleStep

    @property
    def surfaces(self) -> int:
        """How many factors an input has."""
        body = self.flow.body
        return 0 if body is None or body.sliding is None else body.sliding.added[0].shape[1]

    def at(self, factors: Float[Array, " surfaces"]) -> IncompressibleStep:
        """The step of the flow at given factors, such as `force_on_body` takes."""
        checks.shape("factors", factors, (self.surfaces,))
        checks.finite("factors", factors)
        body = self.flow.body
        assert body is not None
        turned = body.at_factors(jnp.asarray(factors, self.grid.dtype))
        return dataclasses.replace(self.flow, body=turned)

    def enter(self, state: Flow) -> PyTree:
        return self.flow.enter(state)

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        check_inputs(self.flow.scheme, inputs)
        return (self.at(*inputs) if inputs else self.flow).advance(working)

    def leave(self, working: PyTree) -> Flow:
        return self.flow.leave(working)

    def largest_dt(self, state: Flow) -> Array | float:
        """As of `IncompressibleStep`, with the surface velocities themselves, factors of one."""
        return self.flow.largest_dt(state)


def sliding(flow: IncompressibleStep) -> SlidingStep:
    """The step of a flow whose input are the factors of its surface velocities.

        disc, turning = Ball(centre, 0.5), spin(centre)
        flow = incompressible(equation, grid, dt, sides, body=disc, surface=turning)
        states = jp.rollout(sliding(flow), flow.start(), 100, inputs=rates)  # (100, 1)

    Gradients reach the factors. Forces at a state: `force_on_body(step.at(factors), state)`.

    **Raises:** ValueError for a flow about no body, or whose body has no surface velocity.
    """
    if flow.body is None or flow.body.sliding is None:
        raise ValueError("sliding takes a flow about a body with a `surface`: there is none")
    return SlidingStep(flow)
