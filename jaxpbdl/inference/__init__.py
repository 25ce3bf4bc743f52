"""Parameters from data: minimisation, least squares with a covariance, the Cramer-Rao bound; and
the state of a system from observations (`assimilation`).
"""

from jaxpbdl.inference import assimilation
from jaxpbdl.inference.covariance import Bound, cramer_rao
from jaxpbdl.inference.least_squares import Estimate, least_squares
from jaxpbdl.inference.minimise import Minimum, minimise

__all__ = [
    "Bound",
    "Estimate",
    "Minimum",
    "assimilation",
    "cramer_rao",
    "least_squares",
    "minimise",
]
