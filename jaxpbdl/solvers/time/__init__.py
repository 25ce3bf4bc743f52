"""Time integration for all solvers: schemes, and any system of rates as a step."""

from jaxpbdl.solvers.time.adams import etd_adams
from jaxpbdl.solvers.time.adams_bashforth import adams_bashforth
from jaxpbdl.solvers.time.backward_difference import StiffSystem, backward_difference
from jaxpbdl.solvers.time.explicit import ExplicitStep, explicit, substepped
from jaxpbdl.solvers.time.exponential import etd_multistep, etdrk1, etdrk2, etdrk3, etdrk4, phi
from jaxpbdl.solvers.time.implicit_explicit import imex
from jaxpbdl.solvers.time.runge_kutta import euler, rk3, rk4, ssp_rk2, ssp_rk3
from jaxpbdl.solvers.time.scheme import Exponential, Scheme, System
from jaxpbdl.solvers.time.symplectic import (
    HamiltonianStep,
    SeparableSystem,
    hamiltonian,
    leapfrog,
    yoshida,
)

__all__ = [
    "Exponential",
    "ExplicitStep",
    "HamiltonianStep",
    "Scheme",
    "SeparableSystem",
    "StiffSystem",
    "System",
    "adams_bashforth",
    "backward_difference",
    "etd_adams",
    "etd_multistep",
    "etdrk1",
    "etdrk2",
    "etdrk3",
    "etdrk4",
    "euler",
    "explicit",
    "hamiltonian",
    "imex",
    "leapfrog",
    "phi",
    "rk3",
    "rk4",
    "ssp_rk2",
    "ssp_rk3",
    "substepped",
    "yoshida",
]
