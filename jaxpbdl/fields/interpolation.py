"""Numerical solutions seen as fields: values on a grid turned into a function of the point."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.grid import Grid
from jaxpbdl.grids.sphere import Sphere


class Interpolant(eqx.Module):
    """Trigonometric along periodic points, a local polynomial along cells and in time; created by
    `interpolate`."""

    grid: Grid
    coefficients: Array
    lines: tuple[Array | None, ...]
    times: Array | None
    degree: int = eqx.field(static=True)
    quantity: str | None = eqx.field(static=True, default=None)

    def __call__(self, point: Float[Array, " dim"]) -> Array:
        """The value at `(x_1, .., x_d)`, or at `(x_1, .., x_d, t)` for a trajectory."""
        coefficients = self.coefficients
        if self.times is not None:
            coefficients = _polynomial(coefficients, 0, self.times, point[-1], self.degree)
        for axis, line in enumerate(self.lines):
            first = coefficients.ndim - (self.grid.ndim - axis)
            if line is None:
                waves = _waves(self.grid, axis, point[axis])
                coefficients = jnp.tensordot(coefficients, waves, axes=(first, 0))
            else:
                degree = min(SPACE_DEGREE, len(line) - 1)
                coefficients = _polynomial(coefficients, first, line, point[axis], degree)
        return coefficients.real


SPACE_DEGREE = 4
"""Of the polynomial through the centres of cells around a point."""


def _polynomial(values: Array, axis: int, nodes: Array, position: Array, degree: int) -> Array:
    """Lagrange polynomial along an axis through the `degree + 1` nodes around a position."""
    count = degree + 1
    nearest = jnp.searchsorted(nodes, jax.lax.stop_gradient(position)) - count // 2
    start = jnp.clip(nearest, 0, nodes.shape[0] - count)
    near = jax.lax.dynamic_slice_in_dim(nodes, start, count)
    around = jax.lax.dynamic_slice_in_dim(values, start, count, axis)
    weights = []
    for i in range(count):
        others = np.arange(count) != i
        weights.append(
            jnp.prod(((position - near) / jnp.where(others, near[i] - near, 1.0))[others])
        )
    return jnp.tensordot(jnp.stack(weights), around, axes=(0, axis))


def _waves(grid: Grid, axis: int, position: Array) -> Array:
    n = grid.shape[axis]
    modes = np.fft.fftfreq(n, 1 / n)
    phase = 2 * np.pi / grid.lengths[axis] * modes * (position - float(grid.lines[axis][0]))
    # The Nyquist mode stands for both signs of its wavenumber: the cosine keeps the interpolant
    # real.
    nyquist = (np.abs(modes) == n / 2) & (n > 1)
    return jnp.where(nyquist, jnp.cos(phase) + 0j, jnp.exp(1j * phase)) / n


def _continued(values: Array, grid: Cells, axis: int) -> tuple[Array, Array]:
    """The values and centres along an axis of cells, a periodic one continued at both ends by what
    a polynomial reaches."""
    centres, last = grid.centres[axis], axis - grid.ndim
    if grid.periodic[axis]:
        reach, length = min(SPACE_DEGREE, len(centres)), grid.lengths[axis]
        padding = [(0, 0)] * values.ndim
        padding[last] = (reach, reach)
        values = jnp.pad(values, padding, mode="wrap")
        ends = centres[-reach:] - length, centres[:reach] + length
        centres = np.concatenate([ends[0], centres, ends[1]])
    return values, jnp.asarray(centres, grid.dtype)


def interpolate(
    grid: Grid,
    values: ArrayLike,
    times: ArrayLike | None = None,
    degree: int = 4,
    quantity: str | None = None,
) -> Interpolant:
    """The field through values on a grid: exact up to truncation on periodic points, of fifth
    order in the width of cells. For the field that the residual of an equation
    takes, through the states of a rollout, see `Equation.field_of`.

    **Arguments:**

    - `grid`: where the values are.
    - `values`: one state `(*value, *grid)`, or with `times` a trajectory `(snapshots, *value,
      *grid)`.
    - `times`: increasing times of the snapshots, `(snapshots,)`; the field then takes points
      `(x_1, .., x_d, t)`.
    - `degree`: of the polynomial in time; the error in time is of order `degree + 1`.
    - `quantity`: what the values are where an equation judges another quantity than its unknown,
      such as "stream function" for `NavierStokes2D`, whose unknown is the vorticity.

    **Raises:** ValueError where shapes do not fit, times do not increase, or there are fewer than
    `degree + 1` snapshots.
    """
    if isinstance(grid, Sphere):
        raise ValueError(
            "grid must be a box, got a Sphere, whose distances grow from pole to equator: evaluate "
            "its spherical harmonics instead"
        )
    values = jnp.asarray(values)
    if values.shape[values.ndim - grid.ndim :] != grid.shape:
        raise ValueError(f"values must end in the grid's shape {grid.shape}, got {values.shape}")
    if times is not None:
        times = jnp.asarray(times)
        checks.shape("times", times, (values.shape[0],))
        checks.count("degree", degree)
        if checks.is_concrete(times) and not bool(jnp.all(jnp.diff(times) > 0)):
            raise ValueError(f"times must be increasing, got {np.asarray(times)}")
        if len(times) <= degree:
            raise ValueError(
                f"degree {degree} needs at least {degree + 1} snapshots, got {len(times)}"
            )
    if isinstance(grid, Cells):
        lines = []
        for axis in range(grid.ndim):
            values, line = _continued(values, grid, axis)
            lines.append(line)
        return Interpolant(grid, values, tuple(lines), times, degree, quantity)
    coefficients = jnp.fft.fftn(values, axes=tuple(range(-grid.ndim, 0)))
    return Interpolant(grid, coefficients, (None,) * grid.ndim, times, degree, quantity)
