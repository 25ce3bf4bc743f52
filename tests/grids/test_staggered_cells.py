"""Staggered grids: where values lie, graded edges, means between cells and faces."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp


def test_components_lie_on_their_faces():
    grid = jp.grids.Cells((4, 5), (2.0, 1.0), (-1.0, 3.0), periodic=(True, False))
    assert grid.shape_at(jp.grids.face(0)) == (4, 5) and grid.shape_at(jp.grids.face(1)) == (4, 6)
    np.testing.assert_allclose(grid.points_at(jp.grids.face(0))[1, 0], [-0.5, 3.1], atol=1e-6)
    np.testing.assert_allclose(grid.points_at(jp.grids.face(1))[0, 5], [-0.75, 4.0], atol=1e-6)
    assert [part.shape for part in grid.velocity()] == [(4, 5), (4, 6)]
    u, v = grid.velocity(lambda point: jnp.stack([point[0], point[1] ** 2]))
    np.testing.assert_allclose(u, grid.points_at(jp.grids.face(0))[..., 0])
    np.testing.assert_allclose(v, grid.points_at(jp.grids.face(1))[..., 1] ** 2)


def test_graded_edges():
    edges = jp.grids.graded(0.0, 10.0, (2.0, 3.0), 0.1, growth=1.1)
    h = np.diff(edges)
    assert edges[0] == pytest.approx(0) and edges[-1] == pytest.approx(10)
    middle = (edges[:-1] > 2 - 1e-9) & (edges[1:] < 3 + 1e-9)
    np.testing.assert_allclose(h[middle], 0.1)
    assert np.all(h[1:] / h[:-1] < 1.11) and np.all(h[:-1] / h[1:] < 1.11)
    grid = jp.grids.Cells((len(h), 4), edges=(edges, None))
    np.testing.assert_allclose(grid.volumes.sum(), 10.0, rtol=1e-6)


@pytest.mark.parametrize("periodic", [False, True, (True, False)])
def test_means_of_linear_fields_are_exact(periodic):
    grid = jp.grids.Cells((6, 5), (1.0, 2.0), periodic=periodic)
    velocity = grid.velocity((0.5, -2.0))
    cells = grid.to_cells(velocity)
    np.testing.assert_allclose(cells[0], 0.5, rtol=1e-6)
    np.testing.assert_allclose(cells[1], -2.0, rtol=1e-6)
    faces = grid.to_faces(cells)
    for u, full in zip(faces, velocity, strict=True):
        np.testing.assert_allclose(u[1:-1, 1:-1], full[1:-1, 1:-1], rtol=1e-6)


def test_gaps_between_centres():
    """Half a cell at a side of the box; at both ends of a periodic axis that across its seam."""
    edges = (0.0, 1.0, 3.0, 6.0, 10.0)
    walls, ring = (
        jp.grids.Cells(4, edges=(edges,), periodic=periodic).gaps[0] for periodic in (False, True)
    )
    np.testing.assert_allclose(walls, [0.5, 1.5, 2.5, 3.5, 2.0])
    np.testing.assert_allclose(ring, [2.5, 1.5, 2.5, 3.5, 2.5])


def test_vorticity_of_solid_rotation():
    grid = jp.grids.Cells((5, 6), (1.0, 2.0))
    turning = grid.velocity(lambda point: jnp.stack([-point[1], point[0]]))
    np.testing.assert_allclose(grid.vorticity(turning), 2.0, rtol=1e-5)
    deep = jp.grids.Cells((4, 4, 4))
    with pytest.raises(ValueError, match="two dimensions"):
        deep.vorticity(deep.velocity())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: jp.grids.Cells((8,) * 7), "1 to 6 axes"),
        (lambda: jp.grids.Cells((8, 3)), ">= 4"),
        (lambda: jp.grids.Cells((8, 8), -1.0), "lengths"),
        (lambda: jp.grids.Cells((8, 8), periodic=(True,)), "periodic must be one or 2"),
        (lambda: jp.grids.Cells((4, 4), edges=([0, 1, 2, 3], None)), "must be 5"),
        (lambda: jp.grids.Cells((4, 4), edges=([0, 1, 1, 3, 4], None)), "must increase"),
        (lambda: jp.grids.graded(0, 1, (0.5, 2.0), 0.1), "within 0..1"),
        (lambda: jp.grids.graded(0, 1, (0.2, 0.4), 0.1, growth=0.9), "at least 1"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [jp.grids.Periodic, jp.grids.Cells])
def test_double_precision_is_refused_by_every_grid_where_jax_has_single(make):
    with pytest.raises(ValueError, match="dtype float64 needs"):
        make(8, dtype=np.float64)
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got int32"):
        make(8, dtype=np.int32)
