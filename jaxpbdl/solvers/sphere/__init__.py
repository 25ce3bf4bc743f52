"""Flow on a sphere by spherical harmonics."""

from jaxpbdl.solvers.sphere.initial import (
    barotropic_wave,
    mountain,
    shallow_water_wave,
    solid_rotation,
    unstable_jet,
)
from jaxpbdl.solvers.sphere.step import on_sphere

__all__ = [
    "barotropic_wave",
    "mountain",
    "on_sphere",
    "shallow_water_wave",
    "solid_rotation",
    "unstable_jet",
]
