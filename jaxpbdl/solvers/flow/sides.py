"""What happens on the sides of a box to velocity and scalars: walls, inflow, outflow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells, FieldLike, component_of
from jaxpbdl.grids.grid import outer, points_of
from jaxpbdl.grids.location import face
from jaxpbdl.solvers.flow.conditions import (
    Condition,
    Flux,
    ScalarSides,
    conditions,
    with_values,
)


class Side(eqx.Module):
    """One side of the box; created by `wall`, `slip`, `inflow` or `outflow`.

    **Attributes:**

    - `velocity`: on the side, a function `point -> velocity` or constants.
    - `ramp`: its factor in time, a function `time -> factor`, or None.
    - `crossing`: whether the velocity across the side is given; if not, the pressure is zero there.
    - `sticking`: whether the velocity along the side is given; if not, its normal derivative is
      zero.
    - `scalars`: what each scalar does there, by its name: a value (a function of the point or a
      constant), `held(..)` or `flux(..)`. Without an entry nothing diffuses through the side.
    """

    velocity: FieldLike = 0.0
    ramp: Callable[[Array], Array] | None = None
    crossing: bool = eqx.field(static=True, default=True)
    sticking: bool = eqx.field(static=True, default=True)
    scalars: Mapping[str, FieldLike | Condition] = eqx.field(
        converter=conditions, default_factory=dict
    )


def wall(velocity: FieldLike = 0.0, **scalars: Any) -> Side:
    """A wall to which the fluid sticks, at rest or moving along itself with `velocity`;
    `wall(temperature=1.0)` is a warm one, `wall(temperature=flux(2.0))` a heated one."""
    return Side(velocity, scalars=scalars)


def slip(**scalars: Any) -> Side:
    """A plane of symmetry: nothing crosses it, no friction along it."""
    return Side(sticking=False, scalars=scalars)


def inflow(
    velocity: FieldLike, ramp: Callable[[Array], Array] | None = None, **scalars: Any
) -> Side:
    """Fluid enters with `velocity` (a function of the point, or constants), times `ramp(time)`, and
    brings the given values of scalars; of one that is not given, what the first cell holds."""
    return Side(velocity, ramp, scalars=scalars)


def outflow(**scalars: Any) -> Side:
    """Fluid leaves: zero pressure, and velocity and scalars are carried out. Where it comes back,
    it brings no momentum, and the given values of scalars; of one that is not given, what the last
    cell holds. Nothing diffuses through."""
    return Side(crossing=False, sticking=False, scalars=scalars)


Sides = Sequence[None | Side | tuple[Side, Side]]
"""One entry per axis: the lower and the upper side, one for both, or None for a periodic axis."""

Plane = tuple[Array | None, ...]
"""Each component's value on a side, None where it is not given."""


class Boundary(eqx.Module):
    """The sides of a grid with their velocities evaluated; `at(time)` gives these, and `scalars`
    what is given there of those of the equation, by `names`. In a frame that moves, its velocity
    at a time, `drift(time)`, is taken off."""

    trainable_fields = ()

    sides: tuple[tuple[Side, Side] | None, ...]
    planes: tuple[tuple[Plane, Plane] | None, ...]
    scalars: dict[str, ScalarSides]
    drift: Callable[[Array], Array] | None

    def __init__(self, sides: Sides | None, grid: Cells, names: Sequence[str] = ()):
        given = (None,) * grid.ndim if sides is None else tuple(sides)
        if len(given) != grid.ndim:
            raise ValueError(f"sides must have {grid.ndim} entries, one per axis; got {len(given)}")
        pairs: list[tuple[Side, Side] | None] = []
        for axis, (pair, periodic) in enumerate(zip(given, grid.periodic, strict=True)):
            if periodic and pair is not None:
                raise ValueError(f"axis {axis} is periodic, its entry of sides must be None")
            if not periodic:
                pair = wall() if pair is None else pair
                pair = pair if isinstance(pair, tuple) else (pair, pair)
            pairs.append(pair)  # type: ignore[arg-type]
        self.sides = tuple(pairs)
        self.planes = tuple(
            None if pair is None else (_plane(pair[0], grid, a, 0), _plane(pair[1], grid, a, -1))
            for a, pair in enumerate(pairs)
        )
        self._check_balance(grid)
        self._check_scalars(names)
        self.scalars = {name: self._scalar_sides(name, grid) for name in names}
        self.drift = None

    @property
    def closed(self) -> bool:
        """Whether no side lets fluid out freely, so that the pressure has no level."""
        return all(pair is None or all(side.crossing for side in pair) for pair in self.sides)

    def at(self, time: Array) -> tuple[tuple[Plane, Plane] | None, ...]:
        """The velocities on the sides: for each axis None or those of the lower and upper side."""

        def scaled(side: Side, plane: Plane) -> Plane:
            if side.ramp is not None:
                factor = side.ramp(time)
                plane = tuple(None if value is None else factor * value for value in plane)
            if self.drift is None:
                return plane
            frame = self.drift(time)
            return tuple(
                None if value is None else value - frame[axis] for axis, value in enumerate(plane)
            )

        return tuple(
            None
            if pair is None or planes is None
            else (scaled(pair[0], planes[0]), scaled(pair[1], planes[1]))
            for pair, planes in zip(self.sides, self.planes, strict=True)
        )

    def holds(self, axis: int) -> tuple[bool, bool]:
        """Whether the velocity across the lower and the upper side of an axis is given (a periodic
        axis has none that are open)."""
        pair = self.sides[axis]
        return (True, True) if pair is None else (pair[0].crossing, pair[1].crossing)

    def _scalar_sides(self, name: str, grid: Cells) -> ScalarSides:
        pairs: list[tuple[Condition | None, Condition | None] | None] = []
        for axis, pair in enumerate(self.sides):
            if pair is None:
                pairs.append(None)
                continue
            low, high = (conditions(side.scalars).get(name) for side in pair)
            pairs.append((with_values(low, grid, axis, 0), with_values(high, grid, axis, -1)))
        return ScalarSides(tuple(pairs), tuple(self.holds(axis) for axis in range(grid.ndim)))

    def _check_scalars(self, names: Sequence[str]) -> None:
        for axis, pair in enumerate(self.sides):
            for end, side in zip(("lower", "upper"), pair or (), strict=False):
                where = f"the {end} side of axis {axis}"
                for name, condition in side.scalars.items():
                    if name not in names:
                        raise ValueError(
                            f"{where} says what {name!r} does there, but the scalars of the "
                            f"equation are {sorted(names)}"
                        )
                    if isinstance(condition, Flux) and not side.crossing:
                        raise ValueError(
                            f"nothing diffuses through an outflow: {where} takes no flux of "
                            f"{name}, only the value that fluid brings that comes back"
                        )

    def _check_balance(self, grid: Cells) -> None:
        if not self.closed or not checks.is_concrete(self.planes):
            return
        net, gross = 0.0, 0.0
        for axis, planes in enumerate(self.planes):
            for sign, plane in zip((1, -1), planes or (), strict=False):
                across = plane[axis]
                flux = 0.0 if across is None else float(jnp.sum(across * _areas(grid, axis)))
                net, gross = net + sign * flux, gross + abs(flux)
        if abs(net) > 1e-5 * gross:
            raise ValueError(
                f"inflow must balance outflow where no side is an `outflow()`: {net:g} more comes "
                f"in than leaves, of {gross:g} through all sides"
            )


def _plane(side: Side, grid: Cells, axis: int, end: int) -> Plane:
    """The given components of a side's velocity, of size one along its axis."""
    values: list[Array | None] = []
    for component in range(grid.ndim):
        if not (side.crossing if component == axis else side.sticking):
            values.append(None)
            continue
        lines = list(grid.lines_at(face(component)))
        lines[axis] = np.array([grid.edges[axis][end]])
        where = points_of(lines, grid.dtype)
        values.append(component_of(side.velocity, where, component, grid.ndim))
    return tuple(values)


def _areas(grid: Cells, axis: int) -> Array:
    """Of the faces of a side across `axis`."""
    lines = [np.ones(1) if a == axis else h for a, h in enumerate(grid.widths)]
    return jnp.asarray(outer(lines), grid.dtype)
