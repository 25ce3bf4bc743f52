"""What steps share that move the flow of an `IncompressibleStep` in a way of their own."""

import equinox as eqx
from jaxtyping import Array, Float

from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.fields import Interpolant
from jaxpbdl.grids.cells import Cells, FieldLike
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.step import Step


class StepOfFlow(Step):
    """A step on the states of `flow`, which holds equation, grid, dt, sides, forces and sources."""

    trainable_fields = ("flow",)

    flow: eqx.AbstractVar[IncompressibleStep]

    @property
    def grid(self) -> Cells:
        return self.flow.grid

    @property
    def equation(self) -> IncompressibleFlow:
        return self.flow.equation

    @property
    def interval(self) -> Array:
        return self.flow.dt

    def start(
        self, velocity: FieldLike | None = None, *, time: float = 0.0, **scalars: FieldLike
    ) -> Flow:
        """A state, as `IncompressibleStep.start` makes it."""
        return self.flow.start(velocity, time=time, **scalars)

    def check_state(self, state: Flow) -> None:
        """Refuse a state of other shapes, or with values that are not finite."""
        self.flow.check_state(state)

    def channels(self, state: Flow) -> Float[Array, "channels *cells"]:
        """As of `IncompressibleStep`."""
        return self.flow.channels(state)

    def corrected(self, state: Flow, change: Float[Array, "channels *cells"]) -> Flow:
        """As of `IncompressibleStep`."""
        return self.flow.corrected(state, change)

    def equation_and_field(
        self, states: Flow, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[IncompressibleFlow, Interpolant]:
        """As of `IncompressibleStep`."""
        return self.flow.equation_and_field(states, times, degree)
