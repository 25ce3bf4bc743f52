"""A quasi-Newton optimiser for small networks trained to high accuracy."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

REACH = 0.01
"""Length of the first trial step, over one plus that of the parameters."""


class QuasiNewtonState(NamedTuple):
    """The inverse Hessian and the state of the line search."""

    inverse: Float[Array, "n n"]
    search: PyTree
    reach: Float[Array, ""]  # of a step that starts without an inverse, see `REACH`
    fresh: Bool[Array, ""]  # whether nothing is known of the inverse yet
    failed_searches: Int[Array, ""]  # updates that found no smaller loss though there is one


def quasi_newton(max_linesearch_steps: int = 20) -> optax.GradientTransformationExtraArgs:
    """Self-scaled BFGS with the whole inverse Hessian, and a zoom line search.

    The inverse follows BFGS; before each update it is divided by min(1, y.s / s.B s), with the step
    s, the change of the gradient y and the Hessian B before (Oren and Luenberger 1974; Al-Baali
    1998). It takes physics-informed networks of some thousand parameters orders of magnitude below
    what Adam reaches (Urban, Stefanou and Pons, J. Comput. Phys. 523 (2025) 113656). Memory and
    time of an update grow with the square of the number of parameters.

    A loss times any factor takes the same path: the first trial step has a length in units of the
    parameters, and the first inverse is y.s / y.y (Nocedal and Wright 2006, eq. 6.20). A step that
    would raise the loss is not taken; the next one starts from the gradient again, ten times
    shorter. `fit` warns where that happened above rounding errors.

    For `fit` with `PerChunk` batches (the inverse is kept from chunk to chunk), in float64.
    """
    line_search = optax.scale_by_zoom_linesearch(max_linesearch_steps, initial_guess_strategy="one")

    def init(params: PyTree) -> QuasiNewtonState:
        flat, _ = ravel_pytree(params)
        inverse, reach = jnp.eye(flat.size, dtype=flat.dtype), jnp.asarray(REACH, flat.dtype)
        search = line_search.init(params)
        return QuasiNewtonState(inverse, search, reach, jnp.asarray(True), jnp.asarray(0))

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None, **search: Any
    ) -> tuple[PyTree, QuasiNewtonState]:
        if params is None or "value_fn" not in search:
            raise ValueError("quasi_newton needs params, value, grad and value_fn, as `fit` gives")
        gradient, unravel = ravel_pytree(updates)
        value, size = search["value"], jnp.linalg.norm(gradient)
        length = state.reach * (1 + jnp.linalg.norm(ravel_pytree(params)[0]))
        steepest = -gradient * length / jnp.maximum(size, jnp.finfo(size.dtype).tiny)
        direction = -(state.inverse @ gradient)
        # Round-off can spoil the inverse: then start over from steepest descent.
        fresh = state.fresh | ~(direction @ gradient < 0)
        direction = jnp.where(fresh, steepest, direction)
        changes, searched = line_search.update(unravel(direction), state.search, params, **search)
        value_after = optax.tree_utils.tree_get(searched, "value")
        after, _ = ravel_pytree(optax.tree_utils.tree_get(searched, "grad"))
        step, _ = ravel_pytree(changes)
        rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        usable = jnp.all(jnp.isfinite(after)) & jnp.any(step != 0)
        # Where the gradient promises less than rounding errors, such an error may go upwards.
        settled = -(direction @ gradient) <= 100 * rounding
        lower = (value_after < value) | (settled & (value_after <= value + rounding))
        taken = usable & lower
        inverse = _improved(state.inverse, gradient, direction, step, after - gradient, fresh)
        searched = optax.tree_utils.tree_set(
            searched,
            value=jnp.where(taken, value_after, value),
            grad=unravel(jnp.where(taken, after, gradient)),
        )
        return unravel(jnp.where(taken, step, 0)), QuasiNewtonState(
            jnp.where(taken, inverse, state.inverse),
            searched,
            jnp.where(taken, state.reach, state.reach / 10),
            ~taken,
            state.failed_searches + (~taken & ~settled),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _improved(
    inverse: Array, gradient: Array, direction: Array, step: Array, change: Array, fresh: Array
) -> Array:
    """The inverse Hessian after `step`, some length of `direction`, changed the gradient by
    `change`. Without positive curvature it stays; a `fresh` one begins as a multiple of one.
    """
    curvature = change @ step
    enough = curvature > 1e-14 * jnp.linalg.norm(change) * jnp.linalg.norm(step)
    safe = jnp.where(enough, curvature, 1.0)
    tiny = jnp.finfo(step.dtype).tiny
    one = jnp.eye(step.size, dtype=step.dtype)
    first = jnp.where(enough, safe / jnp.maximum(change @ change, tiny), _ratio(step, gradient))
    inverse = jnp.where(fresh, first * one, inverse)
    length = (step @ direction) / jnp.maximum(direction @ direction, tiny)
    before = -length * (step @ gradient)  # s.B s, since B s = -length gradient
    scale = jnp.where(before > 0, jnp.minimum(1.0, safe / jnp.where(before > 0, before, 1.0)), 1.0)
    scale = jnp.where(fresh, 1.0, scale)
    moved = inverse @ change
    outer = jnp.outer(moved, step)
    improved = inverse - (outer + outer.T) / safe
    improved = improved + (change @ moved / safe**2) * jnp.outer(step, step)
    improved = improved / scale + jnp.outer(step, step) / safe
    return jnp.where(enough, improved, inverse)


def _ratio(first: Array, second: Array) -> Array:
    """|first| / |second|."""
    tiny = jnp.finfo(first.dtype).tiny
    return jnp.linalg.norm(first) / jnp.maximum(jnp.linalg.norm(second), tiny)
