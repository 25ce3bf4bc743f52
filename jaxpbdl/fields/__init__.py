"""Fields: pure functions `point -> value`, and what one does with them."""

from jaxpbdl.fields.derivatives import (
    Field,
    at_time,
    curl,
    divergence,
    gradient,
    laplacian,
    partial,
    time_derivative,
)
from jaxpbdl.fields.interpolation import Interpolant, interpolate
from jaxpbdl.fields.sampling import (
    Box,
    grid_points,
    halton,
    inside,
    latin_hypercube,
    on_surface,
    refine,
    sobol,
    uniform,
)
from jaxpbdl.fields.taylor import Expansion, expand, expanded
from jaxpbdl.fields.weak import weak_residual
from jaxpbdl.fields.windows import Joined, Snapshot

__all__ = [
    "Box",
    "Expansion",
    "Field",
    "Interpolant",
    "Joined",
    "Snapshot",
    "at_time",
    "curl",
    "divergence",
    "expand",
    "expanded",
    "gradient",
    "grid_points",
    "halton",
    "inside",
    "on_surface",
    "interpolate",
    "laplacian",
    "latin_hypercube",
    "partial",
    "refine",
    "sobol",
    "time_derivative",
    "uniform",
    "weak_residual",
]
