"""A trajectory of any solver before the residual of its own equation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.fields.sampling import Points
from jaxpbdl.grids.grid import Grid
from jaxpbdl.learning.collocation import residual_at
from jaxpbdl.step import Step


def residual_of(
    step: Step,
    states: PyTree,
    times: Float[Array, " times"],
    points: Points | None = None,
    *,
    degree: int = 4,
    count: int = 200,
    key: PRNGKeyArray | None = None,
) -> Float[Array, "points *value"]:
    """What a trajectory leaves of the equation that its solver solves.

        residual_of(step, rollout(step, state, 40), 0.1 * jnp.arange(41))

    The states become the field that the equation's residual takes (a stream function for
    vorticities, velocity and pressure for flows), interpolated in space and time; the residual is
    zero up to the errors of solver and interpolation.

    **Arguments:**

    - `step`: a solver; `states`, `times`: as `rollout` gives them, leaves `(times, ..)`.
    - `points`: `(points, dim + 1)`, coordinates and time; by default `count` at random in the box,
      two cells from its sides, and between the second and the last time but one.
    - `degree`: of the interpolation in time, which needs `degree + 1` states.

    **Returns:** the residual at the points. **Raises:** ValueError where the step solves no
    equation whose residual takes a field, or shapes do not fit.
    """
    equation, field = step.equation_and_field(states, times, degree)
    if points is None:
        points = _inside(field.grid, times, checks.count("count", count), key)
    return residual_at(equation, field, points)


def _inside(grid: Grid, times: Array, count: int, key: PRNGKeyArray | None) -> Points:
    key = jax.random.key(0) if key is None else key
    lower = jnp.asarray([float(line[min(2, len(line) - 1)]) for line in grid.lines])
    upper = jnp.asarray([float(line[max(-3, -len(line))]) for line in grid.lines])
    lower, upper = jnp.append(lower, times[1]), jnp.append(upper, times[-2])
    return lower + (upper - lower) * jax.random.uniform(key, (count, grid.ndim + 1), grid.dtype)
