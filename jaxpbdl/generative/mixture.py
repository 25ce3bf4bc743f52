"""Mixtures of isotropic Gaussians: all that generative models learn, known in closed form.

    p(x) = sum_k w_k N(x; m_k, s_k^2 I)

A sample scaled and mixed with noise, y = signal x + noise z with z from N(0, I), is again of a
mixture, with means `signal m_k` and variances `v_k = signal^2 s_k^2 + noise^2`. So the score of y,
and the means of x and z for given y, are known exactly:

    score(y) = sum_k r_k(y) (signal m_k - y) / v_k,     r_k the share of part k in p(y)
    E[z | y] = -noise score(y),
    E[x | y] = sum_k r_k(y) (m_k + signal s_k^2 / v_k (y - signal m_k))

(Bayes' rule for Gaussians; Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3).
With them in place of a network, a loss takes its smallest value and a sampler has no error but its
own.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.checks import Numbers


class GaussianMixture(eqx.Module):
    """A mixture with `weights` that sum to one, `means` and one deviation a part, the same in all
    directions."""

    trainable_fields = ()

    weights: Float[Array, " parts"]
    means: Float[Array, "parts dim"]
    deviations: Float[Array, " parts"]

    def __init__(self, weights: Numbers, means: Numbers, deviations: Numbers):
        """Raises ValueError for weights or deviations that are not above 0, weights that do not sum
        to one, and shapes that do not fit."""
        self.weights, self.means, self.deviations = map(
            checks.as_floats, (weights, means, deviations)
        )
        if self.means.ndim != 2:
            raise ValueError(f"means must have shape (parts, dim), got {self.means.shape}")
        for name in ("weights", "deviations"):
            checks.shape(name, getattr(self, name), self.means.shape[:1])
            checks.positive(name, getattr(self, name))
        if checks.is_concrete(self.weights) and abs(np.asarray(self.weights).sum() - 1) > 1e-6:
            raise ValueError(f"weights must sum to 1, got {weights}")

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count dim"]:
        """`count` independent samples."""
        which, noise = jax.random.split(key)
        part = jax.random.choice(which, len(self.weights), (count,), p=self.weights)
        z = jax.random.normal(noise, (count, self.dim), self.means.dtype)
        return self.means[part] + self.deviations[part, None] * z

    def log_density(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        """log p(x)."""
        return jax.nn.logsumexp(self._log_parts(x))

    def score(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """The gradient of log p."""
        shares = jax.nn.softmax(self._log_parts(x))
        return (shares / self.deviations**2) @ (self.means - x)

    def noised(self, signal: ArrayLike, noise: ArrayLike) -> "GaussianMixture":
        """The mixture of `signal x + noise z`."""
        signal, noise = checks.as_floats(signal), checks.as_floats(noise)
        deviations = jnp.hypot(signal * self.deviations, noise)
        return GaussianMixture(self.weights, signal * self.means, deviations)

    def noise_given(
        self, y: Float[Array, " dim"], signal: ArrayLike, noise: ArrayLike
    ) -> Float[Array, " dim"]:
        """E[z | signal x + noise z = y]."""
        return -checks.as_floats(noise) * self.noised(signal, noise).score(y)

    def sample_given(
        self, y: Float[Array, " dim"], signal: ArrayLike, noise: ArrayLike
    ) -> Float[Array, " dim"]:
        """E[x | signal x + noise z = y]."""
        of_y = self.noised(signal, noise)
        shares = jax.nn.softmax(of_y._log_parts(y))
        gains = checks.as_floats(signal) * (self.deviations / of_y.deviations) ** 2
        return shares @ (self.means + gains[:, None] * (y - of_y.means))

    def expectation(
        self, function: Callable[[Float[Array, " dim"]], Float[Array, "*shape"]], nodes: int = 48
    ) -> Float[Array, "*shape"]:
        """E[function(x)], by Gauss-Hermite quadrature about each part with `nodes` points in each
        direction: for few dimensions."""
        checks.count("nodes", nodes)
        line, share = np.polynomial.hermite_e.hermegauss(nodes)
        points = np.stack(np.meshgrid(*[line] * self.dim, indexing="ij"), -1).reshape(-1, self.dim)
        shares = np.prod(np.meshgrid(*[share / share.sum()] * self.dim, indexing="ij"), axis=0)
        shares = jnp.asarray(shares.reshape(-1), self.means.dtype)

        def about(mean: Array, deviation: Array) -> Array:
            at = mean + deviation * jnp.asarray(points, mean.dtype)
            return jnp.tensordot(shares, jax.vmap(function)(at), 1)

        return jnp.tensordot(self.weights, jax.vmap(about)(self.means, self.deviations), 1)

    def _log_parts(self, x: Float[Array, " dim"]) -> Float[Array, " parts"]:
        """log(w_k N(x; m_k, s_k^2 I))."""
        square = jnp.sum((x - self.means) ** 2, axis=1) / self.deviations**2
        volume = self.dim * jnp.log(jnp.sqrt(2 * jnp.pi) * self.deviations)
        return jnp.log(self.weights) - square / 2 - volume
