"""The state of an incompressible flow."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.incompressible import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.location import face
from jaxpbdl.grids.operators import Velocity


class Flow(NamedTuple):
    """Components of the velocity on their faces, the time, and scalars in the cells by name."""

    velocity: Velocity
    time: Array
    scalars: dict[str, Float[Array, "*cells"]] = {}  # noqa: RUF012 - never written to


class Rates(NamedTuple):
    """How fast velocity, time and scalars change but for the pressure; or a change of them."""

    velocity: Velocity
    time: Array
    scalars: dict[str, Float[Array, "*cells"]]


def check_flow(state: object, grid: Cells, names: Sequence[str]) -> None:
    """Refuse what is no state of the grid with these scalars, or not finite."""
    if not isinstance(state, Flow):
        raise ValueError(
            f"state must be a Flow, as `step.start()` makes; got {type(state).__name__}"
        )
    for component, u in enumerate(state.velocity):
        checks.shape(f"velocity[{component}]", u, grid.shape_at(face(component)))
        checks.finite(f"velocity[{component}]", u)
    if set(state.scalars) != set(names):
        raise ValueError(
            f"state must have the scalars of the equation, {sorted(names)}; got "
            f"{sorted(state.scalars)}"
        )
    for name, values in state.scalars.items():
        checks.shape(name, values, grid.shape)
        checks.finite(name, values)


def known_scalars(what: str, given: Mapping[str, object], equation: IncompressibleFlow) -> None:
    """Refuse the name of a scalar that the equation does not have."""
    for name in given:
        if name not in equation.scalars:
            raise ValueError(
                f"{what} names {name!r}, but the scalars of the equation are "
                f"{list(equation.scalar_names)}"
            )
