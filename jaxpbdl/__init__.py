"""jaxpbdl: physics-based deep learning in JAX.

A step is a pure function `state -> state`, a field a pure function `point -> value`, an equation
the physics that turns into the one and judges the other.
"""

from jaxpbdl import (
    checks,
    data,
    diagnostics,
    distributed,
    equations,
    fields,
    grids,
    inference,
    initial_states,
    learning,
    molecules,
    networks,
    shapes,
    solvers,
    uncertainty,
)
from jaxpbdl.rollout import raise_blow_up, repeat, rollout, watched_rollout
from jaxpbdl.step import Step

__all__ = [
    "Step",
    "checks",
    "data",
    "diagnostics",
    "distributed",
    "equations",
    "fields",
    "grids",
    "inference",
    "initial_states",
    "learning",
    "molecules",
    "networks",
    "raise_blow_up",
    "repeat",
    "rollout",
    "shapes",
    "solvers",
    "uncertainty",
    "watched_rollout",
]
