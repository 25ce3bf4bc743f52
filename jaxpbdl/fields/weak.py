"""Residuals in weak form: equations averaged against test functions on small boxes.

An equation that is a balance, div F = s with the flux F in space-time (its last component the
conserved quantity), is tested on a cell by functions phi that vanish on the cell's boundary,

    integral of (- F . grad phi - s phi) over the cell = 0.

The integral asks for one derivative less than the residual does, and sees a front as a jump of
finite size where the residual has a narrow peak of great height.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import legendre

from jaxpbdl import checks
from jaxpbdl.fields.derivatives import Field
from jaxpbdl.fields.taylor import expanded


@runtime_checkable
class Balance(Protocol):
    """An equation that is a balance: div `space_time_flux` = `production`."""

    def space_time_flux(self, field: Field, point: Array) -> Array: ...

    def production(self, field: Field, point: Array) -> Array: ...


def weak_residual(
    equation: Balance,
    field: Field,
    centre: Float[Array, " dim"],
    size: Sequence[float],
    tests: int = 3,
    nodes: int | None = None,
) -> Float[Array, "tests_to_the_dim *value"]:
    """The residual of a field, averaged over the cell with the given centre and side lengths
    against each of `tests` polynomials an axis, of unit mean square.

    The polynomials are differences of Legendre's, L_{k+1} - L_{k-1} for k = 1, 2, .. (Kharazmi,
    Zhang and Karniadakis, Comput. Methods Appl. Mech. Eng. 374 (2021) 113547); the average is a
    Gauss-Legendre sum of `nodes` (default: tests + 2) points an axis. The equation needs a `flux`,
    and a `production` where it has a source.

    **Raises:** ValueError for a size without as many lengths as the centre has coordinates, or a
    length that is not positive.
    """
    dim = centre.shape[0]
    if len(size) != dim:
        raise ValueError(f"size must have {dim} lengths, one a coordinate, got {tuple(size)}")
    for length in size:
        checks.positive("size", length)
    checks.count("tests", tests)
    checks.count("nodes", nodes := tests + 2 if nodes is None else nodes)
    places, weights, values, slopes = _rule(tests, nodes)
    half = np.asarray(size) / 2
    points = centre + half * _product([places] * dim)

    def balance(point: Array) -> tuple[Array, Array]:
        """Flux (coordinate, *value) and source at a point."""
        flux = expanded(equation.space_time_flux, field, point)
        source = expanded(equation.production, field, point)
        return jnp.moveaxis(jnp.asarray(flux), -1, 0), jnp.broadcast_to(source, flux.shape[:-1])

    fluxes, sources = jax.vmap(balance)(points)
    weighted = values * weights
    total = -jnp.tensordot(_tensor([weighted] * dim), sources, axes=1)
    for axis in range(dim):
        factors = [slopes * weights / half[axis] if a == axis else weighted for a in range(dim)]
        total = total - jnp.tensordot(_tensor(factors), fluxes[:, axis], axes=1)
    return total


def _rule(tests: int, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of the mean over -1 .. 1, and the test functions and their
    derivatives there, one a row.
    """
    places, weights = legendre.leggauss(nodes)
    basis = legendre.legvander(places, tests + 1).T
    k = np.arange(1, tests + 1)[:, None]
    norm = np.sqrt(1 / (2 * k + 3) + 1 / (2 * k - 1))
    values = (basis[2:] - basis[:-2]) / norm
    slopes = (2 * k + 1) * basis[1:-1] / norm
    return places, weights / 2, values, slopes


def _product(axes: list[np.ndarray]) -> np.ndarray:
    """All points of a product of axes, the last one fastest."""
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _tensor(factors: list[np.ndarray]) -> np.ndarray:
    """Products of functions of one coordinate each, at the points of `_product`."""
    return reduce(np.kron, factors)
