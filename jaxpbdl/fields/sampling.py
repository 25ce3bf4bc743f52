"""Where a field is judged: boxes of space-time, points in them, and points where the residual is
large.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks

Points: TypeAlias = Float[Array, "points dim"]

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)


class Box(eqx.Module):
    """The points x with lower <= x <= upper, one pair of limits a coordinate, time last.

    A side of the box is a box too: `Box((-1, 0), (1, 2)).at(1, 0.0)` is the initial slice t = 0.
    """

    lower: tuple[float, ...] = eqx.field(converter=tuple, static=True)
    upper: tuple[float, ...] = eqx.field(converter=tuple, static=True)

    def __check_init__(self):
        if not self.lower or len(self.lower) != len(self.upper):
            raise ValueError(
                f"lower and upper must be equally long, got {self.lower} and {self.upper}"
            )
        for axis, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if not (np.isfinite(low) and np.isfinite(high) and low <= high):
                raise ValueError(
                    "lower must be finite and at most upper, "
                    f"got {low} and {high} along axis {axis}"
                )

    @property
    def dim(self) -> int:
        return len(self.lower)

    def at(self, axis: int, value: float) -> "Box":
        """The part of the box where coordinate `axis` has the given value."""
        axis = range(self.dim)[axis]
        if not self.lower[axis] <= value <= self.upper[axis]:
            raise ValueError(
                f"value must be in [{self.lower[axis]}, {self.upper[axis]}] along axis {axis}, "
                f"got {value}"
            )
        limits = [
            tuple(value if i == axis else limit for i, limit in enumerate(side))
            for side in (self.lower, self.upper)
        ]
        return Box(*limits)

    def sides(self, axis: int) -> tuple["Box", "Box"]:
        """The two sides across coordinate `axis`."""
        return self.at(axis, self.lower[axis]), self.at(axis, self.upper[axis])

    def split(self, axis: int, count: int) -> tuple["Box", ...]:
        """`count` equal boxes, one behind the other along coordinate `axis`: windows of time."""
        checks.count("count", count)
        axis = range(self.dim)[axis]
        edges = np.linspace(self.lower[axis], self.upper[axis], count + 1).tolist()
        return tuple(
            Box(
                (*self.lower[:axis], low, *self.lower[axis + 1 :]),
                (*self.upper[:axis], high, *self.upper[axis + 1 :]),
            )
            for low, high in pairwise(edges)
        )

    def require(self, name: str, points: ArrayLike) -> None:
        """Raise ValueError, naming the first, if one of the points lies outside the box."""
        points = np.asarray(points)
        outside = np.flatnonzero(~np.asarray(self.contains(jnp.asarray(points))))
        if outside.size:
            raise ValueError(
                f"{name} must lie between {self.lower} and {self.upper}, but {outside.size} of "
                f"{len(points)} do not, the first {points[outside[0]].tolist()}"
            )

    def scale(self, unit: Points) -> Points:
        """Points of the unit cube carried to the box."""
        low, high = jnp.asarray(self.lower, unit.dtype), jnp.asarray(self.upper, unit.dtype)
        return low + (high - low) * unit

    def contains(self, points: Points) -> Array:
        """Whether each point lies in the box."""
        low, high = (jnp.asarray(side, points.dtype) for side in (self.lower, self.upper))
        return jnp.all((points >= low) & (points <= high), axis=-1)


def uniform(key: PRNGKeyArray, box: Box, count: int) -> Points:
    """Independent points, equally likely everywhere."""
    checks.count("count", count)
    return box.scale(jax.random.uniform(key, (count, box.dim)))


def latin_hypercube(key: PRNGKeyArray, box: Box, count: int) -> Points:
    """One point in each of `count` equal slices, along every coordinate (McKay et al. 1979)."""
    checks.count("count", count)
    order_key, place_key = jax.random.split(key)
    orders = jax.vmap(lambda k: jax.random.permutation(k, count))(
        jax.random.split(order_key, box.dim)
    )
    return box.scale((orders.T + jax.random.uniform(place_key, (count, box.dim))) / count)


def halton(key: PRNGKeyArray, box: Box, count: int) -> Points:
    """The Halton sequence in the first primes, shifted at random modulo one (Halton 1960; Cranley
    and Patterson 1976), so that every point is uniform and the set fills the box evenly.

    Up to ten coordinates.
    """
    checks.count("count", count)
    if box.dim > len(_PRIMES):
        raise ValueError(f"box must have at most {len(_PRIMES)} coordinates, got {box.dim}")
    columns = [_radical_inverse(jnp.arange(1, count + 1), base, count) for base in _PRIMES]
    unit = jnp.stack(columns[: box.dim], axis=-1) + jax.random.uniform(key, (box.dim,))
    return box.scale(unit % 1.0)


def sobol(seed: int, box: Box, count: int) -> Points:
    """Scrambled Sobol points by scipy's engine, so outside jit; best with a power of two."""
    from scipy.stats import qmc

    checks.count("count", count)
    engine = qmc.Sobol(box.dim, scramble=True, rng=seed)
    exponent = int(np.ceil(np.log2(count)))
    return box.scale(jnp.asarray(engine.random_base2(exponent)[:count], dtype=float))


def inside(
    key: PRNGKeyArray,
    box: Box,
    count: int,
    distance: Callable[[Float[Array, " dim"]], Array],
    attempts: int = 20,
) -> Points:
    """Independent points of a shape, equally likely everywhere in it; `distance` is a signed
    distance, negative inside.

    They are the first `count` of `attempts * count` points of the box that lie in the shape, so the
    shape should fill more than one part in `attempts` of the box. Works inside jit.

    Raises ValueError if too few points lie in it (inside jit a RuntimeError when it runs).
    """
    checks.counts(count=count, attempts=attempts)
    points = uniform(key, box, attempts * count)
    held = jax.lax.map(distance, points, batch_size=count) < 0
    few = jnp.sum(held) < count
    message = (
        f"the shape is empty or too small: fewer than {count} of {attempts * count} points of the "
        "box lie in it; give a box that fits the shape closely, or more attempts"
    )
    if checks.is_concrete(few) and bool(few):
        raise ValueError(message)
    first = jnp.argsort(~held, stable=True)[:count]
    return eqx.error_if(points[first], few, message)


def on_surface(
    key: PRNGKeyArray,
    box: Box,
    count: int,
    distance: Callable[[Float[Array, " dim"]], Array],
    attempts: int = 50,
) -> Points:
    """Points on the surface of a shape, where its signed `distance` vanishes, for conditions on the
    boundary; all parts of the surface in the box are equally likely.

    They are those of `attempts * count` points of the box that lie closest to the surface, moved on
    to it along the gradient of the distance. The layer that they come from is thin, so that density
    and area differ little: by its thickness times the curvature. Works inside jit.

    Raises ValueError where a point does not reach the surface, as for a surface outside of the box
    (inside jit a RuntimeError when it runs).
    """
    checks.counts(count=count, attempts=attempts)
    points = uniform(key, box, attempts * count)
    away = jax.lax.map(distance, points, batch_size=count)
    nearest = points[jnp.argsort(jnp.abs(away))[:count]]

    def moved(point: Array) -> Array:
        value, slope = jax.value_and_grad(distance)(point)
        return point - value * slope / jnp.maximum(jnp.sum(slope**2), 1e-12)

    for _ in range(4):
        nearest = jax.vmap(moved)(nearest)
    size = max(high - low for low, high in zip(box.lower, box.upper, strict=True))
    lost = jnp.any(jnp.abs(jax.vmap(distance)(nearest)) > 1e-5 * size)
    lost = lost | ~jnp.all(box.contains(nearest))
    message = "points do not reach the surface of the shape in the box: give a box that holds it"
    if checks.is_concrete(lost) and bool(lost):
        raise ValueError(message)
    return eqx.error_if(nearest, lost, message)


def refine(
    key: PRNGKeyArray,
    residual: Float[Array, " candidates"],
    candidates: Float[Array, "candidates dim"],
    count: int,
    power: float = 1.0,
    offset: float = 1.0,
) -> Float[Array, "chosen dim"]:
    """`count` of the candidates, likelier where the residual is large: RAD, with probability
    proportional to |r|^power / mean(|r|^power) + offset, without repeats (Wu et al., Comput.
    Methods Appl. Mech. Eng. 403 (2023) 115671).

    `offset = 0` with a large power takes the largest ones, which is their RAR-G.
    """
    checks.count("count", count)
    checks.shape("residual", residual, (candidates.shape[0],))
    if count > candidates.shape[0]:
        raise ValueError(f"count must be at most the {candidates.shape[0]} candidates, got {count}")
    size = jnp.abs(residual)
    largest = jnp.max(size)
    size = jnp.where(largest > 0, size / largest, 1.0) ** power  # no overflow in high powers
    chances = size / jnp.mean(size) + offset
    # The largest of log p + Gumbel noise are a draw without repeats.
    noise = jax.random.gumbel(key, chances.shape, chances.dtype)
    _, chosen = jax.lax.top_k(jnp.log(chances) + noise, count)
    return candidates[chosen]


def _radical_inverse(index: Array, base: int, count: int) -> Array:
    value, scale = jnp.zeros(index.shape, dtype=float), 1.0
    for _ in range(int(np.ceil(np.log(count + 1) / np.log(base))) + 1):
        scale /= base
        value = value + scale * (index % base)
        index = index // base
    return value


def grid_points(box: Box, counts: Sequence[int]) -> Points:
    """The points of a regular grid that includes the limits, first coordinate slowest."""
    axes = [np.linspace(*pair) for pair in zip(box.lower, box.upper, counts, strict=True)]
    return jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, box.dim), float)
