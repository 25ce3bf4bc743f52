"""What a scalar does on the sides of a box: a value or a flux is given there, or nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl.grids.cells import Cells, FieldLike
from jaxpbdl.grids.grid import points_of


class Held(eqx.Module):
    """The scalar has a value on the side; created by `held`."""

    value: FieldLike
    ramp: Callable[[Array], Array] | None = None


class Flux(eqx.Module):
    """The scalar enters through the side; created by `flux`."""

    value: FieldLike
    ramp: Callable[[Array], Array] | None = None


Condition = Held | Flux


def held(value: FieldLike, ramp: Callable[[Array], Array] | None = None) -> Held:
    """The scalar is `value` on the side (a function of the point or a constant), times
    `ramp(time)`. A plain number or function given to a side means the same."""
    return Held(value, ramp)


def flux(value: FieldLike, ramp: Callable[[Array], Array] | None = None) -> Flux:
    """The scalar diffuses into the box at the rate `value` a unit of area and time (a function of
    the point or a constant), times `ramp(time)`: diffusivity times the derivative along the outward
    normal. Without a condition this is zero: an insulated side."""
    return Flux(value, ramp)


def conditions(given: Mapping[str, FieldLike | Condition]) -> dict[str, Condition]:
    """Plain values count as held."""
    return {
        name: value if isinstance(value, Held | Flux) else held(value)
        for name, value in given.items()
    }


class OnSide(NamedTuple):
    """What is given of a scalar on one side at a time, each None where it is not."""

    value: Array | None = None
    flux: Array | None = None
    returning: Array | None = None
    """What fluid that comes back through an open side brings."""


class ScalarSides(eqx.Module):
    """One scalar on all sides of a box: for each axis a condition with its values for the lower and
    the upper side, None where it is periodic; `crossing`: whether the velocity across is given."""

    trainable_fields = ()

    pairs: tuple[tuple[Condition | None, Condition | None] | None, ...]
    crossing: tuple[tuple[bool, bool], ...] = eqx.field(static=True)

    def at(self, time: Array) -> list[tuple[OnSide, OnSide]]:
        """What is given at a time, nothing on periodic axes."""
        found = []
        for pair, crossing in zip(self.pairs, self.crossing, strict=True):
            low, high = (None, None) if pair is None else pair
            found.append((_on_side(low, crossing[0], time), _on_side(high, crossing[1], time)))
        return found


def _on_side(condition: Condition | None, crossing: bool, time: Array) -> OnSide:
    if condition is None:
        return OnSide()
    values = jnp.asarray(condition.value)
    values = values if condition.ramp is None else condition.ramp(time) * values
    if isinstance(condition, Flux):
        return OnSide(flux=values)
    return OnSide(value=values) if crossing else OnSide(returning=values)


def with_values(condition: Condition | None, grid: Cells, axis: int, end: int) -> Condition | None:
    """The condition with its value at the faces of a side, of size one along its axis."""
    if condition is None:
        return None
    lines: Sequence[np.ndarray] = list(grid.centres)
    lines[axis] = np.array([grid.edges[axis][end]])
    where = points_of(lines, grid.dtype)
    return type(condition)(scalar_at(condition.value, where), condition.ramp)


def scalar_at(field: FieldLike, where: Array) -> Array:
    """A function of the point, a constant or an array, at points."""
    if callable(field):
        flat = jax.vmap(field)(where.reshape(-1, where.shape[-1]))
        return jnp.asarray(flat, where.dtype).reshape(where.shape[:-1])
    return jnp.broadcast_to(jnp.asarray(field, where.dtype), where.shape[:-1])
