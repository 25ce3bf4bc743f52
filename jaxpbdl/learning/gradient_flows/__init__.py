"""Training as time integration: optimisers are integrators of a flow in the space of parameters."""

from jaxpbdl.learning.gradient_flows.explicit import (
    HEUN,
    KUTTA,
    Tableau,
    adaptive_heun,
    runge_kutta,
)
from jaxpbdl.learning.gradient_flows.exponential import exponential_euler
from jaxpbdl.learning.gradient_flows.flow import (
    DampedStep,
    damped_flow,
    gradient_flow,
    heavy_ball,
)
from jaxpbdl.learning.gradient_flows.implicit import implicit_euler
from jaxpbdl.learning.gradient_flows.inverses import (
    half_inverse,
    half_inverse_loss,
    scale_invariant_loss,
)

__all__ = [
    "HEUN",
    "KUTTA",
    "DampedStep",
    "Tableau",
    "adaptive_heun",
    "damped_flow",
    "exponential_euler",
    "gradient_flow",
    "half_inverse",
    "half_inverse_loss",
    "heavy_ball",
    "implicit_euler",
    "runge_kutta",
    "scale_invariant_loss",
]
