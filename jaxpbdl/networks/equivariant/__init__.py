"""Networks of atoms that turn with the molecule: NequIP and MACE families on e3nn-jax's algebra."""

from jaxpbdl.networks.equivariant.algebra import Mix, MixBySpecies, kinds
from jaxpbdl.networks.equivariant.contraction import SymmetricContraction
from jaxpbdl.networks.equivariant.convolution import Convolution
from jaxpbdl.networks.equivariant.heads import Potential, Tensor
from jaxpbdl.networks.equivariant.layers import Gate, contracted_layer, gated_layer
from jaxpbdl.networks.equivariant.radial import Radial, bessel, gaussian, polynomial_cutoff
from jaxpbdl.networks.equivariant.trunk import Trunk

__all__ = [
    "Convolution",
    "Gate",
    "Mix",
    "MixBySpecies",
    "Potential",
    "Radial",
    "SymmetricContraction",
    "Tensor",
    "Trunk",
    "bessel",
    "contracted_layer",
    "gated_layer",
    "gaussian",
    "kinds",
    "polynomial_cutoff",
]
