"""Numerical solutions seen as fields: values on a grid turned into a function of the point."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.periodic import Periodic


class Interpolant(eqx.Module):
    """Trigonometric in space, polynomial in time; made by `interpolate`."""

    grid: Periodic
    coefficients: Array
    times: Array | None
    degree: int = eqx.field(static=True)
    quantity: str | None = eqx.field(static=True, default=None)

    def __call__(self, point: Float[Array, " dim"]) -> Array:
        """The value at `(x_1, .., x_d)`, or at `(x_1, .., x_d, t)` for a trajectory."""
        coefficients = self.coefficients
        if self.times is not None:
            coefficients = self._at(self.times, point[-1])
        for axis in range(self.grid.ndim):
            waves = _waves(self.grid, axis, point[axis])
            first = coefficients.ndim - (self.grid.ndim - axis)
            coefficients = jnp.tensordot(coefficients, waves, axes=(first, 0))
        return coefficients.real

    def _at(self, all_times: Array, time: Array) -> Array:
        """Lagrange polynomial through the `degree + 1` frames around `time`."""
        count = self.degree + 1
        nearest = jnp.searchsorted(all_times, jax.lax.stop_gradient(time)) - count // 2
        start = jnp.clip(nearest, 0, all_times.shape[0] - count)
        times = jax.lax.dynamic_slice_in_dim(all_times, start, count)
        frames = jax.lax.dynamic_slice_in_dim(self.coefficients, start, count)
        weights = []
        for i in range(count):
            others = np.arange(count) != i
            weights.append(
                jnp.prod(((time - times) / jnp.where(others, times[i] - times, 1.0))[others])
            )
        return jnp.tensordot(jnp.stack(weights), frames, axes=1)


def _waves(grid: Periodic, axis: int, position: Array) -> Array:
    n = grid.shape[axis]
    modes = np.fft.fftfreq(n, 1 / n)
    phase = 2 * np.pi / grid.lengths[axis] * modes * (position - grid.origin[axis])
    # The Nyquist mode stands for both signs of its wavenumber: the cosine keeps the interpolant
    # real.
    nyquist = (np.abs(modes) == n / 2) & (n > 1)
    return jnp.where(nyquist, jnp.cos(phase) + 0j, jnp.exp(1j * phase)) / n


def interpolate(
    grid: Periodic, values: Any, times: Any = None, degree: int = 4, quantity: str | None = None
) -> Interpolant:
    """The field through values on a periodic grid. For the field that the residual of an equation
    takes, through the states of a rollout, see `Equation.field_of`.

    **Arguments:**

    - `grid`: where the values are.
    - `values`: one state `(*value, *grid)`, or with `times` a trajectory `(frames, *value, *grid)`.
    - `times`: increasing times of the frames, `(frames,)`; the field then takes points `(x_1, ..,
      x_d, t)`.
    - `degree`: of the polynomial in time; the error in time is of order `degree + 1`.
    - `quantity`: what the values are where an equation judges another quantity than its unknown,
      such as "stream function" for `NavierStokes2D`, whose unknown is the vorticity.

    **Raises:** ValueError where shapes do not fit, times do not increase, or there are fewer than
    `degree + 1` frames.
    """
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
                f"degree {degree} needs at least {degree + 1} frames, got {len(times)}"
            )
    coefficients = jnp.fft.fftn(values, axes=tuple(range(-grid.ndim, 0)))
    return Interpolant(grid, coefficients, times, degree, quantity)
