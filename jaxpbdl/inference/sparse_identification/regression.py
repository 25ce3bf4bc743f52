"""Sequentially thresholded least squares, and the threshold by the error at times held out."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxpbdl import checks
from jaxpbdl.inference.sparse_identification.systems import LinearSystem


class Identified(NamedTuple):
    """What `sparse_regression` found."""

    coefficients: Float[Array, " terms"]
    """Zero for terms that are not kept."""
    kept: Bool[Array, " terms"]
    covariance: Float[Array, "terms terms"]
    """Of the rows' errors alone: noise in the terms also shifts the coefficients."""
    standard_errors: Float[Array, " terms"]
    threshold: Float[Array, ""]
    held_out_error: Float[Array, ""]
    """Of the rates at the times held out, relative to the root mean square of these."""
    path_errors: Float[Array, " thresholds"]
    """The same for each threshold."""
    path_counts: Int[Array, " thresholds"]
    """Terms that are kept for each threshold."""


THRESHOLDS = tuple(np.geomspace(1e-4, 1.0, 60).tolist())


def thresholded_least_squares(
    system: LinearSystem, threshold: float | Float[Array, ""]
) -> Float[Array, " terms"]:
    """Least squares over and over, each time without the terms that contribute less than
    `threshold`, until none does: |c_j| |column j| < threshold |target|, by the lengths of vectors.
    Goes through jit and vmap.

    **Raises** ValueError for a threshold below 0.
    """
    checks.non_negative("threshold", threshold)
    return _thresholded(*_reduced(system), jnp.asarray(threshold))


def sparse_regression(
    system: LinearSystem,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    held_out: float = 0.25,
    groups: int = 8,
) -> Identified:
    """The terms by sequentially thresholded least squares, the threshold by the last part of the
    time: the terms of the earlier part for which

        error of the rates held out, relative to them + kept terms / all terms

    is smallest (the loss of Messenger and Bortz 2021, section 4.2, on times held out). Then their
    coefficients from all times. Goes through jit and vmap.

    **Arguments**

    - `thresholds`: relative contributions below which a term is left out, tried one by one.
    - `held_out`: share of the times.
    - `groups`: of successive times, among which the errors of the rows count as independent in the
      covariance (Liang and Zeger, Biometrika 73 (1986) 13).

    **Raises** ValueError for no thresholds or one below 0, a share outside of (0, 1), fewer than
    two groups or more than times.
    """
    if not len(thresholds):
        raise ValueError("thresholds must hold at least one number, got none")
    checks.non_negative("thresholds", thresholds)
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be in (0, 1), got {held_out}")
    times = len(system.target)
    if checks.count("groups", groups, 2) > times:
        raise ValueError(f"groups must be at most {times}, the times, got {groups}")
    early = min(max(1, round((1 - held_out) * times)), times - 1)
    return _sparse_regression(
        system, jnp.asarray(thresholds, system.target.dtype), early=early, groups=groups
    )


@eqx.filter_jit
def _sparse_regression(
    system: LinearSystem, thresholds: Float[Array, " thresholds"], early: int, groups: int
) -> Identified:
    earlier = LinearSystem(system.matrix[:early], system.target[:early])
    later = LinearSystem(system.matrix[early:], system.target[early:])
    square, right, lengths, size = _reduced(earlier)
    path = jax.vmap(lambda one: _thresholded(square, right, lengths, size, one))(thresholds)
    left = jnp.einsum("trn,cn->ctr", later.matrix, path) - later.target
    errors = jnp.sqrt(jnp.mean(left**2, axis=(1, 2)) / jnp.mean(later.target**2))
    counts = jnp.sum(path != 0, axis=1)
    best = jnp.argmin(errors + counts / path.shape[1])
    kept = path[best] != 0
    square, right, lengths, _ = _reduced(system)
    coefficients = _masked(square, right, kept) / lengths
    covariance = _grouped_covariance(system, coefficients, kept, square, lengths, groups)
    return Identified(
        coefficients=coefficients,
        kept=kept,
        covariance=covariance,
        standard_errors=jnp.sqrt(jnp.diagonal(covariance)),
        threshold=thresholds[best],
        held_out_error=errors[best],
        path_errors=errors,
        path_counts=counts,
    )


def _reduced(system: LinearSystem) -> tuple[Array, Array, Array, Array]:
    """The same least-squares problem with as many rows as terms and columns of length one; the
    lengths that the columns had, and that of the target."""
    terms = system.matrix.shape[-1]
    matrix, target = system.matrix.reshape(-1, terms), system.target.reshape(-1)
    lengths = jnp.linalg.norm(matrix, axis=0)
    lengths = jnp.where(lengths > 0, lengths, 1)
    # By QR, not the normal equations: those lose half of the digits.
    orthogonal, square = jnp.linalg.qr(matrix / lengths)
    return square, orthogonal.T @ target, lengths, jnp.linalg.norm(target)


def _masked(square: Array, right: Array, kept: Array) -> Array:
    """The solution with zeros for the terms that are not kept, columns of length one."""
    return jnp.where(kept, jnp.linalg.lstsq(square * kept, right)[0], 0)


def _thresholded(
    square: Array, right: Array, lengths: Array, size: Array, threshold: Array
) -> Float[Array, " terms"]:
    def turn(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        kept, scaled = carry
        kept = kept & (jnp.abs(scaled) >= threshold * size)
        return kept, _masked(square, right, kept)

    everything = jnp.ones(len(lengths), bool)
    start = (everything, _masked(square, right, everything))
    # Each turn takes out one term at least, or nothing changes any more.
    kept, scaled = lax.fori_loop(0, len(lengths), turn, start)
    return jnp.where(kept, scaled, 0) / lengths


def _grouped_covariance(
    system: LinearSystem,
    coefficients: Array,
    kept: Array,
    square: Array,
    lengths: Array,
    groups: int,
) -> Float[Array, "terms terms"]:
    """(A^T A)^-1 (sum over groups of s s^T) (A^T A)^-1 G / (G - 1) with s = A_g^T r_g, the score
    of each of the G groups."""
    times, _, terms = system.matrix.shape
    left = system.target - system.matrix @ coefficients
    scores = jnp.einsum("trn,tr->tn", system.matrix, left) / lengths
    group = np.arange(times) * groups // times
    scores = jax.ops.segment_sum(scores, jnp.asarray(group), groups)
    inverse = jnp.linalg.pinv(square * kept)
    # (A^T A)^-1 s for each group; zero for terms that are not kept.
    moved = scores @ (inverse @ inverse.T) / lengths
    moved = jnp.where(kept, moved, 0)
    return groups / (groups - 1) * moved.T @ moved
