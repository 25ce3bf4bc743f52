"""Schemes in time."""

from jaxpbdl.solvers.time.adams import etd_adams
from jaxpbdl.solvers.time.exponential import etd_multistep, etdrk1, etdrk2, etdrk3, etdrk4, phi
from jaxpbdl.solvers.time.implicit_explicit import imex
from jaxpbdl.solvers.time.integrator import Integrator, Scheme

__all__ = [
    "Integrator",
    "Scheme",
    "etd_adams",
    "etd_multistep",
    "etdrk1",
    "etdrk2",
    "etdrk3",
    "etdrk4",
    "imex",
    "phi",
]
