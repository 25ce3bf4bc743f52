"""Data assimilation: the best estimate of a state from a model and measurements of it, in time.

setting = problem(step, Observations(operator, 1.0, interval=4), mean, covariance)
twin = twin_experiment(setting, 1000, key)
estimate = assimilate(EnKF(square_root, 24, inflation=1.02), setting, twin.observed, key)
score(estimate, twin.truth, burn_in=100)
"""

from jaxpbdl.inference.assimilation.cycle import (
    Analysis,
    AssimilationMethod,
    Score,
    assimilate,
    errors_in_time,
    score,
)
from jaxpbdl.inference.assimilation.filters import (
    EnKF,
    finite_size,
    local,
    perturbed_observations,
    square_root,
)
from jaxpbdl.inference.assimilation.increments import direct, matrix_free
from jaxpbdl.inference.assimilation.localisation import gaspari_cohn, periodic_distances
from jaxpbdl.inference.assimilation.observations import Observations
from jaxpbdl.inference.assimilation.problems import (
    Climate,
    Problem,
    Twin,
    climate,
    problem,
    twin_experiment,
)
from jaxpbdl.inference.assimilation.smoothers import IEnKS
from jaxpbdl.inference.assimilation.static import Climatology, OptimalInterpolation, ThreeDVar
from jaxpbdl.inference.assimilation.variational import CycledFourDVar, FourDVar

__all__ = [
    "Climate",
    "Climatology",
    "CycledFourDVar",
    "EnKF",
    "Analysis",
    "FourDVar",
    "IEnKS",
    "AssimilationMethod",
    "Observations",
    "OptimalInterpolation",
    "Problem",
    "Score",
    "ThreeDVar",
    "Twin",
    "assimilate",
    "climate",
    "matrix_free",
    "direct",
    "errors_in_time",
    "finite_size",
    "gaspari_cohn",
    "local",
    "periodic_distances",
    "perturbed_observations",
    "problem",
    "score",
    "square_root",
    "twin_experiment",
]
