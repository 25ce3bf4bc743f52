"""Plasma: electrons in phase space, as a density or as particles, and their waves; equilibria of a
magnetised plasma in a torus.
"""

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
from jaxpbdl.solvers.plasma.dispersion import (
    ColdBeams,
    HollowMaxwellian,
    Maxwellians,
    VelocityDistribution,
    faddeeva,
    leading_wave,
    plasma_dispersion,
    wave_frequency,
)
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
from jaxpbdl.solvers.plasma.evolution import (
    Deviation,
    Drive,
    EvolutionStep,
    PlasmaShape,
    Response,
    inductances,
    plasma_evolution,
    plasma_response,
    stability_margin,
)
from jaxpbdl.solvers.plasma.growth import growth_rate, wave_frequencies
from jaxpbdl.solvers.plasma.particles import (
    Electrons,
    ParticleStep,
    Spline,
    cloud_in_cell,
    nearest_point,
    particle_in_cell,
    quiet_beam,
    triangular_cloud,
)
from jaxpbdl.solvers.plasma.profiles import (
    AxisPressure,
    PoloidalBeta,
    PowerShape,
    Profile,
    Tabulated,
)
from jaxpbdl.solvers.plasma.rectangle import Rectangle
from jaxpbdl.solvers.plasma.surfaces import Limiter, Surfaces, flux_surface, safety_factor
from jaxpbdl.solvers.plasma.vlasov import (
    VlasovStep,
    electric_field,
    velocity_grid,
    vlasov_poisson,
)

__all__ = [
    "AxisPressure",
    "Circuit",
    "Coils",
    "ColdBeams",
    "DeltaStar",
    "Deviation",
    "Drive",
    "Electrons",
    "Equilibrium",
    "EquilibriumError",
    "EvolutionStep",
    "HollowMaxwellian",
    "Limiter",
    "Maxwellians",
    "ParticleStep",
    "PlasmaShape",
    "PoloidalBeta",
    "PowerShape",
    "Profile",
    "Rectangle",
    "Response",
    "ShapeTargets",
    "Spline",
    "Surfaces",
    "Tabulated",
    "Tokamak",
    "VelocityDistribution",
    "VlasovStep",
    "cloud_in_cell",
    "coils",
    "electric_field",
    "exact",
    "faddeeva",
    "filament_flux",
    "filaments",
    "flux_surface",
    "free_boundary",
    "growth_rate",
    "inductances",
    "joined",
    "leading_wave",
    "nearest_point",
    "particle_in_cell",
    "plasma_dispersion",
    "plasma_evolution",
    "plasma_response",
    "quiet_beam",
    "rectangular",
    "round_plasma",
    "safety_factor",
    "shaped",
    "stability_margin",
    "tokamak",
    "triangular_cloud",
    "velocity_grid",
    "vlasov_poisson",
    "wave_frequencies",
    "wave_frequency",
]
