"""The tie between the two uses of an equation: the residual of an interpolated numerical solution
vanishes at the order of the interpolation in time, and notices every wrong parameter.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from tests.cases import every_case

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


def largest_residual(case, intervals, equation=None):
    """Largest residual over some points away from the grid's, in the middle interval of time."""
    factor = {1: 4, 2: 2, 3: 1.5}[len(case.shape)]
    grid = case.grid().resized(tuple(round(factor * n) for n in case.shape))
    true, dt, inner = case.make(), case.time / 24, 24 // intervals

    @jax.jit
    def run(judge):
        step = jp.solvers.spectral(true, grid, dt / 8)
        frames = jp.rollout(step, case.state(grid), 8 * 24, every=8 * inner)
        times = dt * inner * jnp.arange(len(frames))
        field = field_of(true, grid, frames, times)
        unit = jax.random.uniform(jax.random.key(0), (4, grid.ndim))
        middle = jnp.full((4, 1), case.time / 2 + 0.25 * dt * inner)
        points = jnp.concatenate([unit * jnp.asarray(grid.lengths), middle], axis=1)
        size = jax.vmap(jp.fields.time_derivative(field))(points)
        residuals = jax.lax.map(lambda point: judge.residual(field, point), points)
        return jnp.max(jnp.abs(residuals)), jnp.max(jnp.abs(size))

    residual, size = run(true if equation is None else equation)
    return float(residual / size)


@every_case
def test_residual_of_the_solution_vanishes(case):
    coarse, fine = largest_residual(case, 6), largest_residual(case, 12)
    assert fine < 1e-3
    assert fine < coarse / 2 ** (DEGREE - 0.5)

    true = case.make()
    leaves, tree = jax.tree.flatten(eqx.filter(true, eqx.is_array))
    for i in range(len(leaves)):
        changed = [leaf * (1.2 if j == i else 1.0) for j, leaf in enumerate(leaves)]
        wrong = eqx.combine(jax.tree.unflatten(tree, changed), true)
        assert largest_residual(case, 12, wrong) > 5 * fine, f"parameter {i} goes unnoticed"
