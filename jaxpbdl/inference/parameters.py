"""The unknowns of a fit: the trainable arrays of any pytree, as a tree and as one vector."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.trainable import fixed_parts, trainable


def split(start: PyTree) -> tuple[PyTree, PyTree]:
    """The `trainable` arrays of `start`, and all the rest. Numbers that stand in plain containers
    (`{"viscosity": 0.01}`) count as arrays; those within modules are settings.

    Raises ValueError if nothing is left to fit, and for complex parameters.
    """
    start = jax.tree.map(_as_array, start, is_leaf=_is_module)
    params, rest = eqx.partition(start, trainable(start))
    leaves = jax.tree.leaves(params)
    if not leaves:
        fixed = fixed_parts(start)
        hint = f"; its parts {', '.join(fixed)} are not trained (trainable_fields)" if fixed else ""
        raise ValueError(f"start must hold at least one array of floats to fit, got none{hint}")
    for name, leaf in zip(leaf_names(params), leaves, strict=True):
        if jnp.iscomplexobj(leaf):
            raise ValueError(f"start{name} must be real, got {leaf.dtype}; fit its two parts")
    return params, rest


def leaf_names(params: PyTree) -> list[str]:
    """The path of each leaf, as one would write it in Python."""
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def names(params: PyTree) -> list[str]:
    """The path of each number, in the order of the rows of a covariance."""
    found = []
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True):
        indices = [""] if leaf.ndim == 0 else [f"{list(i)}" for i in np.ndindex(leaf.shape)]
        found += [(name + index).lstrip(".") for index in indices]
    return found


def filled(values: Float[Array, " n"], params: PyTree, rest: PyTree) -> PyTree:
    """Numbers in the places of the parameters, as a tree like them and the rest: zero for arrays
    of floats that are not trained."""
    _, unravel = ravel_pytree(params)
    zeros = jax.tree.map(
        lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, rest
    )
    return eqx.combine(unravel(values), zeros)


def units(params: PyTree) -> Float[Array, " n"]:
    """The root mean square of the leaf that each number belongs to, one where that is zero: large
    and small parameters are of order one in these units."""

    def unit(leaf: Array) -> Array:
        size = jnp.sqrt(jnp.mean(leaf**2))
        return jnp.full_like(leaf, jnp.where(size > 0, size, 1))

    return jax.lax.stop_gradient(ravel_pytree(jax.tree.map(unit, params))[0])


def _as_array(leaf: object) -> object:
    if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
        return checks.as_floats(leaf)
    if isinstance(leaf, (np.ndarray, np.floating)) and np.issubdtype(leaf.dtype, np.inexact):
        return jnp.asarray(leaf)
    return leaf


def _is_module(node: object) -> bool:
    return isinstance(node, eqx.Module)
