"""Estimates whose background error does not change in time: climatology, optimal interpolation and
3D-Var."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.cycle import Analysis, AssimilationMethod
from jaxpbdl.inference.assimilation.increments import direct, gauss_newton, posterior_root
from jaxpbdl.inference.assimilation.problems import Climate, Problem, root_of


class Climatology(AssimilationMethod):
    """The mean of a long run, whatever is measured: what every method must beat."""

    climate: Climate

    def start(self, problem: Problem, key: PRNGKeyArray) -> None:
        return None

    def advance(
        self, problem: Problem, memory: None, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[None, Analysis]:
        spread = jnp.sqrt(jnp.diagonal(self.climate.covariance))
        return None, Analysis(problem.flat(self.climate.mean), spread)


class OptimalInterpolation(AssimilationMethod):
    """The climatological mean and the measurements of one time, by their covariances: nothing is
    forecast."""

    mean: Float[Array, " n"]
    root: Float[Array, "n n"]
    iterations: int = eqx.field(static=True)

    def __init__(self, problem: Problem, climate: Climate, iterations: int | np.integer = 1):
        """**Arguments:** `climate` of the problem's step; `iterations` of Gauss-Newton, one where
        the operator is linear."""
        self.mean = problem.flat(climate.mean)
        self.root = root_of(climate.covariance)
        self.iterations = checks.count("iterations", iterations)

    def start(self, problem: Problem, key: PRNGKeyArray) -> None:
        return None

    def advance(
        self, problem: Problem, memory: None, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[None, Analysis]:
        return None, analysed(problem, self.mean, self.root, observed, self.iterations)


class ThreeDVar(AssimilationMethod):
    """The minimum, at each time and with the forecast `x_f` of the last one, of

        1/2 (x - x_f)^T B^-1 (x - x_f) + 1/2 (y - H(x))^T R^-1 (y - H(x))

    with a background covariance B that never changes (Lorenc, Q. J. R. Meteorol. Soc. 112 (1986)
    1177)."""

    root: Float[Array, "n n"]
    iterations: int = eqx.field(static=True)

    def __init__(self, covariance: Float[Array, "n n"], iterations: int | np.integer = 1):
        """**Arguments:** `covariance`, B, a small part of the climatological one for instance;
        `iterations` of Gauss-Newton, one where the operator is linear.

        **Raises:** ValueError for a covariance that is not symmetric and positive semi-definite."""
        self.root = root_of(covariance)
        self.iterations = checks.count("iterations", iterations)

    def start(self, problem: Problem, key: PRNGKeyArray) -> Float[Array, " n"]:
        return problem.start()

    def advance(
        self,
        problem: Problem,
        memory: Float[Array, " n"],
        observed: Float[Array, " m"],
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, " n"], Analysis]:
        forecast = problem.forecast(memory)
        found = analysed(problem, forecast, self.root, observed, self.iterations)
        return found.mean, found


def analysed(
    problem: Problem,
    background: Float[Array, " n"],
    root: Float[Array, "n n"],
    observed: Float[Array, " m"],
    iterations: int,
) -> Analysis:
    """The minimum of the cost of `ThreeDVar` about a background with covariance `root root^T`."""

    def residual(control: Array) -> Array:
        return observed - problem.measured(background + root @ control)

    control = gauss_newton(residual, jnp.zeros_like(background), iterations, direct)
    spread = root @ posterior_root(jax.jacfwd(residual)(control))
    return Analysis(background + root @ control, jnp.linalg.norm(spread, axis=1))
