"""What a model does not know: Gaussian processes and their kernels."""

from jaxpbdl.uncertainty.gaussian_process import (
    GaussianProcess,
    Posterior,
    condition,
    negative_log_likelihood,
)

__all__ = ["GaussianProcess", "Posterior", "condition", "negative_log_likelihood"]
