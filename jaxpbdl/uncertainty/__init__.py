"""What a model does not know: predictive distributions of ensembles, scores, conformal intervals,
Bayesian last layers, dropout, SWAG, Gaussian processes and their kernels.
"""

from jaxpbdl.uncertainty.bayesian_layer import LastLayer, last_layer
from jaxpbdl.uncertainty.committee import force_deviation
from jaxpbdl.uncertainty.conformal import (
    adaptive_bounds,
    conformal_band,
    conformal_interval,
    conformal_quantile,
    jackknife_plus,
    quantile_interval,
)
from jaxpbdl.uncertainty.discrepancy import Discrepancy, confounded
from jaxpbdl.uncertainty.dropout import Masked, dropout_loss, dropout_members, masked
from jaxpbdl.uncertainty.gaussian_process import (
    GaussianProcess,
    Posterior,
    condition,
    negative_log_likelihood,
)
from jaxpbdl.uncertainty.heads import Heteroscedastic, Normal, beta_nll
from jaxpbdl.uncertainty.kernels import AtomPairs, Gaussian, Kernel, Molecules
from jaxpbdl.uncertainty.noise import Noisy, WithNoise, noisy_crps
from jaxpbdl.uncertainty.posterior import infer, laplace, sample
from jaxpbdl.uncertainty.predictive import Prediction, batch, call, predict
from jaxpbdl.uncertainty.resampling import Pool, Resampled, bootstrap, folds, on_own_rows
from jaxpbdl.uncertainty.scores import (
    calibration_curve,
    calibration_error,
    covered,
    energy_score,
    ensemble_crps,
    expected_square_error,
    gaussian_crps,
    gaussian_nll,
    gaussian_pit,
    interval_score,
    normal_half_width,
    rank_histogram,
    spread_skill,
)
from jaxpbdl.uncertainty.swag import Swag, collect, swag
from jaxpbdl.uncertainty.together import Together, crps_unrolled, rescaled

__all__ = [
    "AtomPairs",
    "Discrepancy",
    "Gaussian",
    "GaussianProcess",
    "Heteroscedastic",
    "Kernel",
    "LastLayer",
    "Masked",
    "Molecules",
    "Noisy",
    "Normal",
    "Pool",
    "Posterior",
    "Prediction",
    "Resampled",
    "Swag",
    "Together",
    "WithNoise",
    "adaptive_bounds",
    "batch",
    "beta_nll",
    "bootstrap",
    "calibration_curve",
    "calibration_error",
    "call",
    "collect",
    "condition",
    "conformal_band",
    "conformal_interval",
    "conformal_quantile",
    "confounded",
    "covered",
    "crps_unrolled",
    "dropout_loss",
    "dropout_members",
    "energy_score",
    "ensemble_crps",
    "expected_square_error",
    "folds",
    "force_deviation",
    "gaussian_crps",
    "gaussian_nll",
    "gaussian_pit",
    "infer",
    "interval_score",
    "jackknife_plus",
    "laplace",
    "last_layer",
    "masked",
    "negative_log_likelihood",
    "noisy_crps",
    "normal_half_width",
    "on_own_rows",
    "predict",
    "quantile_interval",
    "rank_histogram",
    "rescaled",
    "sample",
    "spread_skill",
    "swag",
]
