"""Incompressible flow with walls and bodies on staggered grids."""

from jaxpbdl.solvers.flow.backtracing import backtraced, maccormack
from jaxpbdl.solvers.flow.operators import central, limited
from jaxpbdl.solvers.flow.projection import (
    Flow,
    IncompressibleStep,
    force_on_body,
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
    "slip",
    "stable_fluids",
    "wall",
)
