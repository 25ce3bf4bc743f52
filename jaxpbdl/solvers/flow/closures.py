"""Closures of large-eddy simulation: what motions smaller than the cells do to the others."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells, along, close
from jaxpbdl.grids.operators import Ends, Velocity, line, mean, opened, outward, slope
from jaxpbdl.solvers.flow.operators import given_ends
from jaxpbdl.solvers.flow.sides import Plane

Planes: TypeAlias = Sequence[tuple[Plane, Plane] | None]
"""The velocities given on the sides, `step.boundary.at(time)`."""
Closure: TypeAlias = Callable[[Velocity, Planes, Cells], Velocity]
"""From the components on their faces, what is given of them on the sides, and the grid, to an
acceleration on the faces."""


class Strain(NamedTuple):
    """The rate of strain S_ab = (d_a u_b + d_b u_a) / 2, and that of turning, where they live.

    **Attributes:** `normal[a]`: S_aa in the cells; `shear[a, b]`, a < b: S_ab on the edges that lie
    across both axes, those on sides included and repeated where an axis is periodic; `turn[a, b]`:
    (d_b u_a - d_a u_b) / 2 there.
    """

    normal: tuple[Array, ...]
    shear: dict[tuple[int, int], Array]
    turn: dict[tuple[int, int], Array]


def strain_rate(velocity: Velocity, planes: Planes, grid: Cells) -> Strain:
    """The rate of strain of components on their faces, by differences of second order (of first on
    sides that the fluid sticks to, half a cell from the next value)."""
    closed = [close(u, axis, grid.periodic[axis]) for axis, u in enumerate(velocity)]
    normal, shear, turn = [], {}, {}
    for a, u in enumerate(closed):
        n = grid.shape[a]
        rise = along(u, a, 1, n + 1) - along(u, a, 0, n)
        normal.append(rise * line(1 / grid.widths[a], a, grid))
        for b in range(a + 1, grid.ndim):
            across = slope(u, b, grid, given_ends(planes, b, a, grid))
            along_it = slope(closed[b], a, grid, given_ends(planes, a, b, grid))
            shear[a, b] = (across + along_it) / 2
            turn[a, b] = (across - along_it) / 2
    return Strain(tuple(normal), shear, turn)


class EddyViscosity(eqx.Module):
    """A closure that is the divergence of 2 nu_t S, with the eddy viscosity

        nu_t = c delta^2 |S|,   |S| = sqrt(2 S_ij S_ij),   delta = (cell volume)^(1 / dim)

    of a `factor` c >= 0 that a class says. It comes on top of the viscosity of the equation, keeps
    momentum in periodic boxes and takes energy from the flow, never gives any (walls at rest).
    Scalars do not feel it.
    """

    @abstractmethod
    def factor(self, strain: Strain, grid: Cells) -> Array:
        """c, one number or one in each cell."""

    def __call__(self, velocity: Velocity, planes: Planes, grid: Cells) -> Velocity:
        """The acceleration on the faces. Like that of the viscosity, nothing passes through a side
        of a component that is not given there."""
        strain = strain_rate(velocity, planes, grid)
        viscosity = self._from(strain, grid)
        rates = []
        for a, own in enumerate(strain.normal):
            rate = _along_faces(2 * viscosity * own, a, grid)
            for b in range(grid.ndim):
                if b != a:
                    pair = (min(a, b), max(a, b))
                    there = _on_edges(viscosity, pair, grid)
                    stress = 2 * there * strain.shear[pair]
                    ends = given_ends(planes, b, a, grid)
                    rate = rate + outward(_through(stress, b, ends, grid), b, grid)
            rates.append(opened(rate, a, grid))
        return tuple(rates)

    def viscosity(self, velocity: Velocity, planes: Planes, grid: Cells) -> Float[Array, "*cells"]:
        """The eddy viscosity in the cells. Of a state of a step:
        `viscosity(state.velocity, step.boundary.at(state.time), step.grid)`."""
        return self._from(strain_rate(velocity, planes, grid), grid)

    def fastest_decay(self, velocity: Velocity, planes: Planes, grid: Cells) -> Float[Array, ""]:
        """Of the shortest waves under small changes of this velocity: twice what nu_t gives, as
        |S| grows with S."""
        viscosity = self.viscosity(velocity, planes, grid)
        per_cell = sum(line(4 / h**2, axis, grid) for axis, h in enumerate(grid.widths))
        return jnp.max(2 * viscosity * per_cell)

    def _from(self, strain: Strain, grid: Cells) -> Array:
        """nu_t; of shear stresses the mean of the squares on the edges of a cell counts."""
        squares = jnp.sum(2 * jnp.stack(strain.normal) ** 2, axis=0)
        for (a, b), shear in strain.shear.items():
            squares = squares + 4 * in_cells(in_cells(shear**2, a), b)
        factor = jnp.asarray(self.factor(strain, grid), grid.dtype)
        return factor * grid.volumes ** (2 / grid.ndim) * root(squares)


class Smagorinsky(EddyViscosity):
    """Smagorinsky's closure: the divergence of 2 nu_t S, with the eddy viscosity

        nu_t = (C delta)^2 |S|,   |S| = sqrt(2 S_ij S_ij),   delta = (cell volume)^(1 / dim)

    In `incompressible(.., closure=Smagorinsky(0.17))` it comes on top of the viscosity of the
    equation. It keeps momentum in periodic boxes and takes energy from the flow, never gives any
    (walls at rest). It knows no walls: nu_t does not vanish there as it should, so near them the
    flow loses too much. Scalars do not feel it.

    **Arguments:** `constant`: C >= 0; 0.17 is Lilly's value for isotropic turbulence, about 0.1 is
    usual with mean shear. Derivatives reach it; `fit` leaves it alone.

    **Raises:** ValueError for a constant that is negative, not finite or no single number.

    Source: Smagorinsky, Mon. Weather Rev. 91 (1963) 99; Lilly, Proc. IBM Sci. Comput. Symp. on
    Environ. Sci. (1967) 195.
    """

    trainable_fields = ()

    constant: Array

    def __init__(self, constant: ArrayLike = 0.17):
        checks.shape("constant", constant, ())
        checks.non_negative("constant", constant)
        self.constant = jnp.asarray(constant, float)

    def factor(self, strain: Strain, grid: Cells) -> Array:
        return self.constant**2


def root(squares: Array) -> Array:
    """The square root, with slope zero at zero, where it has none: what it multiplies vanishes
    there."""
    still = squares == 0
    return jnp.where(still, 0.0, jnp.sqrt(jnp.where(still, 1.0, squares)))


def closure_decay(
    closure: Closure | None, velocity: Velocity, planes: Planes, grid: Cells
) -> Array | float:
    """The fastest decay by a closure, of one that says it by a method `fastest_decay`; else 0."""
    known = getattr(closure, "fastest_decay", None)
    return 0.0 if known is None else known(velocity, planes, grid)


def in_cells(values: Array, axis: int) -> Array:
    """The mean of the values on both sides of the cells along an axis."""
    n = values.shape[axis] - 1
    return (along(values, axis, 0, n) + along(values, axis, 1, n + 1)) / 2


def _on_edges(values: Array, pair: tuple[int, int], grid: Cells) -> Array:
    """Values of the cells on the edges across two axes, interpolated; on sides those next to it."""
    for axis in pair:
        values = mean(values, axis, grid, (None, None))
    return values


def _along_faces(stress: Array, axis: int, grid: Cells) -> Array:
    """Derivative on all faces across an axis, sides included, of a stress in the cells; beyond a
    side there is none."""
    n = grid.shape[axis]
    first, last = along(stress, axis, 0, 1), along(stress, axis, n - 1, n)
    if not grid.periodic[axis]:
        first, last = jnp.zeros_like(last), jnp.zeros_like(first)
    else:
        first, last = last, first
    padded = jnp.concatenate([first, stress, last], axis)
    difference = along(padded, axis, 1, n + 2) - along(padded, axis, 0, n + 1)
    return difference * line(1 / grid.gaps[axis], axis, grid)


def _through(stress: Array, axis: int, ends: Ends, grid: Cells) -> Array:
    """A stress on the faces across an axis, none on sides where the component is not given."""
    if grid.periodic[axis]:
        return stress
    n = stress.shape[axis]
    parts = [
        along(stress, axis, 0, 1),
        along(stress, axis, 1, n - 1),
        along(stress, axis, n - 1, n),
    ]
    for place, end in zip((0, 2), ends, strict=True):
        if end is None:
            parts[place] = jnp.zeros_like(parts[place])
    return jnp.concatenate(parts, axis)
