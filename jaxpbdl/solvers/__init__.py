"""Discretisations: `equation + grid + dt -> step`, a namespace for each family."""

from jaxpbdl.solvers import elliptic, flow, molecular, spectral, sphere, time, waves

__all__ = ["elliptic", "flow", "molecular", "spectral", "sphere", "time", "waves"]
