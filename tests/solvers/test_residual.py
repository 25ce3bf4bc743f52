"""The tie between the two uses of an equation: the residual of an interpolated numerical solution
vanishes at the order of the interpolation in time, and notices every wrong parameter.
"""

import jax
import jax.numpy as jnp
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from tests.cases import every_case_in_time

pytestmark = pytest.mark.x64
DEGREE = (
    3  # of the interpolation: its time derivative is of this order at the middle of an interval
)


def field_of(equation, grid, frames, times):
    """What the residual of the equation takes, through the frames of a rollout."""
    spectrum = jp.Spectrum(grid)
    if isinstance(equation, eq.NavierStokes2D):  # the stream function
        frames = spectrum.to_grid(spectrum.transform(frames) * spectrum.inverse_k_squared)
    if isinstance(equation, eq.NavierStokes3D):
        pressure = jax.vmap(lambda u: equation.pressure(u, spectrum))(frames)
        frames = jnp.concatenate([frames, pressure[:, None]], axis=1)
    return jp.fields.interpolate(grid, frames, times, DEGREE)


@every_case_in_time
def test_residual_of_the_solution_vanishes(case):
    factor = {1: 4, 2: 3, 3: 2}[len(case.shape)]
    grid = case.grid().resized(tuple(factor * n for n in case.shape))
    true, intervals = case.make(), 12
    interval = case.time / intervals

    @jax.jit
    def run():
        step = jp.solvers.spectral(true, grid, interval / 8)
        return jp.rollout(step, case.state(grid), 8 * intervals, every=8)

    @jax.jit
    def largest(judge, field, time):
        """Largest residual at some points of one instant, relative to the time derivative there."""
        unit = jax.random.uniform(jax.random.key(0), (4, grid.ndim))
        points = jnp.append(unit * jnp.asarray(grid.lengths), jnp.full((4, 1), time), axis=1)
        size = jax.lax.map(jp.fields.time_derivative(field), points)
        residuals = jax.lax.map(lambda point: judge.residual(field, point), points)
        return jnp.max(jnp.abs(residuals)) / jnp.max(jnp.abs(size))

    frames, times = run(), interval * jnp.arange(intervals + 1)

    def residual(judge, every):
        field = field_of(true, grid, frames[::every], times[::every])
        return float(largest(judge, field, case.time / 2 + 0.25 * every * interval))

    fine = residual(true, 1)
    assert fine < 1e-3
    assert fine < residual(true, 2) / 2 ** (DEGREE - 0.5)

    leaves, tree = jax.tree.flatten(true)
    for i in range(len(leaves)):
        changed = [leaf * (1.2 if j == i else 1.0) for j, leaf in enumerate(leaves)]
        wrong = residual(jax.tree.unflatten(tree, changed), 1)
        assert wrong > 5 * fine, f"parameter {i} goes unnoticed"
