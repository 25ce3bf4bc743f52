"""Incompressible flow with walls and bodies on staggered grids."""

from jaxpbdl.solvers.flow.backtracing import backtraced, maccormack
from jaxpbdl.solvers.flow.forces import force_on_body, pressure_on_body
from jaxpbdl.solvers.flow.operators import central, limited
from jaxpbdl.solvers.flow.projection import (
    Flow,
    IncompressibleStep,
    incompressible,
)
from jaxpbdl.solvers.flow.sides import Side, inflow, outflow, slip, wall
from jaxpbdl.solvers.flow.stable import StableStep, stable_fluids

__all__ = (
    "Flow",
    "IncompressibleStep",
    "Side",
    "StableStep",
    "backtraced",
    "central",
    "force_on_body",
    "incompressible",
    "inflow",
    "limited",
    "maccormack",
    "outflow",
    "pressure_on_body",
    "slip",
    "stable_fluids",
    "wall",
)
