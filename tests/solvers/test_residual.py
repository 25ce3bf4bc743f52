"""The tie between the two uses of an equation: the residual of an interpolated numerical solution
vanishes at the order of the interpolation in time, and notices every wrong parameter.
"""

import jax
import jax.numpy as jnp
import pytest

import jaxpbdl as jp
from jaxpbdl import equations as eq
from jaxpbdl import learning
from tests.cases import every_case_in_time, smooth, solenoidal

pytestmark = pytest.mark.x64
DEGREE = (
    3  # of the interpolation: its time derivative is of this order at the middle of an interval
)


@every_case_in_time
def test_residual_of_the_solution_vanishes(case):
    factor = {1: 4, 2: 3, 3: 2}[len(case.shape)]
    grid = case.grid().resized(tuple(factor * n for n in case.shape))
    true, intervals = case.make(), 12
    interval = case.time / intervals

    @jax.jit
    def run():
        step = jp.solvers.spectral.semilinear(true, grid, interval / 8)
        return jp.rollout(step, case.state(grid), 8 * intervals, every=8)

    @jax.jit
    def largest(judge, field, time):
        """Largest residual at some points of one instant, relative to the time derivative there."""
        unit = jax.random.uniform(jax.random.key(0), (4, grid.ndim))
        points = jnp.append(unit * jnp.asarray(grid.lengths), jnp.full((4, 1), time), axis=1)
        size = jax.lax.map(jp.fields.time_derivative(field), points)
        residuals = jax.lax.map(lambda point: judge.residual(field, point), points)
        return jnp.max(jnp.abs(residuals)) / jnp.max(jnp.abs(size))

    snapshots, times = run(), interval * jnp.arange(intervals + 1)

    def residual(judge, every):
        field = true.field_of(grid, snapshots[::every], times[::every], DEGREE)
        return float(largest(judge, field, case.time / 2 + 0.25 * every * interval))

    fine = residual(true, 1)
    assert fine < 1e-3
    assert fine < residual(true, 2) / 2 ** (DEGREE - 0.5)

    leaves, tree = jax.tree.flatten(true)
    for i in range(len(leaves)):
        changed = [leaf * (1.2 if j == i else 1.0) for j, leaf in enumerate(leaves)]
        wrong = residual(jax.tree.unflatten(tree, changed), 1)
        assert wrong > 5 * fine, f"parameter {i} goes unnoticed"


@pytest.mark.parametrize("flow", [eq.NavierStokes2D(0.05), eq.NavierStokes3D(0.05)], ids=type)
def test_fault_17_a_field_of_another_quantity_is_refused(flow):
    """The vorticity has the shape of the stream function: a residual of it would be of order 100
    for a solved flow, without an error."""
    ndim = 2 if isinstance(flow, eq.NavierStokes2D) else 3
    grid = jp.grids.Periodic((12,) * ndim)
    times = 0.1 * jnp.arange(5)
    state = solenoidal(grid) if ndim == 3 else smooth(grid)
    states = jp.rollout(jp.solvers.spectral.semilinear(flow, grid, 0.1), state, 4)
    points = jnp.full((3, ndim + 1), 0.2)
    raw = jp.fields.interpolate(grid, states, times)
    judges = (learning.residual_loss, learning.residual_at)
    for judge in judges:
        with pytest.raises(ValueError, match=r"judges fields of .*field_of\(grid, states, times"):
            judge(flow, raw, points)
    with pytest.raises(ValueError, match=f"{type(flow).__name__} judges fields of"):
        flow.residual(raw, points[0])
    right = flow.field_of(grid, states, times)
    assert learning.residual_loss(flow, right, points) < 1e-4
    with pytest.raises(ValueError, match="AllenCahn judges fields of its own unknown"):
        learning.residual_loss(eq.AllenCahn(), right, points)
    with pytest.raises(ValueError, match="states must have shape"):
        flow.field_of(grid, states[1:], times)


def test_a_named_quantity_is_taken():
    """A stream function of one's own: u = sin y carries nothing along, viscosity alone acts."""
    grid, times = jp.grids.Periodic((4, 12)), jnp.linspace(0, 1, 9)
    stream = -jnp.cos(grid.coordinates[1]) * jnp.exp(-0.1 * times)[:, None, None]
    field = jp.fields.interpolate(grid, stream, times, 8, quantity="stream function")
    point = jnp.array([0.3, 0.4, 0.5])
    assert jnp.abs(eq.NavierStokes2D(0.1).residual(field, point)) < 1e-7
    assert jnp.abs(eq.NavierStokes2D(0.2).residual(field, point)) > 1e-2
