"""Gauss-Newton for the costs of variational assimilation, in a control vector `v` whose prior is a
standard normal one:

    1/2 |v|^2 + 1/2 |r(v)|^2,   (I + J^T J) dv = -(v + J^T r),   J = dr/dv
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from jaxpbdl import checks

Residual: TypeAlias = Callable[[Array], Array]
Increment: TypeAlias = Callable[[Residual, Array], Array]
"""From `r` and `v` to `dv`."""


def gauss_newton(
    residual: Residual, control: Float[Array, " k"], iterations: int, increment: Increment
) -> Float[Array, " k"]:
    """`iterations` increments from `control` on."""

    def turn(control: Array, _: None) -> tuple[Array, None]:
        return control + increment(residual, control), None

    return lax.scan(turn, control, None, length=iterations)[0]


def direct(residual: Residual, control: Float[Array, " k"]) -> Float[Array, " k"]:
    """The increment with the whole Jacobian, by as many tangents as the control has values, all at
    once: for small states."""

    def twice(control: Array) -> tuple[Array, Array]:
        value = residual(control)
        return value, value

    jacobian, value = jax.jacfwd(twice, has_aux=True)(control)
    hessian = jnp.eye(len(control), dtype=control.dtype) + jacobian.T @ jacobian
    return -jnp.linalg.solve(hessian, control + jacobian.T @ value)


def matrix_free(iterations: int | np.integer) -> Increment:
    """The increment without a Jacobian: each of `iterations` turns of the method of conjugate
    gradients takes one tangent-linear and one adjoint run. For large states.

    **Raises:** ValueError for fewer than one iteration."""
    count = checks.count("iterations", iterations)

    def increment(residual: Residual, control: Array) -> Array:
        value, tangent = jax.linearize(residual, control)
        adjoint = jax.linear_transpose(tangent, control)

        def hessian(direction: Array) -> Array:
            return direction + adjoint(tangent(direction))[0]

        return cg(hessian, -(control + adjoint(value)[0]), tol=0.0, maxiter=count)[0]

    return increment


def posterior_root(jacobian: Float[Array, "m k"]) -> Float[Array, "k k"]:
    """The symmetric square root of `(I + J^T J)^-1`, the covariance of the control."""
    values, vectors = jnp.linalg.eigh(jacobian.T @ jacobian)
    return (vectors / jnp.sqrt(1 + jnp.maximum(values, 0))) @ vectors.T
