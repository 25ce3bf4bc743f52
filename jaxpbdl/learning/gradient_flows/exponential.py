"""The exponential Rosenbrock-Euler method on d(theta)/dt = -grad loss(theta), as an optimiser.

    theta <- theta - dt phi_1(-dt H) grad loss(theta),   phi_1(z) = (exp(z) - 1) / z

with the Hessian H at theta: the exact flow of the quadratic that touches the loss there, of order 2
(Hochbruck and Ostermann, Acta Numerica 19 (2010) 209, section 2.5). The function of H is taken on
the Krylov space of the gradient (Hochbruck and Lubich, SIAM J. Numer. Anal. 34 (1997) 1911).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.gradient_flows.flat import flat
from jaxpbdl.solvers.time.exponential import phi


class ExponentialState(NamedTuple):
    """How many gradients were computed, a product with the Hessian as two."""

    gradients: Int[Array, ""]


def exponential_euler(
    dt: ArrayLike,
    vectors: int = 8,
    *,
    curvature: Callable[[Array], Array] = lambda eigenvalues: eigenvalues,
) -> optax.GradientTransformationExtraArgs:
    """An exponential step of the gradient flow an update.

    Small dt is gradient descent, large dt Newton's method on the Krylov space; no curvature limits
    dt, only how fast H changes.

    **Arguments:**

    - `dt`: > 0.
    - `vectors`: of the Krylov space, each with a product with H. An update costs
      `1 + 2 vectors` gradients.
    - `curvature`: of the eigenvalues of H on that space. Along negative ones the flow grows like an
      exponential; `jnp.abs` lets it go down there at the pace of positive ones, as the saddle-free
      Newton method does (Dauphin et al., NeurIPS 2014), and is no more the gradient flow.

    **Raises:** ValueError for a dt that is not finite and positive, or no vectors; in `update`,
    without `params` and `value_fn`.
    """
    checks.positive("dt", dt)
    checks.count("vectors", vectors)

    def init(params: PyTree) -> ExponentialState:
        return ExponentialState(jnp.asarray(0))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ExponentialState]:
        at = flat("exponential_euler", updates, params, extra)
        size, step = jnp.linalg.norm(at.gradient), jnp.asarray(dt, at.gradient.dtype)
        basis, matrix = lanczos(at.curved, at.gradient, min(vectors, at.gradient.size))
        eigenvalues, turns = jnp.linalg.eigh(matrix)
        weights = turns @ (phi(1, -step * curvature(eigenvalues)) * turns[0])
        change = -step * size * (weights @ basis)
        return at.unravel(change), ExponentialState(state.gradients + 1 + 2 * len(basis))

    return optax.GradientTransformationExtraArgs(init, update)


def lanczos(
    apply: Callable[[Array], Array], start: Float[Array, " n"], count: int
) -> tuple[Float[Array, "count n"], Float[Array, "count count"]]:
    """An orthonormal basis of start, A start, A^2 start, .. and the tridiagonal matrix that the
    symmetric A = `apply` is on it (Lanczos 1950). Where the space ends early the other vectors are
    zero, and so is their part of the matrix.
    """
    eps = jnp.finfo(start.dtype).eps

    def unit(vector: Array, least: Array) -> tuple[Array, Array]:
        length = jnp.linalg.norm(vector)
        there = length > least
        return jnp.where(there, vector / jnp.where(there, length, 1.0), 0.0), length * there

    def turn(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        basis, matrix = carry
        image = apply(basis[k])
        vector, size = image, jnp.linalg.norm(image)
        for _ in range(2):  # rounding spoils what is made orthogonal once
            vector = vector - (basis @ vector) @ basis
        following, length = unit(vector, 100 * eps * size)
        ahead = k + 1  # one past the end is dropped
        basis = basis.at[ahead].set(following, mode="drop")
        matrix = matrix.at[k, k].set(basis[k] @ image)
        matrix = matrix.at[k, ahead].set(length, mode="drop")
        return basis, matrix.at[ahead, k].set(length, mode="drop")

    first, _ = unit(start, jnp.zeros((), start.dtype))
    basis = jnp.zeros((count, start.size), start.dtype).at[0].set(first)
    return lax.fori_loop(0, count, turn, (basis, jnp.zeros((count, count), start.dtype)))
