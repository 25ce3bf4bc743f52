"""Normalising flows: an invertible map from normal noise to data, and the density that it gives.

    x = f(z),  z from N(0, I),     log p(x) = log N(f^-1(x); 0, I) + log |det df^-1/dx|

`RealNVP` is a chain of affine couplings: each scales and shifts one part of the components by
functions of the other part, so that its inverse and its determinant cost no more than itself (Dinh,
Sohl-Dickstein and Bengio, ICLR 2017). `ContinuousFlow` follows a velocity,

    dx/dt = v(x, t),     d log p(x(t))/dt = -div v(x(t), t)

(Chen et al., NeurIPS 2018), with the divergence exactly or by the unbiased estimate `e . (dv/dx) e`
for random signs e (Hutchinson 1990; Grathwohl et al., FFJORD, ICLR 2019).
"""

from collections.abc import Callable, Sequence
from math import log, pi
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.generative.ode import Method, integrate, rk4
from jaxpbdl.networks.dense import Dense


@runtime_checkable
class Density(Protocol):
    """What knows the logarithm of its density."""

    def log_density(self, x: Float[Array, " dim"]) -> Float[Array, ""]: ...


class AffineCoupling(eqx.Module):
    """`x_changed = exp(s(z_kept)) z_changed + t(z_kept)`, `x_kept = z_kept`.

    One network gives s and t. s is held within `-limit` and `limit` by a hyperbolic tangent, so
    that no component is scaled by more than `exp(limit)`. The first map is the identity.
    """

    network: Dense
    mask: tuple[bool, ...] = eqx.field(static=True)
    limit: float = eqx.field(static=True)

    def __init__(
        self,
        mask: Sequence[bool],
        hidden: Sequence[int] = (64, 64),
        *,
        limit: float = 3.0,
        activation: Callable[[Array], Array] = jax.nn.silu,
        key: PRNGKeyArray,
    ):
        """`mask` is true for the components that are kept. Raises ValueError where all are, or
        none, and for a limit that is not above 0."""
        self.mask, self.limit = tuple(bool(kept) for kept in mask), limit
        kept = sum(self.mask)
        if not 0 < kept < len(self.mask):
            raise ValueError(
                f"mask must keep at least one component and change at least one, got {self.mask}"
            )
        checks.positive("limit", limit)
        sizes = (kept, *hidden, 2 * (len(self.mask) - kept))
        self.network = Dense(sizes, activation=activation, scale=2**0.5, zero_last=True, key=key)

    def forward(self, z: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """`x`, and the logarithm of |det dx/dz|."""
        kept, changed = self._parts(z)
        shift, log_scale = self._affine(z[kept])
        return z.at[changed].set(jnp.exp(log_scale) * z[changed] + shift), jnp.sum(log_scale)

    def inverse(self, x: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """`z`, and the logarithm of |det dz/dx|."""
        kept, changed = self._parts(x)
        shift, log_scale = self._affine(x[kept])
        return x.at[changed].set(jnp.exp(-log_scale) * (x[changed] - shift)), -jnp.sum(log_scale)

    def _parts(self, x: Float[Array, " dim"]) -> tuple[np.ndarray, np.ndarray]:
        checks.shape("x", x, (len(self.mask),))
        return np.flatnonzero(self.mask), np.flatnonzero(np.logical_not(self.mask))

    def _affine(
        self, kept: Float[Array, " kept"]
    ) -> tuple[Float[Array, " changed"], Float[Array, " changed"]]:
        shift, raw = jnp.split(self.network(kept), 2)
        return shift, self.limit * jnp.tanh(raw / self.limit)


class RealNVP(eqx.Module):
    """A chain of affine couplings that keep the even and the odd components in turn."""

    layers: tuple[AffineCoupling, ...]
    dim: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        couplings: int = 6,
        hidden: Sequence[int] = (64, 64),
        *,
        limit: float = 3.0,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for fewer than two components or one coupling."""
        self.dim = checks.count("dim", dim, 2)
        keys = jax.random.split(key, checks.count("couplings", couplings))
        masks = [[(i + layer) % 2 == 0 for i in range(dim)] for layer in range(couplings)]
        self.layers = tuple(
            AffineCoupling(mask, hidden, limit=limit, key=k)
            for mask, k in zip(masks, keys, strict=True)
        )

    def forward(self, z: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """From noise to data, and the logarithm of |det dx/dz|."""
        total = jnp.zeros((), z.dtype)
        for layer in self.layers:
            z, log_determinant = layer.forward(z)
            total = total + log_determinant
        return z, total

    def inverse(self, x: Float[Array, " dim"]) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """From data to noise, and the logarithm of |det dz/dx|."""
        total = jnp.zeros((), x.dtype)
        for layer in reversed(self.layers):
            x, log_determinant = layer.inverse(x)
            total = total + log_determinant
        return x, total

    def log_density(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        """log p(x)."""
        z, log_determinant = self.inverse(x)
        return normal_log_density(z) + log_determinant

    def sample(self, key: PRNGKeyArray) -> Float[Array, " dim"]:
        """One sample."""
        return self.forward(jax.random.normal(key, (self.dim,)))[0]


class ContinuousFlow(eqx.Module):
    """The flow along a velocity `v(x, t, condition)` from noise at t = 0 to data at t = 1, by
    `steps` equal steps of a method; the condition is None."""

    velocity: Callable[..., Array]
    dim: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def __init__(
        self, velocity: Callable[..., Array], dim: int, steps: int = 20, method: Method = rk4
    ):
        """Raises ValueError for fewer than one component or step."""
        self.velocity, self.method = velocity, method
        self.dim, self.steps = checks.count("dim", dim), checks.count("steps", steps)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " dim"]:
        """One sample."""
        z = jax.random.normal(key, (self.dim,))
        return integrate(self._at, z, self.steps, self.method)

    def log_density(
        self, x: Float[Array, " dim"], key: PRNGKeyArray | None = None
    ) -> Float[Array, ""]:
        """log p(x), or with a key an estimate by one draw of random signs, the same at all times,
        at the price of one product with the Jacobian instead of `dim`."""
        checks.shape("x", x, (self.dim,))
        signs = None if key is None else jax.random.rademacher(key, (self.dim,), x.dtype)

        def rate(state: tuple[Array, Array], t: Array) -> tuple[Array, Array]:
            return divergence(lambda at: self._at(at, t), state[0], signs)

        start = (x, jnp.zeros((), x.dtype))
        # Backwards in time, so the integral of the divergence comes out with a minus.
        z, integral = integrate(rate, start, self.steps, self.method, begin=1.0, end=0.0)
        return normal_log_density(z) + integral

    def _at(self, x: Array, t: Array) -> Array:
        return self.velocity(x, t, None)


def divergence(
    function: Callable[[Array], Array],
    x: Float[Array, " dim"],
    signs: Float[Array, " dim"] | None = None,
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """`function(x)`, and the trace of its Jacobian, exactly or as `signs . J signs`."""
    if signs is None:
        directions = jnp.eye(len(x), dtype=x.dtype)
        values, products = jax.vmap(lambda d: jax.jvp(function, (x,), (d,)))(directions)
        return values[0], jnp.trace(products)
    value, product = jax.jvp(function, (x,), (signs,))
    return value, jnp.vdot(signs, product)


def negative_log_likelihood(model: Density, batch: Float[Array, "samples dim"]) -> Float[Array, ""]:
    """The mean of -log p over samples, in nats."""
    return -jnp.mean(jax.vmap(model.log_density)(batch))


def estimated_negative_log_likelihood(
    model: ContinuousFlow, batch: Float[Array, "samples dim"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """The same for a continuous flow, with other random signs for each sample."""
    keys = jax.random.split(key, len(batch))
    return -jnp.mean(jax.vmap(model.log_density)(batch, keys))


def normal_log_density(z: Float[Array, " dim"]) -> Float[Array, ""]:
    """log N(z; 0, I)."""
    return -jnp.sum(z**2) / 2 - z.size * log(2 * pi) / 2
