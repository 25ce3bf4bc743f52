"""Interpolation of values in cells."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp

pytestmark = pytest.mark.x64


@pytest.mark.parametrize("periodic", [(True, False), (False, False)])
def test_fifth_order_also_on_graded_cells(periodic):
    def smooth(x, y):
        return jnp.sin(2 * jnp.pi * x + 0.3) * jnp.exp(-y) + y

    points = jax.random.uniform(jax.random.key(0), (200, 2))

    def error(n):
        lines = [np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1) ** 1.2]
        grid = jp.grids.Cells((n, n), edges=lines, periodic=periodic)
        field = jp.fields.interpolate(grid, smooth(*grid.coordinates))
        return float(jnp.max(jnp.abs(jax.vmap(field)(points) - smooth(points[:, 0], points[:, 1]))))

    assert error(16) < 5e-3 and error(16) / error(32) > 2**4.5


def test_trajectories_of_several_components():
    grid = jp.grids.Cells((6, 5), (1.0, 2.0))
    times = jnp.linspace(0, 1, 7)
    x, y = grid.coordinates
    values = jnp.stack([jnp.stack([t * x, x * y + t**2]) for t in times])
    field = jp.fields.interpolate(grid, values, times)
    np.testing.assert_allclose(
        field(jnp.array([0.31, 1.1, 0.77])), [0.77 * 0.31, 0.31 * 1.1 + 0.77**2]
    )
    slope = jax.jacfwd(field)(jnp.array([0.31, 1.1, 0.77]))
    np.testing.assert_allclose(slope, [[0.77, 0, 0.31], [1.1, 0.31, 1.54]], atol=1e-10)


def test_integrals_and_locations():
    grid = jp.grids.Cells((4, 5, 6), (1.0, 2.0, 3.0), periodic=(True, False, False))
    assert float(grid.integral(jnp.ones(grid.shape))) == pytest.approx(6.0)
    g = jp.grids
    shapes = {g.cell: (4, 5, 6), g.node: (4, 6, 7), g.face(1): (4, 6, 6), g.edge(1): (4, 5, 7)}
    assert {location: grid.shape_at(location) for location in shapes} == shapes
    np.testing.assert_allclose(grid.points_at(g.edge(1))[0, 0, 0], [0.0, 0.2, 0.0])
    with pytest.raises(ValueError, match=r"axis of a face must be in 0..2, got 3"):
        grid.shape_at(g.face(3))
    with pytest.raises(ValueError, match="values must end with the axes"):
        grid.integral(jnp.ones((4, 5)))
    plane = g.Periodic((4, 5), (1.0, 2.0))
    np.testing.assert_allclose(plane.integral(jnp.ones((3, 4, 5))), [2.0, 2.0, 2.0])
