"""Explicit Runge-Kutta methods on d(theta)/dt = -grad loss(theta), as optimisers.

    k_1 = -grad loss(theta),   k_i = -grad loss(theta + dt sum_j a_ij k_j)
    theta <- theta + dt sum_i b_i k_i

The first slope is the gradient that an optimiser is given, so a method of s stages costs s
gradients an update; the schemes of `solvers.time` would compute that one again.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.gradient_flows.flat import Flat, flat
from jaxpbdl.solvers.time.scheme import combined

GROWTH = (0.2, 2.0)
"""The smallest and the largest factor from one dt to the next."""
SAFETY = 0.9


class Tableau(NamedTuple):
    """Row i of `ahead`: the a_ij of stage i + 1; `weights`: the b_i."""

    ahead: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


HEUN = Tableau(((1.0,),), (1 / 2, 1 / 2))
"""Order 2 in two stages."""
KUTTA = Tableau(((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
"""Order 4 in four stages."""


class RungeKuttaState(NamedTuple):
    """How many gradients were computed, the given ones included."""

    gradients: Int[Array, ""]


class AdaptiveState(NamedTuple):
    """The next dt, the time that was gone, updates that were not taken, and gradients."""

    dt: Float[Array, ""]
    time: Float[Array, ""]
    rejected: Int[Array, ""]
    gradients: Int[Array, ""]


def runge_kutta(dt: ArrayLike, tableau: Tableau = KUTTA) -> optax.GradientTransformationExtraArgs:
    """An explicit Runge-Kutta step of the gradient flow an update; `HEUN` or `KUTTA`.

    Like gradient descent it is bound by the largest curvature, dt < 2 / curvature for `HEUN` and
    2.78 / curvature for `KUTTA`, so order pays only for who wants the path itself.

    **Raises:** ValueError for a dt that is not finite and positive; in `update`, without `params`
    and `value_fn`.
    """
    checks.positive("dt", dt)

    def init(params: PyTree) -> RungeKuttaState:
        return RungeKuttaState(jnp.asarray(0))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, RungeKuttaState]:
        at = flat("runge_kutta", updates, params, extra)
        step = jnp.asarray(dt, at.parameters.dtype)
        slopes = _slopes(at, step, tableau)
        change = step * combined(tableau.weights, slopes)
        return at.unravel(change), RungeKuttaState(state.gradients + len(slopes))

    return optax.GradientTransformationExtraArgs(init, update)


def _slopes(at: Flat, dt: Array, tableau: Tableau) -> list[Array]:
    slopes = [-at.gradient]
    for row in tableau.ahead:
        slopes.append(-at.gradient_at(at.parameters + dt * combined(row, slopes)))
    return slopes


def adaptive_heun(
    dt: ArrayLike = 1e-3, tolerance: ArrayLike = 1e-3
) -> optax.GradientTransformationExtraArgs:
    """Steps of `HEUN` whose dt follows the error, the difference to an Euler step:

        error = dt / 2 |k_2 - k_1|,   dt <- dt clip(0.9 sqrt(tolerance / error), 0.2, 2)

    with the root mean square over all parameters (Hairer, Norsett and Wanner, Solving Ordinary
    Differential Equations I, 1993, section II.4). A step whose error is above `tolerance` is not
    taken. Two gradients an update, taken or not.

    **Raises:** ValueError for a dt or a tolerance that is not finite and positive; in `update`,
    without `params` and `value_fn`.
    """
    checks.positive("dt", dt)
    checks.positive("tolerance", tolerance)

    def init(params: PyTree) -> AdaptiveState:
        zero = jnp.asarray(0)
        return AdaptiveState(jnp.asarray(dt, float), jnp.asarray(0.0, float), zero, zero)

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, AdaptiveState]:
        at = flat("adaptive_heun", updates, params, extra)
        step = state.dt.astype(at.parameters.dtype)
        first, second = _slopes(at, step, HEUN)
        allowed = jnp.asarray(tolerance, step.dtype)
        error = step / 2 * jnp.sqrt(jnp.mean((second - first) ** 2))
        taken = error <= allowed  # not where it is NaN
        tiny = jnp.finfo(error.dtype).tiny
        factor = jnp.clip(SAFETY * jnp.sqrt(allowed / jnp.maximum(error, tiny)), *GROWTH)
        factor = jnp.where(jnp.isfinite(error), factor, GROWTH[0])
        change = jnp.where(taken, step * combined(HEUN.weights, (first, second)), 0.0)
        return at.unravel(change), AdaptiveState(
            state.dt * factor.astype(float),
            state.time + jnp.where(taken, state.dt, 0.0),
            state.rejected + ~taken,
            state.gradients + 2,
        )

    return optax.GradientTransformationExtraArgs(init, update)
