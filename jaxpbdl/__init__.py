"""jaxpbdl: physics-based deep learning in JAX.

A step is a pure function `state -> state`, a field a pure function `point -> value`, an equation
the physics that turns into the one and judges the other.
"""

from jaxpbdl import (
    atoms,
    checks,
    data,
    diagnostics,
    equations,
    fields,
    initial_states,
    learning,
    neighbours,
    networks,
    shapes,
    solvers,
)
from jaxpbdl.grid import Grid
from jaxpbdl.rollout import raise_blow_up, repeat, rollout, watched_rollout
from jaxpbdl.spectrum import Spectrum, resample
from jaxpbdl.spread import spread
from jaxpbdl.staggered import StaggeredGrid, graded
from jaxpbdl.step import Step

__all__ = [
    "Grid",
    "Spectrum",
    "StaggeredGrid",
    "Step",
    "atoms",
    "checks",
    "data",
    "diagnostics",
    "equations",
    "fields",
    "graded",
    "initial_states",
    "learning",
    "neighbours",
    "networks",
    "raise_blow_up",
    "repeat",
    "resample",
    "rollout",
    "shapes",
    "solvers",
    "spread",
    "watched_rollout",
]
