"""Generative models: normalising flows, diffusion, score matching and flow matching, their losses
and samplers, and a distribution for which all of them are known exactly.
"""

from jaxpbdl.generative.diffusion import (
    NoiseLoss,
    Schedule,
    ancestral_sample,
    constant,
    cosine,
    implicit_sample,
    implicit_transport,
    linear,
)
from jaxpbdl.generative.distances import sliced_wasserstein, squared_mmd
from jaxpbdl.generative.flows import (
    AffineCoupling,
    ContinuousFlow,
    RealNVP,
    divergence,
    estimated_negative_log_likelihood,
    negative_log_likelihood,
    normal_log_density,
)
from jaxpbdl.generative.matching import Guided, MatchingLoss, flow_sample, transport
from jaxpbdl.generative.mixture import GaussianMixture
from jaxpbdl.generative.networks import TimeDense, Waves, plain
from jaxpbdl.generative.ode import euler, heun, integrate, midpoint, rk4
from jaxpbdl.generative.score import (
    ScoreLoss,
    annealed_langevin,
    by_variance,
    langevin,
    unweighted,
)

__all__ = [
    "AffineCoupling",
    "ContinuousFlow",
    "GaussianMixture",
    "Guided",
    "MatchingLoss",
    "NoiseLoss",
    "RealNVP",
    "Schedule",
    "ScoreLoss",
    "TimeDense",
    "Waves",
    "ancestral_sample",
    "annealed_langevin",
    "by_variance",
    "constant",
    "cosine",
    "divergence",
    "estimated_negative_log_likelihood",
    "euler",
    "flow_sample",
    "heun",
    "implicit_sample",
    "implicit_transport",
    "integrate",
    "langevin",
    "linear",
    "midpoint",
    "negative_log_likelihood",
    "normal_log_density",
    "plain",
    "rk4",
    "sliced_wasserstein",
    "squared_mmd",
    "transport",
    "unweighted",
]
