"""Networks that know no equation. Each is a frozen Equinox module that acts on ONE sample."""

from jaxpbdl.networks.convolution import Convolution
from jaxpbdl.networks.dense import Dense, parameter_count
from jaxpbdl.networks.stacks import ConvNet, DilatedResNet, ResNet
from jaxpbdl.networks.unet import UNet

__all__ = [
    "ConvNet",
    "Convolution",
    "Dense",
    "DilatedResNet",
    "ResNet",
    "UNet",
    "parameter_count",
]
