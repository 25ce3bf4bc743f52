"""Shapes of bodies: signed distances, negative inside, whose parameters are differentiable."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks

Shape: TypeAlias = Callable[[Float[Array, " dim"]], Float[Array, ""]]
"""Any function `point -> signed distance`. Close to the surface its gradient should have length one
and its value the distance to second order; far away only the sign matters."""


class Ball(eqx.Module):
    """A disc or a ball: `|x - centre| - radius`."""

    centre: Array = eqx.field(converter=checks.as_floats)
    radius: Array = eqx.field(converter=checks.as_floats)

    def __check_init__(self):
        checks.positive("radius", self.radius)

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return _length(point - self.centre) - self.radius


class Ellipse(eqx.Module):
    """An ellipse with half axes along x and y, turned by `angle` (radians).

    `f / |grad f|` with `f = |(x/a, y/b)| - 1` is the distance to second order near the curve.
    """

    centre: Array = eqx.field(converter=checks.as_floats)
    half_axes: Array = eqx.field(converter=checks.as_floats)
    angle: Array = eqx.field(converter=checks.as_floats, default=0.0)

    def __check_init__(self):
        checks.positive("half_axes", self.half_axes)

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        own = turned(point - self.centre, -self.angle)
        reach = _length(own / self.half_axes)
        slope = _length(own / self.half_axes**2)
        centre = slope < 1e-6
        width = jnp.where(centre, jnp.min(self.half_axes), reach / jnp.where(centre, 1.0, slope))
        return width * (reach - 1)


class Cuboid(eqx.Module):
    """A rectangle or a cuboid with edges along the axes, its edges rounded by `rounding`."""

    centre: Array = eqx.field(converter=checks.as_floats)
    half_lengths: Array = eqx.field(converter=checks.as_floats)
    rounding: Array = eqx.field(converter=checks.as_floats, default=0.0)

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        beyond = jnp.abs(point - self.centre) - (self.half_lengths - self.rounding)
        outside = _length(jnp.maximum(beyond, 0.0))
        return outside + jnp.minimum(jnp.max(beyond), 0.0) - self.rounding


class Outline(eqx.Module):
    """The inside of a closed polygon, given by its corners in order (either way round)."""

    corners: Float[Array, "n 2"] = eqx.field(converter=checks.as_floats)

    def __check_init__(self):
        if self.corners.ndim != 2 or self.corners.shape[1] != 2 or len(self.corners) < 3:
            raise ValueError(
                f"corners must have shape (n, 2) with n >= 3, got {self.corners.shape}"
            )

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        start, stop = self.corners, jnp.roll(self.corners, -1, axis=0)
        side, offset = stop - start, point - start
        squared = jnp.maximum(jnp.sum(side**2, axis=-1), 1e-12)
        share = jnp.clip(jnp.sum(offset * side, axis=-1) / squared, 0.0, 1.0)
        away = offset - share[:, None] * side
        distance = jnp.sqrt(jnp.maximum(jnp.min(jnp.sum(away**2, axis=-1)), 1e-24))
        # A ray along x crosses the sides an odd number of times from inside.
        straddles = (start[:, 1] > point[1]) != (stop[:, 1] > point[1])
        rise = jnp.where(straddles, side[:, 1], 1.0)
        meets = start[:, 0] + offset[:, 1] / rise * side[:, 0]
        inside = jnp.sum(straddles & (point[0] < meets)) % 2 == 1
        return jnp.where(inside, -distance, distance)


class Star(eqx.Module):
    """A closed curve about a centre: `r(angle) = radius exp(sum_k a_k cos k angle + b_k sin k
    angle)`, k = 1, 2, ... The distance is that along the ray, corrected to second order near the
    curve by its slope.
    """

    centre: Array = eqx.field(converter=checks.as_floats)
    radius: Array = eqx.field(converter=checks.as_floats)
    cosines: Array = eqx.field(converter=checks.as_floats)
    sines: Array = eqx.field(converter=checks.as_floats)

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        offset = point - self.centre
        # The angle has no derivative at the centre itself.
        offset = jnp.where(jnp.sum(offset**2) < 1e-12, jnp.asarray([1e-6, 0.0]), offset)
        away = _length(offset)
        angle = jnp.arctan2(offset[1], offset[0])
        logarithm, slope = self.logarithm(angle)
        # Level sets of log |x| - log r(angle), whose gradient has length sqrt(1 + slope^2) / |x|.
        return away * (jnp.log(away) - logarithm) / jnp.sqrt(1 + slope**2)

    def logarithm(self, angle: Array | float) -> tuple[Array, Array]:
        """log r at an angle, and its derivative."""
        k = jnp.arange(1, len(self.cosines) + 1)
        cosine, sine = jnp.cos(k * angle), jnp.sin(k * angle)
        value = jnp.log(self.radius) + self.cosines @ cosine + self.sines @ sine
        return value, (k * self.sines) @ cosine - (k * self.cosines) @ sine

    @property
    def area(self) -> Float[Array, ""]:
        """`int r^2 / 2`, by the trapezoidal rule."""
        angles = jnp.asarray(np.linspace(0, 2 * np.pi, 256, endpoint=False))
        logs, _ = jax.vmap(self.logarithm)(angles)
        return jnp.pi * jnp.mean(jnp.exp(2 * logs))


class Union(eqx.Module):
    """Several shapes as one body."""

    shapes: tuple[Shape, ...]

    def __init__(self, shapes: Sequence[Shape]):
        self.shapes = tuple(shapes)

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.min(jnp.stack([shape(point) for shape in self.shapes]))


class Intersection(eqx.Module):
    """What lies in all of several shapes."""

    shapes: tuple[Shape, ...]

    def __init__(self, shapes: Sequence[Shape]):
        self.shapes = tuple(shapes)

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.max(jnp.stack([shape(point) for shape in self.shapes]))


class Difference(eqx.Module):
    """A shape without what lies in another: a plate with a hole."""

    shape: Shape
    removed: Shape

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.maximum(self.shape(point), -self.removed(point))


def turned(point: Float[Array, "2"], angle: Array) -> Float[Array, "2"]:
    """A point turned about the origin, anticlockwise."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cosine * point[0] - sine * point[1], sine * point[0] + cosine * point[1]])


def naca(digits: str, points: int = 100) -> Float[Array, "n 2"]:
    """Corners of an airfoil of the four-digit NACA family, chord 1 from the origin along x, with a
    closed trailing edge (Abbott and von Doenhoff, Theory of Wing Sections, 1959, section 6.4)."""
    if len(digits) != 4 or not digits.isdigit():
        raise ValueError(f"digits must be four of them, as in '0012', got {digits!r}")
    camber, place, thickness = int(digits[0]) / 100, int(digits[1]) / 10, int(digits[2:]) / 100
    if camber > 0 and place == 0:
        raise ValueError(
            f"digits with a camber, the first, need its place, the second, above 0; got {digits!r}"
        )
    x = (1 - np.cos(np.linspace(0, np.pi, points))) / 2
    half = (
        5
        * thickness
        * (0.2969 * np.sqrt(x) - 0.1260 * x - 0.3516 * x**2 + 0.2843 * x**3 - 0.1036 * x**4)
    )
    middle, slope = np.zeros_like(x), np.zeros_like(x)
    if camber > 0:
        front = x < place
        share = np.where(front, camber / place**2, camber / (1 - place) ** 2)
        middle = share * np.where(front, 2 * place * x - x**2, 1 - 2 * place + 2 * place * x - x**2)
        slope = 2 * share * (place - x)
    normal = np.stack([-slope, np.ones_like(x)]) / np.sqrt(1 + slope**2)
    upper = np.stack([x, middle]) + half * normal
    lower = np.stack([x, middle]) - half * normal
    return jnp.asarray(np.concatenate([upper[:, ::-1], lower[:, 1:-1]], axis=1).T)


def _length(vector: Array) -> Array:
    """With a gradient of zero, not NaN, at the origin."""
    squared = jnp.sum(vector**2)
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
