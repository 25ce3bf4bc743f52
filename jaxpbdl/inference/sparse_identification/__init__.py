"""Sparse identification: the few terms of an evolution equation, from snapshots of its solution.

    du/dt = sum_j c_j F_j(u),   F_j = d^q/dx^q of a product of u and its derivatives

with most of the `c_j` zero. Each point, or each test function, gives a row of a linear system, and
sequentially thresholded least squares takes one term after another out of it (Brunton, Proctor and
Kutz, PNAS 113 (2016) 3932; Rudy, Brunton, Proctor and Kutz, Science Advances 3 (2017) e1602614).

`strong_form` takes rates and derivatives of the snapshots, which noise spoils; `weak_form` moves
derivatives to test functions phi by parts (Messenger and Bortz, J. Comput. Phys. 443 (2021)
110525),

    - integral of u dphi/dt = sum_j c_j (-1)^q integral of P_j(u) d^q phi/dx^q,   F_j = d^q P_j/dx^q

Values are `(times, points)`, equidistant both ways, and periodic along x.
"""

from jaxpbdl.inference.sparse_identification.derivatives import (
    FourierDerivative,
    LocalPolynomial,
    local_weights,
    resolved_modes,
    smoothing_window,
)
from jaxpbdl.inference.sparse_identification.regression import (
    Identified,
    sparse_regression,
    thresholded_least_squares,
)
from jaxpbdl.inference.sparse_identification.systems import (
    Bump,
    LinearSystem,
    fitting_bump,
    strong_form,
    weak_form,
)
from jaxpbdl.inference.sparse_identification.terms import (
    Term,
    derivative_terms,
    product_terms,
    written,
)

__all__ = [
    "Bump",
    "FourierDerivative",
    "Identified",
    "LinearSystem",
    "LocalPolynomial",
    "Term",
    "derivative_terms",
    "fitting_bump",
    "local_weights",
    "product_terms",
    "resolved_modes",
    "smoothing_window",
    "sparse_regression",
    "strong_form",
    "thresholded_least_squares",
    "weak_form",
    "written",
]
