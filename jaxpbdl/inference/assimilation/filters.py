"""Ensemble Kalman filters: the ensemble is forecast, and its members are combined anew.

With `A` the members minus their mean (rows), `S` what they measure minus its mean, in units of the
errors, and `d` the measurements minus the mean of what they measure,

    w = P S d,   P = ((N - 1) I + S S^T)^-1,   mean <- mean + w A,   A <- sqrt(N - 1) P^(1/2) A

for `N` members: the square-root filter with the symmetric root (Bishop, Etherton and Majumdar, Mon.
Weather Rev. 129 (2001) 420; Hunt, Kostelich and Szunyogh, Physica D 230 (2007) 112). The other
updates here change the weights alone.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.inference.assimilation.cycle import Analysis, AssimilationMethod
from jaxpbdl.inference.assimilation.ensembles import (
    centred,
    check_ensemble,
    deviation,
    processed,
)
from jaxpbdl.inference.assimilation.observations import Observations
from jaxpbdl.inference.assimilation.problems import Problem

Members: TypeAlias = Float[Array, "members n"]
Measured: TypeAlias = Float[Array, "members m"]
Update: TypeAlias = Callable[[Members, Measured, Float[Array, " m"], PRNGKeyArray], Members]
"""From the forecast members, what they measure and what was measured (both over the errors) to
the analysed members."""


class EnKF(AssimilationMethod):
    """An ensemble Kalman filter.

        EnKF(square_root, members=24, inflation=1.02)

    **Arguments:**

    - `update`: `square_root`, `perturbed_observations`, `finite_size`, or `local(taper)`.
    - `members`: at least two.
    - `inflation`: of the analysed members about their mean, at least one.
    - `rotate`: turn the analysed members by a random rotation that keeps mean and covariance.

    **Raises:** ValueError for fewer than two members or an inflation below one.
    """

    update: Update
    members: int = eqx.field(static=True)
    inflation: float = 1.0
    rotate: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_ensemble(self.members, self.inflation)

    def start(self, problem: Problem, key: PRNGKeyArray) -> Members:
        return problem.draw(key, self.members)

    def advance(
        self, problem: Problem, memory: Members, observed: Float[Array, " m"], key: PRNGKeyArray
    ) -> tuple[Members, Analysis]:
        draw, turn = jax.random.split(key)
        members = jax.vmap(problem.forecast)(memory)
        members = self.update(members, jax.vmap(problem.measured)(members), observed, draw)
        members = processed(members, turn, self.inflation, self.rotate)
        return members, Analysis(jnp.mean(members, axis=0), deviation(members))


def square_root(
    members: Members, measured: Measured, observed: Float[Array, " m"], key: PRNGKeyArray
) -> Members:
    """The update of the module's head; nothing is drawn."""
    mean, apart = centred(members)
    expected, seen = centred(measured)
    weights, transform = _weights(seen, observed - expected, len(members) - 1)
    return mean + (weights + transform) @ apart


def _weights(
    seen: Measured, innovation: Float[Array, " m"], prior: Array | float
) -> tuple[Float[Array, " members"], Float[Array, "members members"]]:
    """`w` and `sqrt(N - 1) P^(1/2)` for `P = (prior I + S S^T)^-1`."""
    values, vectors = jnp.linalg.eigh(seen @ seen.T)
    values = jnp.maximum(values, 0) + prior
    weights = vectors @ ((vectors.T @ (seen @ innovation)) / values)
    return weights, (vectors * jnp.sqrt((len(seen) - 1) / values)) @ vectors.T


def perturbed_observations(
    members: Members, measured: Measured, observed: Float[Array, " m"], key: PRNGKeyArray
) -> Members:
    """Each member moves towards measurements with errors of its own (Burgers, van Leeuwen and
    Evensen, Mon. Weather Rev. 126 (1998) 1719). The errors have a mean of zero over the members."""
    count = len(members)
    noise = centred(jax.random.normal(key, measured.shape, measured.dtype))[1]
    noise = noise * jnp.sqrt(count / (count - 1))
    apart, seen = centred(members)[1], centred(measured)[1]
    towards = (observed + noise - measured) @ seen.T
    matrix = seen @ seen.T + (count - 1) * jnp.eye(count, dtype=seen.dtype)
    return members + jnp.linalg.solve(matrix, towards.T).T @ apart


def finite_size(
    members: Members, measured: Measured, observed: Float[Array, " m"], key: PRNGKeyArray
) -> Members:
    """The square-root update with an inflation of its own at each analysis, for an ensemble whose
    covariance is not that of the errors but a sample of it: with `1 / z` in place of `1 / (N - 1)`,
    `z` the minimum of

        d^T (I + S^T S / z)^-1 d + (1 + 1/N) / c z - (N + 1) c log z

    (Bocquet, Raanes and Hannart, Nonlin. Processes Geophys. 22 (2015) 645, dual form). With `k` the
    mean eigenvalue of `(N - 1) P`, `c = (1 - 1/N)^(k/2)` leaves the ensemble as it is where the
    measurements say nothing (Raanes, Bocquet and Carrassi, Q. J. R. Meteorol. Soc. 145 (2019) 53).
    It needs no inflation for errors of sampling; nothing is drawn."""
    count = len(members)
    mean, apart = centred(members)
    expected, seen = centred(measured)
    innovation = observed - expected
    values, vectors = jnp.linalg.eigh(seen @ seen.T)
    values = jnp.maximum(values, 0)
    # By (I + S^T S / z)^-1 = I - S^T (z I + S S^T)^-1 S; what does not depend on z is left out.
    projected = (vectors.T @ (seen @ innovation)) ** 2
    kept = jnp.mean((count - 1) / (count - 1 + values))
    mode = (1 - 1 / count) ** (kept / 2)

    def cost(logarithm: Float[Array, " grid"]) -> Float[Array, " grid"]:
        z = jnp.exp(logarithm)
        gain = jnp.sum(projected / (z[:, None] + values), axis=1)
        return (1 + 1 / count) / mode * z - (count + 1) * mode * logarithm - gain

    grid = jnp.linspace(-1.0, 1.0, 33, dtype=seen.dtype)

    def closer(middle: Array, width: Array) -> tuple[Array, None]:
        near = middle + width * grid
        return near[jnp.argmin(cost(near))], None

    # Up to 20 times the spread, down to half of it; each turn looks 8 times closer.
    middle = jnp.log(jnp.asarray(count - 1, seen.dtype)) - 2.3
    widths = jnp.asarray([3.7, 0.46, 0.058, 0.0072], seen.dtype)
    z = jnp.exp(lax.scan(closer, middle, widths)[0])
    weights, transform = _weights(seen, innovation, z)
    return mean + (weights + transform) @ apart


class LocalSquareRoot(eqx.Module):
    """A square-root update for each value of the state with measurements near it; created by
    `local`."""

    root: Float[Array, "n m"]

    def __call__(
        self,
        members: Members,
        measured: Measured,
        observed: Float[Array, " m"],
        key: PRNGKeyArray,
    ) -> Members:
        mean, apart = centred(members)
        expected, seen = centred(measured)

        def one(apart: Array, root: Array) -> Array:
            prior = len(members) - 1
            weights, transform = _weights(seen * root, (observed - expected) * root, prior)
            return (weights + transform) @ apart

        return mean + jax.vmap(one, in_axes=(1, 0), out_axes=1)(apart, self.root)


def local(taper: Float[Array, "n m"], observations: Observations) -> LocalSquareRoot:
    """The update of the local ensemble transform Kalman filter (LETKF): for each value of a state,
    inverse variances of the measurements times a taper (Hunt, Kostelich and Szunyogh 2007).

    **Arguments:** `taper`, from 0 to 1 for each value of the state as a vector and each
    measurement, as `gaspari_cohn` gives it; `observations`, whose errors must be independent.

    **Raises:** ValueError for a taper outside of [0, 1], or errors that are not independent.
    """
    if checks.is_concrete(taper) and not bool(jnp.all((taper >= 0) & (taper <= 1))):
        raise ValueError(f"taper must lie in [0, 1], got {jnp.min(taper)} to {jnp.max(taper)}")
    if not observations.independent:
        raise ValueError(
            "local needs independent errors: give the covariance of the observations as variances, "
            f"got a matrix {observations.factor.shape}"
        )
    return LocalSquareRoot(jnp.sqrt(taper))
