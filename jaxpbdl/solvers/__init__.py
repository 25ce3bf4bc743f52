"""Discretisations: `equation + grid + dt -> step`, a namespace for each family."""

from jaxpbdl.solvers import compressible, elliptic, flow, molecular, plasma, spectral, time, waves

__all__ = ["compressible", "elliptic", "flow", "molecular", "plasma", "spectral", "time", "waves"]
