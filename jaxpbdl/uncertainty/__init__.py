"""What a model does not know: Gaussian processes and their kernels, conformal intervals,
committees.
"""

from jaxpbdl.uncertainty.committee import force_deviation
from jaxpbdl.uncertainty.conformal import conformal_interval, conformal_quantile
from jaxpbdl.uncertainty.gaussian_process import (
    GaussianProcess,
    Posterior,
    condition,
    negative_log_likelihood,
)
from jaxpbdl.uncertainty.kernels import AtomPairs, Gaussian, Kernel, Molecules

__all__ = [
    "AtomPairs",
    "Gaussian",
    "GaussianProcess",
    "Kernel",
    "Molecules",
    "Posterior",
    "condition",
    "conformal_interval",
    "conformal_quantile",
    "force_deviation",
    "negative_log_likelihood",
]
