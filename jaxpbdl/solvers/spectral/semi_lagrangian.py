"""Semi-Lagrangian discretisation of Burgers' equation: first order, never unstable in advection."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.equations.burgers import Burgers
from jaxpbdl.equations.equation import Equation
from jaxpbdl.fields import Interpolant
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.step import Step


class SemiLagrangianStep(Step):
    """Explicit diffusion, then values carried along the velocity; created by `semi_lagrangian`."""

    trainable_fields = ()

    equation: Burgers
    grid: Periodic
    dt: Array

    def advance(self, working: Array) -> Array:
        velocity = working.reshape(self.grid.ndim, *self.grid.shape)
        velocity = velocity + self.dt * self.equation.viscosity * laplacian(velocity, self.grid)
        return advect(velocity, velocity, self.grid, self.dt).reshape(working.shape)

    @property
    def interval(self) -> Array:
        return self.dt

    def check_state(self, state: PyTree) -> None:
        """Refuse a state of another shape or dtype, or with values that are not finite."""
        checks.finite("state", self.grid.check_state(state, self.equation.value_shape))

    def largest_dt(self, state: PyTree) -> Array:
        """That of explicit diffusion, at any velocity."""
        rate = 2 * self.equation.viscosity * sum(step**-2 for step in self.grid.spacing)
        return 1 / jnp.maximum(rate, 1e-30)

    def channels(self, state: Array) -> Array:
        """The components of the velocity; in one dimension one channel."""
        return state.reshape(-1, *self.grid.shape)

    def equation_and_field(
        self, states: Array, times: Float[Array, " times"], degree: int = 4
    ) -> tuple[Equation, Interpolant]:
        """The equation, and the field that its residual takes through the states of a rollout."""
        return self.equation, self.equation.field_of(self.grid, states, times, degree)


def semi_lagrangian(equation: Burgers, grid: Periodic, dt: ArrayLike) -> SemiLagrangianStep:
    """The step of Burgers' equation that first diffuses (explicit Euler, second-order stencil) and
    then follows the velocity backwards over dt and interpolates linearly (Stam 1999).

    **Arguments:** `equation`; `grid`, periodic; `dt` > 0, at most `1 / (2 viscosity sum_i 1 /
    dx_i^2)`.

    **Raises:** ValueError for a dt that is not positive or above that limit, or a grid of the wrong
    dimension.
    """
    checks.positive("dt", dt)
    equation.check_grid(grid)
    with jax.ensure_compile_time_eval():  # whatever the state: refused before it is there
        step = SemiLagrangianStep(equation, grid, jnp.asarray(dt, grid.dtype))
        step.refuse_above(step.largest_dt(None))
    return step


def laplacian(values: Array, grid: Periodic) -> Array:
    """Second-order Laplacian on the last `grid.ndim` axes, periodic."""
    total = jnp.zeros_like(values)
    for axis, spacing in zip(range(-grid.ndim, 0), grid.spacing, strict=True):
        neighbours = jnp.roll(values, 1, axis) + jnp.roll(values, -1, axis)
        total = total + (neighbours - 2 * values) / spacing**2
    return total


def advect(values: Array, velocity: Array, grid: Periodic, dt: ArrayLike) -> Array:
    """Values at the points that `velocity` carries to the grid's in the time dt, by multilinear
    interpolation.
    """
    values = jnp.asarray(values)
    lower, share = [], []
    for axis in range(grid.ndim):
        index = jnp.arange(grid.shape[axis]).reshape(
            [-1 if a == axis else 1 for a in range(grid.ndim)]
        )
        departure = index - dt * velocity[axis] / grid.spacing[axis]
        floor = jnp.floor(departure)
        lower.append(floor.astype(int))
        share.append(departure - floor)
    total = jnp.zeros_like(values)
    for corner in range(2**grid.ndim):
        offsets = [(corner >> axis) & 1 for axis in range(grid.ndim)]
        where = tuple(
            (low + offset) % n for low, offset, n in zip(lower, offsets, grid.shape, strict=True)
        )
        weight = jnp.ones(())
        for offset, part in zip(offsets, share, strict=True):
            weight = weight * (part if offset else 1 - part)
        total = total + weight * values[(..., *where)]
    return total
