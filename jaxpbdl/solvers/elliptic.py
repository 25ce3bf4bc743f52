"""Steady diffusion in a box whose sides are held at zero, by conjugate gradients.

    -div(a grad u) = f in the box,  u = 0 on its boundary

Second-order finite volumes about the nodes of a regular grid that includes the boundary: along
every axis the flux between two nodes is `a_face (u_right - u_left) / h`, with a mean of the two
nodes' coefficients. The preconditioner solves the equation with `a = 1` by sine transforms; the
number of iterations then depends on the contrast `max a / min a` alone, about its square root times
the digits required, and not on the grid.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.grid import one_per_axis
from jaxpbdl.grids.spectrum import total

FaceMean = Callable[[Array, Array], Array]


class Solution(NamedTuple):
    """What `solve` returns."""

    values: Float[Array, "*nodes"]
    error: Float[Array, ""]
    """Estimate of the relative error of `values` as a solution of the discrete equations: the
    Poisson solution of what they leave of f, over `values`, divided by the mean of a."""


def arithmetic(left: Array, right: Array) -> Array:
    """The mean of two coefficients for a flux along layers of them."""
    return (left + right) / 2


def harmonic(left: Array, right: Array) -> Array:
    """The mean for a flux across layers, `2 a b / (a + b)`: exact in one dimension where the
    coefficient jumps halfway between nodes."""
    return 2 * left * right / (left + right)


def solve(
    coefficient: Float[Array, "*nodes"],
    source: Float[Array, "*nodes"],
    lengths: float | Sequence[float] = 1.0,
    *,
    mean: FaceMean = arithmetic,
    tolerance: float | None = None,
    iterations: int = 200,
) -> Solution:
    """The solution u of `-div(a grad u) = f` at the nodes, zero at those of the boundary.

    **Arguments:**

    - `coefficient`, `source`: a > 0 and f at all nodes, boundary included, at least three along
      each of one to three axes. f on the boundary and a in the corners are not used.
    - `lengths`: of the sides of the box, one number or one each.
    - `mean`: from the coefficients of two neighbouring nodes to that of the face between them.
    - `tolerance`: on the norm of what is left of f, relative to f; by default `eps**0.8` of the
      dtype, 3e-6 in float32 and 3e-13 in float64.
    - `iterations`: the most of them. Too few are no exception, as it could not be raised inside
      jit: look at `error`.

    Gradients with respect to coefficient and source are those of the equation (one more solve),
    whatever the iterations did.

    **Raises:** ValueError for shapes that do not fit, a coefficient that is not finite and
    positive, or a source that is not finite.
    """
    coefficient, source = jnp.asarray(coefficient), jnp.asarray(source)
    shape = coefficient.shape
    if not 1 <= len(shape) <= 3 or min(shape) < 3:
        raise ValueError(
            f"coefficient must have 1 to 3 axes of at least 3 nodes, got shape {shape}"
        )
    checks.shape("source", source, shape)
    checks.real("coefficient", coefficient)
    checks.real("source", source)
    checks.positive("coefficient", coefficient)
    checks.finite("source", source)
    checks.count("iterations", iterations)
    sides = one_per_axis("lengths", lengths, len(shape))
    checks.positive("lengths", sides)
    dtype = jnp.result_type(coefficient, source)
    if tolerance is None:
        tolerance = float(jnp.finfo(dtype).eps ** 0.8)
    checks.positive("tolerance", tolerance)

    spacing = tuple(side / (n - 1) for side, n in zip(sides, shape, strict=True))
    conductances = faces(coefficient.astype(dtype), spacing, mean)
    inside = source.astype(dtype)[(slice(1, -1),) * len(shape)]
    apply = lambda u: divergence(conductances, u)  # noqa: E731
    poisson = lambda f: solve_poisson(f, spacing)  # noqa: E731
    u, _ = jax.scipy.sparse.linalg.cg(
        apply, inside, tol=tolerance, atol=0.0, maxiter=iterations, M=poisson
    )
    left = lax.stop_gradient(poisson(inside - apply(u)) / jnp.mean(coefficient))
    size = lax.stop_gradient(jnp.linalg.norm(u.ravel()))
    error = jnp.linalg.norm(left.ravel()) / jnp.where(size > 0, size, 1.0)
    return Solution(jnp.pad(u, 1), error)


def faces(coefficient: Array, spacing: Sequence[float], mean: FaceMean) -> tuple[Array, ...]:
    """`a_face / h^2` of the faces across each axis, between all nodes along it and inner ones along
    the others."""
    conductances = []
    for axis, h in enumerate(spacing):
        inner = [slice(None) if a == axis else slice(1, -1) for a in range(coefficient.ndim)]
        line = coefficient[tuple(inner)]
        left = lax.slice_in_dim(line, 0, line.shape[axis] - 1, axis=axis)
        right = lax.slice_in_dim(line, 1, line.shape[axis], axis=axis)
        conductances.append(mean(left, right) / h**2)
    return tuple(conductances)


def divergence(conductances: Sequence[Array], u: Array) -> Array:
    """`-div(a grad u)` at the inner nodes of values that are zero beyond them."""

    def along(axis: int, conductance: Array) -> Array:
        closed = jnp.pad(u, [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)])
        return -jnp.diff(conductance * jnp.diff(closed, axis=axis), axis=axis)

    return total(along(axis, conductance) for axis, conductance in enumerate(conductances))


def solve_poisson(f: Array, spacing: Sequence[float]) -> Array:
    """The u whose `divergence` with a = 1 is f: sine modes are its eigenvectors."""
    for axis in range(f.ndim):
        f = sine_transform(f, axis)
    eigenvalues = np.zeros(())
    for h, n in zip(spacing, f.shape, strict=True):
        waves = np.pi * np.arange(1, n + 1) / (n + 1)
        eigenvalues = np.add.outer(eigenvalues, (2 * np.sin(waves / 2) / h) ** 2)
    # Twice the transform is (n + 1) / 2 times the identity.
    inverse = np.prod([2 / (n + 1) for n in f.shape]) / eigenvalues
    u = f * jnp.asarray(inverse, f.dtype)
    for axis in range(f.ndim):
        u = sine_transform(u, axis)
    return u


def sine_transform(u: Array, axis: int) -> Array:
    """`sum_j u_j sin(pi (k + 1) (j + 1) / (n + 1))` along an axis: the fast transform of the odd
    periodic continuation."""
    n = u.shape[axis]
    edge = jnp.zeros_like(lax.slice_in_dim(u, 0, 1, axis=axis))
    odd = jnp.concatenate([edge, u, edge, -jnp.flip(u, axis)], axis)
    return -lax.slice_in_dim(jnp.fft.rfft(odd, axis=axis).imag, 1, n + 1, axis=axis) / 2
