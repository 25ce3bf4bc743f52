"""Soft forms of what has no useful gradient: steps, maxima, order and selection.

Each has a temperature in the units of its input and tends to the hard one as that falls to zero;
`straight_through` joins the value of a hard function to the gradient of a soft one.
"""

from jaxpbdl.relaxations.extrema import (
    boltzmann_maximum,
    boltzmann_minimum,
    soft_argmax,
    soft_maximum,
    soft_minimum,
)
from jaxpbdl.relaxations.sorting import (
    soft_median,
    soft_quantile,
    soft_rank,
    soft_sort,
    soft_top_k,
    top_k_weights,
)
from jaxpbdl.relaxations.steps import (
    cubic_step,
    quintic_step,
    soft_step,
    soft_where,
    straight_through,
)

__all__ = [
    "boltzmann_maximum",
    "boltzmann_minimum",
    "cubic_step",
    "quintic_step",
    "soft_argmax",
    "soft_maximum",
    "soft_median",
    "soft_minimum",
    "soft_quantile",
    "soft_rank",
    "soft_sort",
    "soft_step",
    "soft_top_k",
    "soft_where",
    "straight_through",
    "top_k_weights",
]
