"""Order, softly: sorted values, ranks, the k largest, quantiles.

With `s` the sorted values and weights that fall with the distance, `w_ij = exp(-|s_i - s_j| / T)`,

    soft sort    y_i = sum_j w_ij s_j / sum_j w_ij
    soft rank    r_i = 1/2 + sum_j F(s_i - s_j),   F(d) = 1/2 + sign(d) (1 - exp(-|d| / T)) / 2

The first is SoftSort (Prillo and Eisenschlos, ICML 2020, PMLR 119, 7793) with the distance `|.|`;
the second counts the values below by the distribution function of Laplace in place of a step (the
idea is that of Qin, Liu and Li, Inf. Retrieval 13 (2010) 375, with another step). Such sums over
sorted places need no matrix: those over `j <= i` follow from those over `j <= i - 1`,

    A_i = 1 + exp(-g) A_(i-1),   D_i = exp(-g) (D_(i-1) + g A_(i-1)),   g = (s_i - s_(i-1)) / T

(Langrene and Warin, J. Comput. Graph. Stat. 28 (2019) 596): one pass up and one down, after sorting
in `n log n`. All terms are positive, so nothing cancels.

The temperature `T` is in the units of `x`: values much further apart than `T` are put in order as
by `sort`, closer ones are mixed. Sorted values are continuous and rise; where two values pass each
other their gradient may jump, though less than that of `sort`. Ranks have a continuous gradient.
"""

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.relaxations.inputs import Scalar, check, in_temperatures
from jaxpbdl.relaxations.steps import soft_step

Pair: TypeAlias = tuple[Array, Array]

HALVINGS = 64
FLAT = 1e-20
"""Slope of the number of values above a threshold, in counts a temperature, below which a change of
the values moves the threshold by nothing that matters."""


def soft_sort(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "*shape"]:
    """Means about each of the sorted values, rising along an axis.

    Raises ValueError for a temperature that is not above zero and an axis that is not there or is
    empty.
    """
    check(x, temperature, axis)
    ordered = jnp.sort(jnp.moveaxis(x, axis, -1))
    (below, above), (down, up) = _sums(ordered, temperature)
    means = ordered + temperature * (up - down) / (below + above - 1)
    return jnp.moveaxis(means, -1, axis)


def soft_rank(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "*shape"]:
    """Ranks along an axis, from 1 for the smallest to `n`; they add to `n (n + 1) / 2`, and those
    of equal values are equal.

    Raises ValueError as `soft_sort` does.
    """
    check(x, temperature, axis)
    last = jnp.moveaxis(x, axis, -1)
    order = jnp.argsort(last)
    (below, above), _ = _sums(jnp.take_along_axis(last, order, -1), temperature)
    ranks = jnp.arange(1, last.shape[-1] + 1) - (below - above) / 2
    back = jnp.put_along_axis(jnp.zeros_like(ranks), order, ranks, -1, inplace=False)
    return jnp.moveaxis(back, -1, axis)


def soft_top_k(
    x: Float[Array, "*shape"], k: int, temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """The `k` largest of the values of `soft_sort`, falling along an axis.

    Raises ValueError as `soft_sort` does, and for `k` that is not a number from 1 to `n`.
    """
    check(x, temperature, axis)
    size = _check_k(k, x.shape[axis])
    chosen = lax.slice_in_dim(soft_sort(x, temperature, axis), size - k, size, axis=axis)
    return jnp.flip(chosen, axis)


def top_k_weights(
    x: Float[Array, "*shape"], k: int, temperature: Scalar, axis: int = -1
) -> Float[Array, "*shape"]:
    """How far each value is one of the `k` largest: `soft_step(x - c, temperature)` with the
    threshold `c` for which the weights add to `k` along an axis (Amos, Koltun and Kolter,
    arXiv:1906.08707, 2019).

    Raises ValueError as `soft_top_k` does.
    """
    check(x, temperature, axis)
    size = _check_k(k, x.shape[axis])
    if k == size:
        return jnp.ones_like(x)

    return jnp.moveaxis(_chosen(jnp.moveaxis(x, axis, -1), k, temperature), -1, axis)


def soft_quantile(
    x: Float[Array, "*shape"], level: Scalar, temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """The value at `level (n - 1)` among those of `soft_sort`, linear between two of them.

    Raises ValueError as `soft_sort` does, and for a level outside of (0, 1).
    """
    check(x, temperature, axis)
    if checks.is_concrete(level) and not 0 < np.asarray(level) < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    ordered = soft_sort(jnp.moveaxis(x, axis, 0), temperature, 0)
    place = jnp.asarray(level, x.dtype) * (len(ordered) - 1)
    first = jnp.floor(lax.stop_gradient(place)).astype(int)
    second = jnp.minimum(first + 1, len(ordered) - 1)
    return ordered[first] + (place - first) * (ordered[second] - ordered[first])


def soft_median(
    x: Float[Array, "*shape"], temperature: Scalar, axis: int = -1
) -> Float[Array, "..."]:
    """The soft quantile of level 1/2."""
    return soft_quantile(x, 0.5, temperature, axis)


@jax.jit
def _sums(
    ordered: Float[Array, "*batch n"], temperature: Scalar
) -> tuple[Float[Array, "2 *batch n"], Float[Array, "2 *batch n"]]:
    """Of each sorted value, over the values up to it and over those from it: the sum of the weights
    and that of the weights times the distances, in temperatures."""
    gaps = jnp.moveaxis(in_temperatures(jnp.diff(ordered), temperature), -1, 0)
    gaps = jnp.stack([gaps, jnp.flip(gaps, 0)], axis=1)
    first = jnp.ones_like(gaps, shape=gaps.shape[1:]), jnp.zeros_like(gaps, shape=gaps.shape[1:])

    def pass_on(sums: Pair, entry: Pair) -> tuple[Pair, Pair]:
        (weight, moment), (gap, decay) = sums, entry
        sums = 1 + decay * weight, decay * (moment + gap * weight)
        return sums, sums

    _, rest = lax.scan(pass_on, first, (gaps, jnp.exp(-gaps)))

    def by_value(start: Array, rest: Array) -> Array:
        along = jnp.moveaxis(jnp.concatenate([start[None], rest]), 0, -1)
        return jnp.stack([along[0], jnp.flip(along[1], -1)])

    return by_value(first[0], rest[0]), by_value(first[1], rest[1])


def _check_k(k: int, size: int) -> int:
    """Returns the size."""
    checks.count("k", k)
    if k > size:
        raise ValueError(f"k must be at most {size}, the entries along the axis, got {k}")
    return size


@partial(jax.jit, static_argnums=1)
def _chosen(x: Float[Array, "*batch n"], k: int, temperature: Scalar) -> Float[Array, "*batch n"]:
    """How far each along the last axis is one of the `k` largest; `k < n`."""

    def one(x: Array) -> Array:
        return soft_step(x - _threshold(x, k, temperature), temperature)

    return jnp.vectorize(one, signature="(n)->(n)")(x)


def _threshold(x: Float[Array, " n"], k: int, temperature: Scalar) -> Float[Array, ""]:
    """Above which there are `k` values, softly counted; `k < n`."""
    size = len(x)
    ordered = jnp.sort(lax.stop_gradient(x))
    # The k + 1 largest count for k at least below the one end, and at most above the other.
    low = ordered[size - k - 1] - temperature * np.log(k)
    high = ordered[size - k] + temperature * np.log(size - k)

    def excess(threshold: Array) -> Array:
        return jnp.sum(soft_step(x - threshold, temperature)) - k

    def halved(excess, _: Array) -> Array:
        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = ends[0] / 2 + ends[1] / 2
            enough = excess(middle) >= 0
            return jnp.where(enough, middle, ends[0]), jnp.where(enough, ends[1], middle)

        low, high = lax.fori_loop(0, HALVINGS, halve, ends)
        return low / 2 + high / 2

    def divided(slope, change: Array) -> Array:
        rate = slope(jnp.ones_like(change))
        steep = rate * temperature < -FLAT
        return jnp.where(steep, change / jnp.where(steep, rate, 1), 0)

    ends = lax.stop_gradient((low, high))
    return lax.custom_root(excess, ends[0], halved, divided)
