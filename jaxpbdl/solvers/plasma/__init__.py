"""Kinetic plasma: electrons in phase space, as a density or as particles, and their waves."""

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
from jaxpbdl.solvers.plasma.vlasov import (
    VlasovStep,
    electric_field,
    velocity_grid,
    vlasov_poisson,
)

__all__ = [
    "ColdBeams",
    "Electrons",
    "HollowMaxwellian",
    "Maxwellians",
    "ParticleStep",
    "Spline",
    "VelocityDistribution",
    "VlasovStep",
    "cloud_in_cell",
    "electric_field",
    "faddeeva",
    "growth_rate",
    "leading_wave",
    "nearest_point",
    "particle_in_cell",
    "plasma_dispersion",
    "quiet_beam",
    "triangular_cloud",
    "velocity_grid",
    "vlasov_poisson",
    "wave_frequencies",
    "wave_frequency",
]
