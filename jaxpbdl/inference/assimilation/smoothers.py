"""The iterative ensemble Kalman smoother: 4D-Var in the space of an ensemble.

A state of the window is `x + v A`, with the ensemble's mean `x` and its members minus that, `A`, at
the start of the window. Gauss-Newton in the `N` weights `v` on

    (N - 1)/2 |v|^2 + 1/2 |R^(-1/2) (y - H(M(x + v A)))|^2

takes its derivatives from the members of an ensemble about `x + v A` as narrow as the present
estimate of the posterior (Bocquet and Sakov, Q. J. R. Meteorol. Soc. 140 (2014) 1521, with the
transform of Sakov, Oliver and Bertino, Mon. Weather Rev. 140 (2012) 1988). Each measurement enters
once.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.cycle import Analysis, AssimilationMethod
from jaxpbdl.inference.assimilation.ensembles import (
    centred,
    check_ensemble,
    deviation,
    processed,
)
from jaxpbdl.inference.assimilation.problems import Problem
from jaxpbdl.inference.assimilation.windows import active, chosen, through


class Smoothed(NamedTuple):
    """The ensemble at the start of the window."""

    number: Int[Array, ""]
    members: Float[Array, "members n"]


class IEnKS(AssimilationMethod):
    """The iterative ensemble Kalman smoother; with a lag of one, the iterative ensemble Kalman
    filter.

    **Arguments:**

    - `members`: at least two.
    - `lag`: intervals between measurements in a window.
    - `iterations`: of Gauss-Newton.
    - `inflation`: of the members at the start of the window after each analysis, at least one.
    - `rotate`: turn these members by a random rotation that keeps mean and covariance.

    **Raises:** ValueError for fewer than two members, a lag or iterations below one, or an
    inflation below one.
    """

    members: int = eqx.field(static=True)
    lag: int = eqx.field(static=True, default=1)
    iterations: int = eqx.field(static=True, default=3)
    inflation: float = 1.0
    rotate: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_ensemble(self.members, self.inflation)
        checks.counts(lag=self.lag, iterations=self.iterations)

    def start(self, problem: Problem, key: PRNGKeyArray) -> Smoothed:
        return Smoothed(jnp.asarray(0), problem.draw(key, self.members))

    def advance(
        self, problem: Problem, memory: Smoothed, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[Smoothed, Analysis]:
        number, prior = memory
        within = active(number, self.lag)
        mean, apart = centred(prior)
        degrees = len(prior) - 1
        ahead = jax.vmap(problem.forecast)

        def end(members: Array) -> Array:
            return through(lambda members, _: ahead(members), members, within)[0]

        def turn(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple, None]:
            weights, transform, inverse = carry
            last = end(mean + (weights + transform) @ apart)
            expected, seen = centred(jax.vmap(problem.measured)(last))
            seen = inverse @ seen  # as of an ensemble as wide as the prior
            values, vectors = jnp.linalg.eigh(seen @ seen.T)
            values = jnp.maximum(values, 0) + degrees
            gradient = seen @ (observed - expected) - degrees * weights
            weights = weights + vectors @ ((vectors.T @ gradient) / values)
            transform = (vectors * jnp.sqrt(degrees / values)) @ vectors.T
            inverse = (vectors * jnp.sqrt(values / degrees)) @ vectors.T
            return (weights, transform, inverse), None

        same = jnp.eye(len(prior), dtype=prior.dtype)
        first = jnp.zeros(len(prior), prior.dtype), same, same
        (weights, transform, _), _ = lax.scan(turn, first, None, length=self.iterations)
        members = mean + (weights + transform) @ apart
        members = processed(members, key, self.inflation, self.rotate)
        last = end(members)
        after = last
        if self.lag > 1:
            after = chosen(number + 1 >= self.lag, ahead(members), members)
        return Smoothed(number + 1, after), Analysis(jnp.mean(last, axis=0), deviation(last))
