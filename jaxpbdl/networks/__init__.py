"""Networks that know no equation. Each is a frozen Equinox module that acts on ONE sample."""

from jaxpbdl.networks.convolution import Convolution
from jaxpbdl.networks.coordinates import (
    Chain,
    Constant,
    Factorised,
    FourierFeatures,
    Gated,
    Periodic,
    PirateNet,
    siren,
)
from jaxpbdl.networks.dense import Dense, parameter_count
from jaxpbdl.networks.stacks import ConvNet, DilatedResNet, ResNet
from jaxpbdl.networks.unet import UNet

__all__ = [
    "Chain",
    "Constant",
    "ConvNet",
    "Convolution",
    "Dense",
    "DilatedResNet",
    "Factorised",
    "FourierFeatures",
    "Gated",
    "Periodic",
    "PirateNet",
    "ResNet",
    "UNet",
    "parameter_count",
    "siren",
]
