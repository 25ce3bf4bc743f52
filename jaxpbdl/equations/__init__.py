"""Equations: parameters, residual, and the terms a discretisation needs."""

from jaxpbdl.equations.burgers import Burgers
from jaxpbdl.equations.compressible import CompressibleFlow
from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.equations.darcy import Darcy
from jaxpbdl.equations.dispersive import KortewegDeVries, KuramotoSivashinsky
from jaxpbdl.equations.equation import Equation, Parameter, optional_parameter, parameter
from jaxpbdl.equations.forcing import Kolmogorov, kolmogorov
from jaxpbdl.equations.incompressible import IncompressibleFlow, Scalar
from jaxpbdl.equations.linear import AdvectionDiffusion, Wave
from jaxpbdl.equations.lorenz import Lorenz63, Lorenz96
from jaxpbdl.equations.maxwell import Maxwell
from jaxpbdl.equations.navier_stokes import NavierStokes2D, NavierStokes3D
from jaxpbdl.equations.reaction_diffusion import (
    AllenCahn,
    CahnHilliard,
    FisherKPP,
    GrayScott,
    SwiftHohenberg,
)
from jaxpbdl.equations.schroedinger import Schroedinger
from jaxpbdl.equations.semilinear import SemilinearEquation
from jaxpbdl.equations.sphere import BarotropicVorticity, ShallowWater

__all__ = [
    "AdvectionDiffusion",
    "AllenCahn",
    "BarotropicVorticity",
    "Burgers",
    "CahnHilliard",
    "CompressibleFlow",
    "ConservationLaw",
    "Darcy",
    "Equation",
    "FisherKPP",
    "GrayScott",
    "IncompressibleFlow",
    "Kolmogorov",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "Lorenz63",
    "Lorenz96",
    "Maxwell",
    "NavierStokes2D",
    "NavierStokes3D",
    "Parameter",
    "Scalar",
    "Schroedinger",
    "SemilinearEquation",
    "ShallowWater",
    "SwiftHohenberg",
    "Wave",
    "kolmogorov",
    "optional_parameter",
    "parameter",
]
