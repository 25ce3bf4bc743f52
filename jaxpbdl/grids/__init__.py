"""Grids: where values live, and what each kind of grid makes of them."""

from jaxpbdl.grids.cells import Cells, graded
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.harmonics import SphericalHarmonics, resized
from jaxpbdl.grids.location import Location, cell, edge, face, node
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, resample
from jaxpbdl.grids.sphere import Sphere, equiangular, gauss_legendre, sphere_for
from jaxpbdl.grids.walls import Wall

__all__ = [
    "Cells",
    "Grid",
    "Location",
    "Periodic",
    "Spectrum",
    "Sphere",
    "SphericalHarmonics",
    "Wall",
    "cell",
    "edge",
    "equiangular",
    "face",
    "gauss_legendre",
    "graded",
    "node",
    "resample",
    "resized",
    "sphere_for",
]
