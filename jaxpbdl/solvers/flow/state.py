"""The state of an incompressible flow."""

from typing import NamedTuple

from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity


class Flow(NamedTuple):
    """Components of the velocity on their faces, the time, and a marker in the cells."""

    velocity: Velocity
    time: Array
    marker: Float[Array, "*cells"] | None = None


class Rates(NamedTuple):
    """How fast velocity, time and marker change but for the pressure; or a change of them."""

    velocity: Velocity
    time: Array
    marker: Float[Array, "*cells"] | None


def check_flow(state: object, grid: Cells) -> None:
    """Refuse what is no state of the grid, or not finite."""
    if not isinstance(state, Flow):
        raise ValueError(
            f"state must be a Flow, as `step.start()` makes; got {type(state).__name__}"
        )
    for component, u in enumerate(state.velocity):
        checks.shape(f"velocity[{component}]", u, grid.shape_at(face(component)))
        checks.finite(f"velocity[{component}]", u)
    if state.marker is not None:
        checks.shape("marker", state.marker, grid.shape)
        checks.finite("marker", state.marker)
