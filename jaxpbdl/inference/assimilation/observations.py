"""What is measured of a state, how often, and how well."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks


class Observations(eqx.Module):
    """Measurements `y = H(x) + e` with Gaussian errors, `e ~ N(0, R)`, every `interval` steps.

    With `R = L L^T` all methods work on `L^-1 y`, whose errors are independent and of variance one.
    """

    operator: Callable[[PyTree], Array]
    factor: Float[Array, "..."]
    """`L`: a standard deviation, one for each value, or the lower Cholesky factor of R."""
    interval: int = eqx.field(static=True)

    def __init__(
        self,
        operator: Callable[[PyTree], Array],
        covariance: checks.Numbers,
        interval: int | np.integer = 1,
    ):
        """**Arguments:**

        - `operator`: from a state to the vector of its measured values.
        - `covariance`: R as a matrix; or variances of independent errors, one number for all values
          or one for each.
        - `interval`: steps from one set of measurements to the next.

        **Raises:** ValueError for a covariance that is not symmetric and positive definite, or
        an interval below one.
        """
        self.operator = operator
        self.factor = _factor(checks.as_floats(covariance))
        self.interval = checks.count("interval", interval)

    @property
    def independent(self) -> bool:
        """Whether the errors were given as variances of independent values."""
        return self.factor.ndim < 2

    def scaled(self, values: Float[Array, "*batch m"]) -> Float[Array, "*batch m"]:
        """`L^-1 values`."""
        if self.independent:
            return values / self.factor
        columns = values.reshape(-1, values.shape[-1]).T
        return solve_triangular(self.factor, columns, lower=True).T.reshape(values.shape)

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
        """Errors; the last axis of `shape` has the measured values."""
        noise = jax.random.normal(key, shape, self.factor.dtype)
        return noise * self.factor if self.independent else noise @ self.factor.T


def _factor(covariance: Array) -> Array:
    if covariance.ndim < 2:
        checks.positive("covariance", covariance)
        return jnp.sqrt(covariance)
    positive_definite("covariance", covariance)
    return jnp.linalg.cholesky(covariance)


def positive_definite(name: str, matrix: Array, *, semi: bool = False) -> None:
    """Refuse a matrix that is not square, symmetric and positive definite; with `semi`, eigenvalues
    of zero up to round-off pass, as those of a covariance of few samples are."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}")
    if not checks.is_concrete(matrix):
        return
    checks.finite(name, matrix)
    values = np.asarray(matrix, float)
    tolerance = 10 * float(jnp.finfo(matrix.dtype).eps) * len(values) * np.abs(values).max()
    if np.abs(values - values.T).max() > tolerance:
        raise ValueError(
            f"{name} must be symmetric, got values that differ from their transpose by up to "
            f"{np.abs(values - values.T).max():.3g}"
        )
    smallest = float(np.linalg.eigvalsh(values)[0])
    if smallest < -tolerance or (smallest <= 0 and not semi):
        kind = "semi-definite" if semi else "definite"
        raise ValueError(
            f"{name} must be positive {kind}, got a smallest eigenvalue of {smallest:.3g}"
        )
