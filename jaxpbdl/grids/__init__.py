"""Grids: where values live, and what each kind of grid makes of them."""

from jaxpbdl.grids.cells import Cells, graded
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.grids.spectrum import Spectrum, resample

__all__ = ["Cells", "Periodic", "Spectrum", "graded", "resample"]
