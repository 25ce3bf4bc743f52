"""Derivatives of a field, that is of a callable `point -> value`, by forward-mode automatic
differentiation.

A point of space-time is one array `(x_1, .., x_d, t)`, time last. `at_time` freezes time and leaves
a field of space, on which `gradient`, `laplacian`, `divergence` and `curl` act over all
coordinates.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.fields.taylor import Expansion

Point: TypeAlias = Float[Array, " dim"]
Field: TypeAlias = Callable[[Point], Array]


@runtime_checkable
class Judge(Protocol):
    """What judges a field: an `Equation`, or anything else with a residual."""

    def residual(self, field: Field, point: Array) -> Array: ...


def partial(field: Field, axis: int, order: int = 1) -> Field:
    """The derivative of order `order` along coordinate `axis`, for values of any shape."""
    if order == 0:
        return field
    if isinstance(field, Expansion):
        return field.partial(axis, order)

    def derivative(point: Point) -> Array:
        direction = jnp.zeros_like(point).at[axis].set(1)
        return jax.jvp(field, (point,), (direction,))[1]

    return partial(derivative, axis, order - 1)


def time_derivative(field: Field, order: int = 1) -> Field:
    """The derivative along time, the last coordinate."""
    if isinstance(field, Expansion):
        return field.partial(field.dim - 1, order)
    return partial(field, -1, order)


def at_time(field: Field, time: Float[Array, ""]) -> Field:
    """The field of space at one instant."""
    if isinstance(field, Expansion):
        return field.at_time(time)
    return lambda position: field(jnp.append(position, time))


def gradient(field: Field) -> Field:
    """Derivatives along all coordinates, on a new last axis of the value."""
    if isinstance(field, Expansion):
        return lambda point: jnp.stack(
            [field.partial(axis)(point) for axis in range(point.shape[0])], axis=-1
        )
    return jax.jacfwd(field)


def laplacian(field: Field) -> Field:
    """Sum of the second derivatives over all coordinates; applied twice, the biharmonic
    operator.
    """

    def value(point: Point) -> Array:
        terms = [partial(field, axis, 2)(point) for axis in range(point.shape[0])]
        return reduce(add, terms)

    return value


def divergence(field: Field) -> Field:
    """Divergence of a vector field (value and point of equal length)."""
    return lambda point: jnp.trace(gradient(field)(point))


def curl(field: Field) -> Field:
    """Curl of a vector field: the scalar d_x v - d_y u in two dimensions, a vector in three."""

    def value(point: Point) -> Array:
        jacobian = gradient(field)(point)  # [component, coordinate]
        if point.shape[0] == 2:
            return jacobian[1, 0] - jacobian[0, 1]
        return jnp.stack(
            [
                jacobian[(i + 2) % 3, (i + 1) % 3] - jacobian[(i + 1) % 3, (i + 2) % 3]
                for i in range(3)
            ]
        )

    return value
