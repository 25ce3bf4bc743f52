"""Networks that know no equation. Each is a frozen Equinox module that acts on ONE sample."""

from jaxpbdl.networks.convolution import Convolution
from jaxpbdl.networks.deeponet import DeepONet, PODDeepONet, principal_modes
from jaxpbdl.networks.dense import Dense, parameter_count
from jaxpbdl.networks.flax_bridge import FlaxModule
from jaxpbdl.networks.fno import FNO
from jaxpbdl.networks.spectral_convolution import (
    FactorisedSpectralConvolution,
    SpectralConvolution,
)
from jaxpbdl.networks.stacks import ConvNet, DilatedResNet, ResNet
from jaxpbdl.networks.unet import UNet

__all__ = [
    "FNO",
    "ConvNet",
    "Convolution",
    "DeepONet",
    "Dense",
    "DilatedResNet",
    "FactorisedSpectralConvolution",
    "FlaxModule",
    "PODDeepONet",
    "ResNet",
    "SpectralConvolution",
    "UNet",
    "parameter_count",
    "principal_modes",
]
