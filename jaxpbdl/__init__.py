"""jaxpbdl: physics-based deep learning in JAX.

A step is a pure function `state -> state`, a field a pure function `point -> value`, an equation
the physics that turns into the one and judges the other.
"""

from jaxpbdl import checks, diagnostics, equations, fields, initial_states, solvers
from jaxpbdl.grid import Grid
from jaxpbdl.rollout import raise_blow_up, repeat, rollout, watched_rollout
from jaxpbdl.spectrum import Spectrum, resample
from jaxpbdl.step import Step

__all__ = [
    "Grid",
    "Spectrum",
    "Step",
    "checks",
    "diagnostics",
    "equations",
    "fields",
    "initial_states",
    "raise_blow_up",
    "repeat",
    "resample",
    "rollout",
    "solvers",
    "watched_rollout",
]
