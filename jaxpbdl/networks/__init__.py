"""Networks that know no equation. Each is a frozen Equinox module that acts on ONE sample."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxpbdl.networks.convolution import Convolution
from jaxpbdl.networks.coordinates import (
    Chain,
    Factorised,
    FourierFeatures,
    Gated,
    PeriodicFeatures,
    PirateNet,
    siren,
)
from jaxpbdl.networks.deeponet import DeepONet, PODDeepONet, principal_modes
from jaxpbdl.networks.dense import Dense, parameter_count
from jaxpbdl.networks.environments import Environments
from jaxpbdl.networks.flax_bridge import FlaxModule
from jaxpbdl.networks.fno import FNO
from jaxpbdl.networks.patches import PatchNet
from jaxpbdl.networks.set_layers import (
    AttentionFlow,
    AttentionPooling,
    Equivariant,
    ParticleTagger,
    SelfAttention,
)
from jaxpbdl.networks.sets import EnergyFlow, ParticleFlow
from jaxpbdl.networks.spectral_convolution import (
    FactorisedSpectralConvolution,
    SpectralConvolution,
)
from jaxpbdl.networks.stacks import ConvNet, DilatedResNet, ResNet
from jaxpbdl.networks.transolver import Transolver
from jaxpbdl.networks.unet import UNet
from jaxpbdl.networks.units import InPrecision, Standardised, Units
from jaxpbdl.networks.uno import UNO
from jaxpbdl.trainable import Constant

if TYPE_CHECKING:
    from jaxpbdl.networks import equivariant

__all__ = [
    "AttentionFlow",
    "AttentionPooling",
    "Chain",
    "Constant",
    "ConvNet",
    "Convolution",
    "DeepONet",
    "Dense",
    "DilatedResNet",
    "EnergyFlow",
    "Equivariant",
    "Environments",
    "FNO",
    "Factorised",
    "FactorisedSpectralConvolution",
    "FlaxModule",
    "FourierFeatures",
    "Gated",
    "InPrecision",
    "PODDeepONet",
    "ParticleFlow",
    "ParticleTagger",
    "PeriodicFeatures",
    "PatchNet",
    "PirateNet",
    "ResNet",
    "SelfAttention",
    "SpectralConvolution",
    "Standardised",
    "Transolver",
    "UNO",
    "UNet",
    "Units",
    "equivariant",
    "parameter_count",
    "principal_modes",
    "siren",
]


def __getattr__(name: str) -> Any:
    if name == "equivariant":  # loads e3nn-jax; it waits for the first use
        return import_module(f"{__name__}.equivariant")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
