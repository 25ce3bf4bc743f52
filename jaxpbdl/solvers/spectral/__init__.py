"""Steps on periodic boxes."""

from jaxpbdl.solvers.spectral.semi_lagrangian import SemiLagrangianStep, semi_lagrangian
from jaxpbdl.solvers.spectral.semilinear import SpectralStep, semilinear

__all__ = ["SemiLagrangianStep", "SpectralStep", "semi_lagrangian", "semilinear"]
