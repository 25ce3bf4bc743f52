"""Bodies whose surface moves: on a prescribed path, or at rest and sliding along itself.

The velocity of a point fixed to a rigid body follows from the path by differentiation.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers
from jaxpbdl.shapes import Shape, Union

Path: TypeAlias = Callable[[Array], ArrayLike | tuple[ArrayLike, ArrayLike]]
"""From the time to a displacement (dim,), or to (displacement, angle): radians, anticlockwise, in
two dimensions, a rotation vector (3,) in three."""
SurfaceVelocity: TypeAlias = Callable[[Array, Array], Array]
"""From a point and the time to a velocity (dim,)."""


class Placed(eqx.Module):
    """A shape turned about a pivot and then displaced."""

    shape: Shape
    displacement: Float[Array, " dim"]
    rotation: Float[Array, "dim dim"]
    pivot: Float[Array, " dim"]

    def home(self, point: Array) -> Array:
        """Where the body's point at `point` was before."""
        return self.rotation.T @ (point - self.displacement - self.pivot) + self.pivot

    def moved(self, point: Array) -> Array:
        """Where the body's point that was at `point` is now."""
        return self.rotation @ (point - self.pivot) + self.pivot + self.displacement

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.shape(self.home(point))


class Moving(eqx.Module):
    """A rigid body on a prescribed path; created by `moving`. As a shape it is that of time 0."""

    shape: Shape
    path: Path
    pivot: Array | None

    def at(self, time: Array) -> Placed:
        """The shape at a time."""
        given = self.path(time)
        displacement, angle = given if isinstance(given, tuple) else (given, None)
        displacement = jnp.asarray(displacement, time.dtype)
        if displacement.shape not in ((2,), (3,)):
            raise ValueError(
                "a path gives a displacement of shape (2,) or (3,), or a pair (displacement, "
                f"angle); got a displacement of shape {displacement.shape}"
            )
        dim = len(displacement)
        turns = (() if dim == 2 else (3,)) if angle is not None else None
        if angle is not None and jnp.shape(angle) != turns:
            raise ValueError(
                f"in {dim} dimensions the angle of a path has the shape {turns}; got "
                f"{jnp.shape(angle)}"
            )
        if angle is not None and self.pivot is None:
            raise ValueError("a path that turns a shape without `centre` needs a `pivot`")
        pivot = jnp.zeros(dim) if self.pivot is None else self.pivot
        rotation = jnp.eye(dim) if angle is None else rotation_by(jnp.asarray(angle, time.dtype))
        return Placed(
            self.shape, displacement, rotation.astype(time.dtype), pivot.astype(time.dtype)
        )

    def velocity(self, point: Array, time: Array) -> Array:
        """Of the body's point that is at `point`."""
        home = self.at(time).home(point)
        return jax.jvp(lambda t: self.at(t).moved(home), (time,), (jnp.ones_like(time),))[1]

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.at(jnp.zeros((), point.dtype))(point)


class Sliding(eqx.Module):
    """A body at rest whose surface slides along itself; created by `sliding`."""

    shape: Shape
    velocity: SurfaceVelocity

    def __call__(self, point: Float[Array, " dim"]) -> Float[Array, ""]:
        return self.shape(point)


class Spin(eqx.Module):
    """The velocity of a rotation about a centre; created by `spin`."""

    centre: Array
    rate: Array | Callable[[Array], ArrayLike]

    def __call__(self, point: Array, time: Array) -> Array:
        rate = jnp.asarray(self.rate(time) if callable(self.rate) else self.rate, point.dtype)
        away = point - self.centre
        if rate.shape != (() if len(away) == 2 else (3,)):
            raise ValueError(
                "the rate of a spin is a number in two dimensions and a vector (3,) in three; got "
                f"the shape {rate.shape} in {len(away)} dimensions"
            )
        if len(away) == 2:
            return rate * jnp.stack([-away[1], away[0]])
        return jnp.cross(rate, away)


def moving(shape: Shape, path: Path, pivot: Numbers | None = None) -> Moving:
    """A rigid body on a prescribed path.

        moving(Ball((2.0, 2.0), 0.5), lambda t: jnp.stack([amplitude * jnp.sin(t), 0 * t]))

    **Arguments:**

    - `shape`: the body before it moves.
    - `path`: `time -> displacement` (dim,), or `time -> (displacement, angle)`, the angle in
      radians, anticlockwise, in two dimensions, a rotation vector (3,) in three. Gradients reach
      the arrays in it.
    - `pivot`: the point of the shape, before it moves, about which it turns; its `centre` by
      default.
    """
    if pivot is None:
        pivot = getattr(shape, "centre", None)
    return Moving(shape, path, None if pivot is None else checks.as_floats(pivot))


def sliding(shape: Shape, velocity: SurfaceVelocity) -> Sliding:
    """A body at rest whose surface moves along itself, as that of a rotating cylinder does.

        sliding(Ball((2.0, 2.0), 0.5), spin((2.0, 2.0), rate))

    **Arguments:** `velocity`: `(point, time) -> velocity` (dim,), at points of the surface.
    """
    return Sliding(shape, velocity)


def spin(centre: Numbers, rate: Numbers | Callable[[Array], ArrayLike]) -> Spin:
    """The velocity of points that rotate about a centre.

    **Arguments:** `rate`: radians a unit of time, anticlockwise, a vector (3,) in three dimensions;
    or a function of the time.
    """
    return Spin(checks.as_floats(centre), rate if callable(rate) else checks.as_floats(rate))


def moves(body: Shape) -> bool:
    """Whether the shape depends on time."""
    if isinstance(body, Union):
        return any(moves(one) for one in body.shapes)
    return isinstance(body, Moving)


def has_velocity(body: Shape) -> bool:
    """Whether any part of the surface may move."""
    if isinstance(body, Union):
        return any(has_velocity(one) for one in body.shapes)
    return isinstance(body, Moving | Sliding)


def shape_at(body: Shape, time: Array) -> Shape:
    """The shape of a body at a time."""
    if isinstance(body, Union):
        return Union([shape_at(one, time) for one in body.shapes])
    if isinstance(body, Sliding):
        return body.shape
    return body.at(time) if isinstance(body, Moving) else body


def resting(body: Shape) -> Shape:
    """The shape of a body none of whose parts is on a path."""
    if isinstance(body, Union):
        return Union([resting(one) for one in body.shapes])
    return body.shape if isinstance(body, Sliding) else body


def velocity_of(body: Shape, point: Array, time: Array) -> Array:
    """The velocity of a body's surface at a point and a time; of several that of the nearest."""
    if isinstance(body, Union):
        away = jnp.stack([shape_at(one, time)(point) for one in body.shapes])
        return jnp.stack([velocity_of(one, point, time) for one in body.shapes])[jnp.argmin(away)]
    if isinstance(body, Moving | Sliding):
        return body.velocity(point, time)
    return jnp.zeros_like(point)


def check_velocity(body: Shape, ndim: int, dtype: jnp.dtype) -> None:
    """Refuse paths and surface velocities that do not give a vector of the grid's dimension."""
    for one in body.shapes if isinstance(body, Union) else (body,):
        if isinstance(one, Union):
            check_velocity(one, ndim, dtype)
            continue
        point, time = jax.ShapeDtypeStruct((ndim,), dtype), jax.ShapeDtypeStruct((), dtype)
        if isinstance(one, Moving):
            place = jax.eval_shape(one.at, time).displacement
            what, got = "the displacement of a path", place.shape
        elif isinstance(one, Sliding):
            what, got = "a surface velocity", jax.eval_shape(one.velocity, point, time).shape
        else:
            continue
        if got != (ndim,):
            raise ValueError(f"{what} must have the shape ({ndim},) of the grid; got {got}")


def rotation_by(angle: Array) -> Float[Array, "dim dim"]:
    """The matrix of a rotation by an angle in the plane, or by a rotation vector in space
    (Rodrigues' formula)."""
    if angle.ndim == 0:
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        return jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])])
    x, y, z = angle
    zero = jnp.zeros_like(x)
    cross = jnp.stack(
        [jnp.stack([zero, -z, y]), jnp.stack([z, zero, -x]), jnp.stack([-y, x, zero])]
    )
    squared = jnp.sum(angle**2)
    small = squared < 1e-6
    safe = jnp.where(small, 1.0, squared)
    size = jnp.sqrt(safe)
    # Series near zero, so that derivatives exist there.
    first = jnp.where(small, 1 - squared / 6, jnp.sin(size) / size)
    second = jnp.where(small, 0.5 - squared / 24, (1 - jnp.cos(size)) / safe)
    return jnp.eye(3, dtype=angle.dtype) + first * cross + second * (cross @ cross)
