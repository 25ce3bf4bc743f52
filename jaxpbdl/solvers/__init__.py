"""Discretisations: `equation + grid + dt -> step`, a namespace for each family."""

from jaxpbdl.solvers import elliptic, flow, molecular, quantum, spectral, time, waves

__all__ = ["elliptic", "flow", "molecular", "quantum", "spectral", "time", "waves"]
