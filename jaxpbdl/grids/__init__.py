"""Grids: where values live, and what each kind of grid makes of them."""

from jaxpbdl.grids.cells import Cells, graded
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.location import Location, cell, edge, face, node
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, resample
from jaxpbdl.grids.walls import Wall

__all__ = [
    "Cells",
    "Grid",
    "Location",
    "Periodic",
    "Spectrum",
    "Wall",
    "cell",
    "edge",
    "face",
    "graded",
    "node",
    "resample",
]
