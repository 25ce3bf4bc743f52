"""Gaussian processes: kernel ridge regression that knows its noise and how sure it is.

For targets `y = f(x) + noise` with `f` drawn with covariance `k(x, x')`,

    mean(x) = k(x, X) (K + s^2 I)^-1 y
    variance(x) = k(x, x) - k(x, X) (K + s^2 I)^-1 k(X, x)

and the parameters of the kernel maximise the probability of the targets themselves,

    log p(y) = -1/2 y^T (K + s^2 I)^-1 y - 1/2 log det(K + s^2 I) - n/2 log 2 pi

by its gradient (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equations
2.25, 2.26 and 2.30), so that no data need be held back for them.
"""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.uncertainty.kernels import Kernel


class GaussianProcess(eqx.Module):
    """A kernel and a noise, before any data.

    `noise` is the standard deviation of the noise, in the units of the targets. Its logarithm is
    the leaf that is trained.
    """

    kernel: Kernel
    log_noise: Float[Array, ""]

    def __init__(self, kernel: Kernel, noise: ArrayLike):
        """Raises ValueError unless the noise is > 0."""
        checks.positive("noise", noise)
        self.kernel, self.log_noise = kernel, jnp.log(jnp.asarray(noise, float))

    @property
    def noise(self) -> Float[Array, ""]:
        return jnp.exp(self.log_noise)

    def factor(self, inputs: PyTree, count: int) -> Float[Array, "n n"]:
        """The lower Cholesky factor of `K + noise^2`."""
        gram = self.kernel(inputs, inputs).astype(self.log_noise.dtype)
        checks.shape("kernel(inputs, inputs)", gram, (count, count))
        return jnp.linalg.cholesky(gram + self.noise**2 * jnp.eye(count, dtype=gram.dtype))


def negative_log_likelihood(
    process: GaussianProcess, pair: tuple[PyTree, Float[Array, " n"]]
) -> Float[Array, ""]:
    """`-log p(y) / n` of `pair = (inputs, targets)`: a loss for `fit`."""
    inputs, targets = pair
    count = len(targets)
    factor = process.factor(inputs, count)
    white = solve_triangular(factor, targets, lower=True)
    log_determinant = jnp.sum(jnp.log(jnp.diagonal(factor)))
    total = 0.5 * white @ white + log_determinant + 0.5 * count * jnp.log(2 * jnp.pi)
    return total / count


class Posterior(eqx.Module):
    """A Gaussian process that has seen data: `posterior(inputs)` is the mean there."""

    process: GaussianProcess
    inputs: PyTree
    factor: Float[Array, "n n"]
    weights: Float[Array, " n"]

    def __call__(self, inputs: PyTree) -> Float[Array, " m"]:
        return self.process.kernel(inputs, self.inputs).astype(self.weights.dtype) @ self.weights

    def predict(self, inputs: PyTree) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Mean and variance of `f` at the inputs, without the noise."""
        cross = self.process.kernel(inputs, self.inputs).astype(self.weights.dtype)
        white = solve_triangular(self.factor, cross.T, lower=True)
        prior = self.process.kernel.diagonal(inputs).astype(self.weights.dtype)
        return cross @ self.weights, jnp.maximum(prior - jnp.sum(white**2, 0), 0)


@eqx.filter_jit
def condition(process: GaussianProcess, inputs: PyTree, targets: Float[Array, " n"]) -> Posterior:
    """The process given the data.

    Raises ValueError (`checks`) if the kernel gives another number of inputs than there are
    targets; a matrix that is not positive definite to the precision at hand gives NaN: raise the
    noise, or use float64.
    """
    factor = process.factor(inputs, len(targets))
    return Posterior(process, inputs, factor, cho_solve((factor, True), targets))
