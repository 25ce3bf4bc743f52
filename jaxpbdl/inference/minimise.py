"""`minimise`: the parameters with the smallest value of a loss that is the same at every step."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import optimistix
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.inference import parameters

FULL_HESSIAN = 1000
"""Parameters up to which the whole inverse Hessian is kept (BFGS); beyond, L-BFGS."""


class Minimum(NamedTuple):
    """What `minimise` found."""

    argmin: PyTree
    """The parameters, with everything else that `start` held."""
    value: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    """The Euclidean norm of the gradient there, in the units of the parameters."""
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def minimise(
    loss: Callable[[PyTree], Float[Array, ""]],
    start: PyTree,
    *,
    optimiser: optax.GradientTransformation | None = None,
    steps: int = 1000,
    tolerance: float | None = None,
    progress: bool = False,
) -> Minimum:
    """The `trainable` arrays of `start` that minimise `loss`, near `start`.

    Without an `optimiser`, a quasi-Newton method of optimistix with an Armijo line search: BFGS,
    or L-BFGS above 1000 parameters. Its parameters are in units of their start (the root mean
    square of each leaf; one where that is zero) and the loss in units of its first slope, so that
    neither a viscosity of 1e-5 beside an amplitude of 1 nor a loss times a factor changes the path.

    For losses that need random batches, validation or checkpoints there is `learning.fit`. Goes
    through jit and vmap (with `eqx.filter_vmap` where `start` holds more than arrays); the
    derivative of the minimum with respect to arrays that `loss` holds is by the implicit function
    theorem.

    **Arguments**

    - `loss`: `loss(parameters) -> scalar`, of a tree like `start`.
    - `start`: any pytree; numbers, dictionaries and modules may be mixed.
    - `optimiser`: of optax instead. It takes all its `steps`, in the units of the parameters, and
      has converged if the norm of the gradient fell to `tolerance` times that at the start.
    - `steps`: the largest number of evaluations of the loss and its gradient.
    - `tolerance`: relative and absolute change, of loss and parameters in the units above, at
      which the quasi-Newton method ends; by default the square root of the machine epsilon.
    - `progress`: print each step.

    **Returns** a `Minimum`. Outside of jit, one that did not converge is also a warning.

    **Raises** ValueError for a loss that is no real scalar, a start without float arrays, `steps`
    below 1 or a `tolerance` that is not above 0; TypeError for an optimiser that is none of optax.
    """
    steps = checks.count("steps", steps)
    if tolerance is not None:
        checks.positive("tolerance", tolerance)
    if optimiser is not None and not isinstance(optimiser, optax.GradientTransformation):
        raise TypeError(
            f"optimiser must be one of optax, such as optax.adam(1e-3), got {optimiser!r:.60}"
        )
    params, rest = parameters.split(start)
    _check_loss(loss, params, rest)
    found = _minimise(loss, params, rest, optimiser, steps, tolerance, progress)
    if checks.is_concrete(found.converged) and not bool(found.converged):
        warnings.warn(_advice(found, optimiser), stacklevel=2)
    return found


@eqx.filter_jit
def _minimise(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    rest: PyTree,
    optimiser: optax.GradientTransformation | None,
    steps: int,
    tolerance: float | None,
    progress: bool,
) -> Minimum:
    def objective(params: PyTree) -> Array:
        return loss(eqx.combine(params, rest))

    first, slope = jax.value_and_grad(objective)(params)
    small = float(jnp.finfo(first.dtype).eps) ** 0.5 if tolerance is None else tolerance
    if optimiser is None:
        solved = _quasi_newton(objective, params, first, slope, steps, small, progress)
    else:
        # Short steps are no sign of a minimum here: a learning rate makes them. So none ends it.
        method = optimistix.OptaxMinimiser(optimiser, rtol=0.0, atol=0.0, verbose=progress)
        solved = optimistix.minimise(
            lambda params, _: objective(params), method, params, max_steps=steps, throw=False
        )
    value, gradient = jax.value_and_grad(objective)(solved.value)
    norm = optax.tree_utils.tree_norm(gradient)
    if optimiser is None:
        ended = solved.result == optimistix.RESULTS.successful
    else:
        ended = norm <= small * optax.tree_utils.tree_norm(slope)
    return Minimum(
        argmin=eqx.combine(solved.value, rest),
        value=value,
        gradient_norm=norm,
        converged=ended & jnp.isfinite(value) & jnp.isfinite(norm),
        steps=solved.stats["num_steps"],
    )


def _quasi_newton(
    objective: Callable[[PyTree], Array],
    params: PyTree,
    first: Array,
    slope: PyTree,
    steps: int,
    tolerance: float,
    progress: bool,
) -> optimistix.Solution:
    """The solution, its parameters as a tree like `params`."""
    flat, unravel = ravel_pytree(params)
    unit = parameters.units(params)
    # A slope below what rounding leaves of the loss is none, and no unit either.
    floor = jnp.sqrt(jnp.finfo(first.dtype).eps) * jnp.abs(first)
    strength = jnp.maximum(jnp.linalg.norm(ravel_pytree(slope)[0] * unit), floor)
    strength = jax.lax.stop_gradient(jnp.where(strength > 0, strength, 1))
    kind = optimistix.BFGS if flat.size <= FULL_HESSIAN else optimistix.LBFGS
    solved = optimistix.minimise(
        lambda scaled, _: objective(unravel(scaled * unit)) / strength,
        kind(rtol=tolerance, atol=tolerance, verbose=progress),
        flat / unit,
        max_steps=steps,
        throw=False,
    )
    return eqx.tree_at(lambda s: s.value, solved, unravel(solved.value * unit))


def _check_loss(loss: Callable[[PyTree], Array], params: PyTree, rest: PyTree) -> None:
    if not callable(loss):
        raise TypeError(f"loss must be a function parameters -> scalar, got {loss!r:.60}")
    value = eqx.filter_eval_shape(lambda: jnp.asarray(loss(eqx.combine(params, rest))))
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"loss must give a real scalar, got {value.dtype}{list(value.shape)}")


def _advice(found: Minimum, optimiser: optax.GradientTransformation | None) -> str:
    if not bool(jnp.isfinite(found.value)):
        remedy = "start where the loss and its gradient are finite"
    elif optimiser is None:
        remedy = "raise steps, or tolerance where rounding keeps the loss from falling further"
    else:
        remedy = "raise steps, choose another learning rate, or leave optimiser out"
    return (
        f"minimise did not converge: after {int(found.steps)} steps the loss is "
        f"{float(found.value):.6g} with a gradient of norm {float(found.gradient_norm):.3g}; "
        f"{remedy}"
    )
