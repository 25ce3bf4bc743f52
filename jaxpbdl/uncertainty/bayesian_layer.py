"""The last layer of a trained network as a Bayesian linear regression: Laplace's approximation,
which is exact for it.

With features `f(x)` of the layers before, a one among them, targets `y = W f(x) + noise`, and
weights that are normal with precision `a` before any data,

    precision of the weights  A = a + F^T F / s^2        mean  W = A^-1 F^T y / s^2
    predicted variance of W f(x)    f^T A^-1 f           aleatoric variance s^2

`a` and `s` maximise the probability of the targets (MacKay, Neural Comput. 4 (1992) 415; Bishop,
Pattern Recognition and Machine Learning, 2006, section 3.5; Daxberger et al., NeurIPS 2021).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty.heads import Normal

ITERATIONS = 100


class LastLayer(eqx.Module):
    """Weights of a last layer that are known by their distribution: `layer(x)` is the mean.

    Attributes:
        features: the layers before, of one input.
        mean: of the weights, the bias in the last row.
        factor: lower Cholesky factor of their precision, the same for all outputs.
        noise: standard deviation of the targets' noise.
        precision: of the weights before any data.
    """

    features: Callable[[Array], Array]
    mean: Float[Array, "features outputs"]
    factor: Float[Array, "features features"]
    noise: Float[Array, ""]
    precision: Float[Array, ""]

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " outputs"]:
        return self.features(x) @ self.mean

    def predict(self, x: Float[Array, " in"]) -> tuple[Normal, Float[Array, " outputs"]]:
        """The distribution of the targets, and the epistemic part of its variance."""
        known = self.features(x)
        white = jax.scipy.linalg.solve_triangular(self.factor, known, lower=True)
        epistemic = jnp.full(self.mean.shape[1], white @ white)
        return Normal(known @ self.mean, epistemic + self.noise**2), epistemic


class Hidden(eqx.Module):
    """The layers of a network before its last, and a one."""

    network: Dense

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " features"]:
        network = self.network
        for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
            x = network.activation(x @ weight + bias)
        return jnp.append(x, jnp.ones((), x.dtype))


def last_layer(
    network: Dense | Callable[[Array], Array],
    inputs: Float[Array, "samples in"],
    targets: Float[Array, "samples outputs"],
    *,
    noise: ArrayLike | None = None,
    precision: ArrayLike | None = None,
) -> LastLayer:
    """The distribution of the last layer's weights, given the data.

    **Arguments**

    - `network`: trained; of a `Dense` the layers before its last are kept. Any other function is
      taken for the features themselves (with a one among them, where a bias is wanted).
    - `noise`, `precision`: kept as given, or found by the evidence of the targets where None.

    **Raises** ValueError for no samples, numbers of samples that differ, a noise or a precision
    that is not above 0. Features that are nearly linearly dependent want float64.
    """
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(
            "inputs and targets must be of the same samples, at least one, got "
            f"{len(inputs)} and {len(targets)}"
        )
    for name, value in {"noise": noise, "precision": precision}.items():
        if value is not None:
            checks.positive(name, value)
    features = Hidden(network) if isinstance(network, Dense) else network
    return _last_layer(features, inputs, targets, noise, precision)


@eqx.filter_jit
def _last_layer(
    features: Callable[[Array], Array],
    inputs: Float[Array, "samples in"],
    targets: Float[Array, "samples outputs"],
    noise: ArrayLike | None,
    precision: ArrayLike | None,
) -> LastLayer:
    known = jax.vmap(features)(inputs)
    samples, outputs = targets.shape
    # In the directions of the eigenvectors every step of the evidence costs a sum.
    values, vectors = jnp.linalg.eigh(known.T @ known)
    values = jnp.maximum(values, 0)
    turned = vectors.T @ (known.T @ targets)

    def means(alpha: Array, beta: Array) -> Array:
        return beta * turned / (alpha + beta * values)[:, None]

    def step(_: Array, guess: tuple[Array, Array]) -> tuple[Array, Array]:
        alpha, beta = guess
        mean = means(alpha, beta)
        determined = outputs * jnp.sum(beta * values / (alpha + beta * values))
        missed = jnp.sum((targets - known @ (vectors @ mean)) ** 2)
        return (
            determined / jnp.sum(mean**2) if precision is None else alpha,
            (samples * outputs - determined) / missed if noise is None else beta,
        )

    one = jnp.ones((), targets.dtype)
    alpha = one if precision is None else jnp.asarray(precision, targets.dtype)
    beta = 1 / jnp.var(targets) if noise is None else jnp.asarray(noise, targets.dtype) ** -2
    alpha, beta = lax.fori_loop(0, ITERATIONS, step, (alpha, beta))
    gram = alpha * jnp.eye(len(values), dtype=targets.dtype) + beta * known.T @ known
    mean = vectors @ means(alpha, beta)
    return LastLayer(features, mean, jnp.linalg.cholesky(gram), beta**-0.5, alpha)
