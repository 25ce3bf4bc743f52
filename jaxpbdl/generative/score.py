"""Score matching and Langevin dynamics: a network learns the gradient of log p, and samples climb
along it while they are shaken.

The score of data with noise of deviation s, y = x + s z, is `E[-z / s | y]`, so a network is
fitted to `-z / s` by least squares (Vincent, Neural Comput. 23 (2011) 1661), for one s or for
several that fall (Song and Ermon, NeurIPS 2019).

A network is any callable `(y, s, condition) -> score` on one sample, of any shape, with the
condition any pytree (None where there is none).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.generative.losses import Model, SampleLoss
from jaxpbdl.rollouts import nested_scan


def unweighted(sigma: Float[Array, ""]) -> Float[Array, ""]:
    """The weight one."""
    return jnp.ones_like(sigma)


def by_variance(sigma: Float[Array, ""]) -> Float[Array, ""]:
    """The weight `sigma^2`, with which all deviations count about alike (Song and Ermon 2019)."""
    return sigma**2


class ScoreLoss(SampleLoss):
    """The mean over samples of `weight(s) |score(x + s z, s) + z / s|^2`, each with a deviation s
    drawn from `sigmas`: `loss(model, batch, key)`.

    Its smallest value is not zero: without a weight it is mostly the variance of `z / s`, dim / s^2
    less the mean square of the score, and says little of the network.
    """

    trainable_fields = ()

    sigmas: Float[Array, " levels"]
    weight: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(self, sigmas: Numbers, weight: Callable[[Array], Array] = unweighted):
        """Raises ValueError for deviations that are none or not above 0."""
        self.sigmas, self.weight = _levels(sigmas), weight

    def of_one(
        self, model: Model, x: Float[Array, "*shape"], condition: PyTree, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        """Of one sample."""
        which, what = jax.random.split(key)
        sigma = self.sigmas[jax.random.randint(which, (), 0, len(self.sigmas))]
        z = jax.random.normal(what, x.shape, x.dtype)
        miss = model(x + sigma * z, sigma, condition) + z / sigma
        return self.weight(sigma) * jnp.sum(miss**2)


def langevin(
    score: Callable[[Array], Array],
    x: Float[Array, "*shape"],
    key: PRNGKeyArray,
    step: ArrayLike,
    steps: int,
) -> Float[Array, "*shape"]:
    """`x + step score(x) + sqrt(2 step) z`, `steps` times: a sample of the density whose score it
    is, up to an error of the size of the step, once the start is forgotten.

    **Raises** ValueError for a step that is not above 0 or fewer than one of them.
    """
    checks.positive("step", step)
    step = checks.as_floats(step)
    steps = checks.count("steps", steps)

    def shaken(x: Array, number: Array) -> Array:
        z = jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
        return x + step * score(x) + jnp.sqrt(2 * step) * z

    return nested_scan(shaken, x, steps, 2, inputs=jnp.arange(steps))


def annealed_langevin(
    model: Model,
    x: Float[Array, "*shape"],
    key: PRNGKeyArray,
    sigmas: Numbers,
    step: float,
    steps: int,
    *,
    condition: PyTree = None,
) -> Float[Array, "*shape"]:
    """`steps` Langevin steps at each deviation in turn, of the size `step (s / s_last)^2`: large
    ones first, between parts of the density that the last ones would not leave.

    **Raises** ValueError for deviations that do not fall, a step that is not above 0 or fewer than
    one of them.
    """
    checks.positive("step", step)
    steps = checks.count("steps", steps)
    levels = _levels(sigmas)
    if checks.is_concrete(levels) and np.any(np.diff(np.asarray(levels)) >= 0):
        raise ValueError(f"sigmas must fall, got {sigmas}")

    def at_level(x: Array, level: tuple[Array, Array]) -> tuple[Array, None]:
        sigma, number = level
        size = step * (sigma / levels[-1]) ** 2
        draws = jax.random.fold_in(key, number)
        return langevin(lambda y: model(y, sigma, condition), x, draws, size, steps), None

    return jax.lax.scan(at_level, x, (levels, jnp.arange(len(levels))))[0]


def _levels(sigmas: Numbers) -> Float[Array, " levels"]:
    levels = jnp.atleast_1d(checks.as_floats(sigmas))
    if levels.ndim != 1 or not levels.size:
        raise ValueError(f"sigmas must be one deviation or a row of them, got {sigmas}")
    checks.positive("sigmas", levels)
    return levels
