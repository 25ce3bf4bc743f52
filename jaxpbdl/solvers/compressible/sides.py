"""What the sides of a box do to conserved quantities: the cells that are thought of beyond them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.grids.grid import points_of


class Place(NamedTuple):
    """A side: the lower (`end` 0) or the upper (`end` -1) one of an axis of a grid."""

    grid: Cells
    axis: int
    end: int


Side: TypeAlias = Callable[[ConservationLaw, Array, Place], Array]
"""From an equation, the cells next to the side with the nearest first, and its place to as many
ghost cells, the nearest first. `reflecting`, `transmissive`, `inflow(..)` or one of your own."""
Sides: TypeAlias = Sequence[None | Side | tuple[Side, Side]]
"""One entry per axis: the lower and the upper side, one for both, or None for a periodic axis."""
Pairs: TypeAlias = tuple[tuple[Side, Side] | None, ...]


def transmissive(
    equation: ConservationLaw, near: Float[Array, "value *cells"], place: Place
) -> Float[Array, "value *cells"]:
    """Waves leave: beyond the side all is as in the last cell."""
    axis = 1 + place.axis
    return jnp.broadcast_to(along(near, axis, 0, 1), near.shape)


def reflecting(
    equation: ConservationLaw, near: Float[Array, "value *cells"], place: Place
) -> Float[Array, "value *cells"]:
    """A wall without friction, or a plane of symmetry: nothing passes."""
    return equation.mirrored(near, place.axis)


class Inflow(eqx.Module):
    """A given state beyond the side; created by `inflow`."""

    primitive: Callable[[Array], Array] | Array

    def __call__(
        self, equation: ConservationLaw, near: Float[Array, "value *cells"], place: Place
    ) -> Float[Array, "value *cells"]:
        grid, axis = place.grid, place.axis
        if not callable(self.primitive):
            given = self.primitive.reshape(-1, *[1] * grid.ndim)
            state = equation.conserved(given).astype(near.dtype)
            return jnp.broadcast_to(state, near.shape)
        lines = list(grid.centres)
        lines[axis] = np.array([grid.edges[axis][place.end]])
        points = points_of(lines, grid.dtype).reshape(-1, grid.ndim)
        values = jax.vmap(self.primitive)(points).T.astype(near.dtype)
        state = equation.conserved(values).reshape(-1, *[len(line) for line in lines])
        widths = [(0, 0)]  # along the side it may go on beyond the box
        for number, line in enumerate(lines):
            more = 0 if number == axis else (near.shape[1 + number] - len(line)) // 2
            widths.append((more, more))
        return jnp.broadcast_to(jnp.pad(state, widths, mode="edge"), near.shape)


def inflow(
    primitive: Callable[[Float[Array, " dim"]], Float[Array, " value"]] | Sequence[float] | Array,
) -> Inflow:
    """Beyond the side the primitive variables (density, velocity, pressure) are given, constants or
    a function of the point on the side. What leaves against a slower stream leaves all the same."""
    return Inflow(primitive if callable(primitive) else jnp.asarray(primitive, float))


def pairs_of(sides: Sides | None, grid: Cells) -> Pairs:
    """The lower and upper side of each axis, `transmissive` by default.

    Raises ValueError for another number of axes and for a periodic axis with sides.
    """
    given = (None,) * grid.ndim if sides is None else tuple(sides)
    if len(given) != grid.ndim:
        raise ValueError(f"sides must have {grid.ndim} entries, one per axis; got {len(given)}")
    pairs: list[tuple[Side, Side] | None] = []
    for axis, (one, periodic) in enumerate(zip(given, grid.periodic, strict=True)):
        if periodic and one is not None:
            raise ValueError(f"axis {axis} is periodic, its entry of sides must be None")
        one = transmissive if one is None else one
        pairs.append(None if periodic else one if isinstance(one, tuple) else (one, one))
    return tuple(pairs)


def same_everywhere(pairs: Pairs) -> bool:
    """Whether what the sides do is known not to depend on the place along them."""

    def plain(side: Side) -> bool:
        constant = isinstance(side, Inflow) and not callable(side.primitive)
        return constant or side in (transmissive, reflecting)

    return all(plain(side) for pair in pairs for side in pair or ())


def with_ghosts(
    equation: ConservationLaw, state: Array, grid: Cells, pairs: Pairs, widths: Sequence[int]
) -> Array:
    """The state with `widths` ghost cells before and after each axis; those at the corners are the
    ghosts of ghosts."""
    for axis, (pair, width) in enumerate(zip(pairs, widths, strict=True)):
        if width == 0:
            continue
        place, n = 1 + axis, grid.shape[axis]
        first, last = along(state, place, 0, width), along(state, place, n - width, n)
        if pair is None:
            parts = [last, state, first]
        else:
            below = pair[0](equation, first, Place(grid, axis, 0))
            above = pair[1](equation, jnp.flip(last, place), Place(grid, axis, -1))
            parts = [jnp.flip(below, place), state, above]
        state = jnp.concatenate(parts, place)
    return state
