"""How the terms and the points of a physics-informed loss are weighted against each other."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks


def causal_weights(
    squared_residual: Float[Array, " points"],
    times: Float[Array, " points"],
    bins: int,
    tolerance: float,
) -> Float[Array, " points"]:
    """Weights that let a time count only once the times before it are solved: the weight of bin i
    is exp(-tolerance sum_{j < i} L_j), L_j the mean squared residual of bin j (Wang, Sankaran and
    Perdikaris, Comput. Methods Appl. Mech. Eng. 421 (2024) 116813).

    `bins` equal intervals of time; nothing is differentiated. An empty bin counts as solved.
    """
    checks.count("bins", bins)
    checks.non_negative("tolerance", tolerance)
    checks.shape("times", times, squared_residual.shape)
    first, last = jnp.min(times), jnp.max(times)
    share = (times - first) / jnp.where(last > first, last - first, 1.0)
    index = jnp.clip((share * bins).astype(int), 0, bins - 1)
    sums = jnp.zeros(bins, squared_residual.dtype).at[index].add(squared_residual)
    counts = jnp.zeros(bins, squared_residual.dtype).at[index].add(1)
    means = sums / jnp.maximum(counts, 1)
    before = jnp.cumsum(means) - means
    return jax.lax.stop_gradient(jnp.exp(-tolerance * before)[index])


def balance(
    terms: Sequence[Callable[[PyTree], Array]], model: PyTree, by: str = "gradient"
) -> Float[Array, " terms"]:
    """Weights, with mean one over the terms, that let each loss term pull equally.

    - `by="gradient"`: inversely proportional to the norm of the term's gradient (Wang, Teng and
      Perdikaris, SIAM J. Sci. Comput. 43 (2021) A3055).
    - `by="kernel"`: inversely proportional to the trace of its neural tangent kernel; the terms
      then return their residuals, not a number (Wang, Yu and Perdikaris, J. Comput. Phys. 449
      (2022) 110768).

    **Raises:** ValueError for another `by` or for no terms.
    """
    if by not in ("gradient", "kernel"):
        raise ValueError(f"by must be 'gradient' or 'kernel', got {by!r}")
    if not terms:
        raise ValueError("terms must hold at least one loss term")
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(arrays)

    def size(term: Callable[[PyTree], Array]) -> Array:
        def of_flat(vector: Array) -> Array:
            return jnp.ravel(term(eqx.combine(unravel(vector), rest)))

        jacobian = jax.jacrev(of_flat)(flat)
        if by == "gradient":
            return jnp.linalg.norm(jacobian)
        return jnp.mean(jnp.sum(jacobian**2, axis=-1))

    inverse = 1 / jnp.stack([size(term) for term in terms])
    return jax.lax.stop_gradient(inverse / jnp.mean(inverse))


def ascent(weight: Array) -> Array:
    """`weight` with its gradient reversed: as a trainable leaf it grows where the loss it weights
    stays large (self-adaptive weights, McClenny and Braga-Neto, J. Comput. Phys. 474 (2023)
    111722).
    """
    return 2 * jax.lax.stop_gradient(weight) - weight
