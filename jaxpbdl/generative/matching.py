"""Flow matching: a network learns the velocity that carries normal noise to data.

Along straight paths from noise z at t = 0 to a sample x at t = 1,

    y_t = t x + (1 - (1 - s) t) z,     dy_t/dt = x - (1 - s) z

with s = `sigma_min` the deviation that is left at the end. The network v(y, t) that is fitted to
`dy_t/dt` by least squares is its mean for given y_t, and the flow along that mean has the same
distribution at each time (Lipman et al., ICLR 2023; Liu, Gong and Liu, ICLR 2023).

A network is any callable `(y, t, condition) -> velocity` on one sample, of any shape, with the
condition any pytree (None where there is none).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl.generative.losses import Model, SampleLoss
from jaxpbdl.generative.ode import Method, euler, integrate


class MatchingLoss(SampleLoss):
    """The mean over samples and components of `(v(y_t, t) - dy_t/dt)^2`, the times uniform in
    [0, 1]: `loss(model, batch, key)`.

    Its smallest value is the mean variance of `dy_t/dt` for given y_t, not zero.
    """

    sigma_min: float = eqx.field(static=True)

    def __init__(self, sigma_min: float = 0.0):
        """Raises ValueError unless `0 <= sigma_min < 1`."""
        if not 0 <= sigma_min < 1:
            raise ValueError(f"sigma_min must be in [0, 1), got {sigma_min}")
        self.sigma_min = sigma_min

    def of_one(
        self, model: Model, x: Float[Array, "*shape"], condition: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """Of one sample."""
        time, noise = jax.random.split(key)
        t, z = jax.random.uniform(time, dtype=x.dtype), jax.random.normal(noise, x.shape, x.dtype)
        signal, level = self.levels(t)
        velocity = x - (1 - self.sigma_min) * z
        return jnp.mean((model(signal * x + level * z, t, condition) - velocity) ** 2)

    def levels(self, t: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The factors of the sample and of the noise at a time."""
        return t, 1 - (1 - self.sigma_min) * t


def transport(
    model: Model,
    noise: Float[Array, "*shape"],
    steps: int,
    method: Method = euler,
    *,
    condition: PyTree = None,
    begin: float = 0.0,
    end: float = 1.0,
) -> Float[Array, "*shape"]:
    """Follow the velocity from `begin` to `end` in equal steps: noise becomes a sample, or, from
    t = 1 to 0, a sample its noise.

    **Raises** ValueError for fewer than one step.
    """

    def rate(x: Array, t: Array) -> Array:
        return model(x, t, condition)

    return integrate(rate, noise, steps, method, begin=begin, end=end)


def flow_sample(
    model: Model,
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    steps: int,
    method: Method = euler,
    *,
    condition: PyTree = None,
) -> Float[Array, "*shape"]:
    """One sample by `transport` of normal noise; `jax.vmap` over keys gives many."""
    return transport(model, jax.random.normal(key, shape), steps, method, condition=condition)


class Guided(eqx.Module):
    """A velocity that is pulled towards samples of low cost: for a simulator, the misfit of what it
    makes of a sample to what was measured.

        v(x, t) - weight(t) grad_x cost(x1, t),     x1 = x + (1 - t) v(x, t)

    where x1 is where the sample would go on a straight line, its mean for given x if `sigma_min` is
    0. The gradient goes through the network. With `cost(x1, t) = -log p(observation | x_t)` and the
    default weight `(1 - t) / t` the samples are those of the posterior; a cost without the variance
    that x1 still has is the usual approximation (Chung et al., ICLR 2023, for diffusion).

    A model like any other: give it to `transport` or `flow_sample`.
    """

    model: Model
    cost: Callable[[Array, Array], Array]
    weight: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        model: Model,
        cost: Callable[[Array, Array], Array],
        weight: Callable[[Array], Array] | None = None,
    ):
        self.model, self.cost = model, cost
        self.weight = _posterior_weight if weight is None else weight

    def __call__(
        self, x: Float[Array, "*shape"], t: Float[Array, ""], condition: PyTree = None
    ) -> Float[Array, "*shape"]:
        def ahead(x: Array) -> tuple[Array, Array]:
            velocity = self.model(x, t, condition)
            return self.cost(x + (1 - t) * velocity, t), velocity

        slope, velocity = jax.grad(ahead, has_aux=True)(x)
        return velocity - self.weight(t) * slope


def _posterior_weight(t: Array) -> Array:
    # The slope vanishes at t = 0 as fast as the weight grows; a late first time does no harm.
    return (1 - t) / jnp.maximum(t, 1e-3)
