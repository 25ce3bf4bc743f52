"""Compressible flow, and other conservation laws, by finite volumes."""

from jaxpbdl.solvers.compressible import exact
from jaxpbdl.solvers.compressible.finite_volume import FiniteVolumeStep, finite_volumes
from jaxpbdl.solvers.compressible.fluxes import hllc, rusanov
from jaxpbdl.solvers.compressible.quadrature import FaceQuadrature, midpoint, sixth_order
from jaxpbdl.solvers.compressible.reconstruction import (
    Reconstruction,
    Weno5,
    characteristic,
    first_order,
    minmod,
    monotonised_central,
    muscl,
    positivity,
    primitive,
    primitive_lines,
    superbee,
    van_leer,
    weno5,
)
from jaxpbdl.solvers.compressible.sides import inflow, reflecting, transmissive

__all__ = [
    "FaceQuadrature",
    "FiniteVolumeStep",
    "Reconstruction",
    "Weno5",
    "characteristic",
    "exact",
    "finite_volumes",
    "first_order",
    "hllc",
    "inflow",
    "midpoint",
    "minmod",
    "monotonised_central",
    "muscl",
    "positivity",
    "primitive",
    "primitive_lines",
    "reflecting",
    "rusanov",
    "sixth_order",
    "superbee",
    "transmissive",
    "van_leer",
    "weno5",
]
