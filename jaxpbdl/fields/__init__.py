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

__all__ = [
    "Field",
    "Interpolant",
    "at_time",
    "curl",
    "divergence",
    "gradient",
    "interpolate",
    "laplacian",
    "partial",
    "time_derivative",
]
