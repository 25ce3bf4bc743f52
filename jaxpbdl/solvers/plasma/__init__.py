"""Equilibria of a magnetised plasma in a torus."""

from jaxpbdl.solvers.plasma import exact
from jaxpbdl.solvers.plasma.circuits import (
    Circuit,
    Coils,
    coils,
    filament_flux,
    filaments,
    joined,
    rectangular,
)
from jaxpbdl.solvers.plasma.delta_star import DeltaStar
from jaxpbdl.solvers.plasma.equilibrium import (
    Equilibrium,
    EquilibriumError,
    ShapeTargets,
    Tokamak,
    free_boundary,
    round_plasma,
    shaped,
    tokamak,
)
from jaxpbdl.solvers.plasma.profiles import AxisPressure, PoloidalBeta, PowerShape, Profile
from jaxpbdl.solvers.plasma.rectangle import Rectangle
from jaxpbdl.solvers.plasma.surfaces import Limiter, Surfaces

__all__ = [
    "AxisPressure",
    "Circuit",
    "Coils",
    "DeltaStar",
    "Equilibrium",
    "EquilibriumError",
    "Limiter",
    "PoloidalBeta",
    "PowerShape",
    "Profile",
    "Rectangle",
    "ShapeTargets",
    "Surfaces",
    "Tokamak",
    "coils",
    "exact",
    "filament_flux",
    "filaments",
    "free_boundary",
    "joined",
    "rectangular",
    "round_plasma",
    "shaped",
    "tokamak",
]
