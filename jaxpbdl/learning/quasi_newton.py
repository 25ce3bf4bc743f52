"""A quasi-Newton optimiser for small networks trained to high accuracy."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


class QuasiNewtonState(NamedTuple):
    """The inverse Hessian, and the state of the line search."""

    inverse: Float[Array, "n n"]
    search: Any


def quasi_newton(max_linesearch_steps: int = 20) -> optax.GradientTransformationExtraArgs:
    """Self-scaled BFGS with the whole inverse Hessian, and a zoom line search.

    The inverse follows BFGS; before each update it is divided by min(1, y.s / s.B s), with the step
    s, the change of the gradient y and the Hessian B before (Oren and Luenberger 1974; Al-Baali
    1998). It takes physics-informed networks of some thousand parameters orders of magnitude below
    what Adam reaches (Urban, Stefanou and Pons, J. Comput. Phys. 523 (2025) 113656). Memory and
    time of an update grow with the square of the number of parameters.

    For `fit` with `PerChunk` batches (the inverse is kept from chunk to chunk), in float64.
    """
    line_search = optax.scale_by_zoom_linesearch(max_linesearch_steps, initial_guess_strategy="one")

    def init(params: PyTree) -> QuasiNewtonState:
        flat, _ = ravel_pytree(params)
        return QuasiNewtonState(jnp.eye(flat.size, dtype=flat.dtype), line_search.init(params))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **search: Any
    ) -> tuple[PyTree, QuasiNewtonState]:
        if params is None or "value_fn" not in search:
            raise ValueError("quasi_newton needs params, value, grad and value_fn, as `fit` gives")
        gradient, unravel = ravel_pytree(updates)
        direction = -(state.inverse @ gradient)
        # Round-off can spoil the inverse: then start over from steepest descent.
        downhill = direction @ gradient < 0
        inverse = jnp.where(downhill, state.inverse, jnp.eye(gradient.size, dtype=gradient.dtype))
        direction = jnp.where(downhill, direction, -gradient)
        changes, searched = line_search.update(unravel(direction), state.search, params, **search)
        step, _ = ravel_pytree(changes)
        after, _ = ravel_pytree(optax.tree_utils.tree_get(searched, "grad"))
        inverse = _improved(inverse, gradient, direction, step, after - gradient)
        return changes, QuasiNewtonState(inverse, searched)

    return optax.GradientTransformationExtraArgs(init, update)


def _improved(
    inverse: Array, gradient: Array, direction: Array, step: Array, change: Array
) -> Array:
    """The inverse Hessian after `step`, some length of `direction`, changed the gradient by
    `change`. Without positive curvature it stays.
    """
    curvature = change @ step
    enough = curvature > 1e-14 * jnp.linalg.norm(change) * jnp.linalg.norm(step)
    safe = jnp.where(enough, curvature, 1.0)
    tiny = jnp.finfo(step.dtype).tiny
    length = (step @ direction) / jnp.maximum(direction @ direction, tiny)
    before = -length * (step @ gradient)  # s.B s, since B s = -length gradient
    scale = jnp.where(before > 0, jnp.minimum(1.0, safe / jnp.where(before > 0, before, 1.0)), 1.0)
    moved = inverse @ change
    outer = jnp.outer(moved, step)
    improved = inverse - (outer + outer.T) / safe
    improved = improved + (change @ moved / safe**2) * jnp.outer(step, step)
    improved = improved / scale + jnp.outer(step, step) / safe
    return jnp.where(enough, improved, inverse)
