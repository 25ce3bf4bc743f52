"""Coil currents for a plasma shape: targets, the measure of a boundary, a search that lowers it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.plasma import tokamak_shape
from jaxpbdl.experiments.plasma.tokamak_shape import (
    EXPERIMENT,
    TARGETS,
    Config,
    Target,
    boundary_distances,
    machine,
)
from jaxpbdl.solvers.plasma import Rectangle

pytestmark = pytest.mark.x64


def test_points_of_a_target():
    """Extent, elongation and triangularity are those of the points, to their distance."""
    target = Target(0.9, 0.2, 1.4, 0.3, False)
    r, z = target.points(2000).T
    np.testing.assert_allclose([r.min(), r.max()], [0.7, 1.1], atol=1e-6)
    np.testing.assert_allclose([z.min(), z.max()], [-0.28, 0.28], atol=1e-6)
    assert r[np.argmax(z)] == pytest.approx(0.9 - 0.3 * 0.2, abs=1e-3)
    assert r[np.argmin(z)] == pytest.approx(0.9 - 0.3 * 0.2, abs=1e-3)
    diverted = target._replace(diverted=True)
    np.testing.assert_allclose(diverted.x_point, [0.9 - 1.2 * 0.06, -1.2 * 0.28])
    below = diverted.points(2000)
    assert below[:, 1].max() == pytest.approx(0.28, abs=1e-6)
    assert below[:, 1].min() == pytest.approx(-0.28 * np.cos(1.1), abs=1e-6)


def test_distances_to_a_known_boundary():
    """An ellipse that is off the points by a known length, outwards and inwards; a ray that leaves
    the grid before it meets the surface has none."""
    grid = Rectangle((33, 41), (0.5, -0.6), (1.3, 0.6))
    r, z = grid.coordinates
    axis = jnp.asarray([0.9, 0.05])
    x = ((r - 0.9) / 0.2) ** 2 + ((z - 0.05) / 0.3) ** 2
    angle = np.linspace(0.1, 6.0, 7)
    directions = np.stack([0.2 * np.cos(angle), 0.3 * np.sin(angle)], axis=-1)
    share = np.array([0.9, 0.95, 1.0, 1.05, 1.1, 0.8, 1.2])
    points = np.asarray(axis) + share[:, None] * directions
    found = boundary_distances(grid, x, axis, points)
    expected = (1 - share) * np.linalg.norm(directions, axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.all(np.isnan(boundary_distances(grid, 0.1 * x, axis, points)))


def test_coils_outside_of_the_grid():
    """Twenty, symmetric about the middle plane, none in the grid, one turn each."""
    tokamak = machine(Config(nodes=17))
    r, z = np.asarray(tokamak.coils.r), np.asarray(tokamak.coils.z)
    assert tokamak.coils.turns.shape == (20, 20)
    np.testing.assert_array_equal(tokamak.coils.turns, np.eye(20))
    places = set(zip(r.round(6), z.round(6), strict=True))
    assert places == {(one, round(-other, 6)) for one, other in places} and len(places) == 20
    assert not np.any((r > 0.56) & (r < 1.2) & (abs(z) < 0.85))


def test_a_tiny_run(tmp_path, monkeypatch):
    """A coarse grid: the search comes within half a centimetre, the simplex method does not in
    the solves it has; derivatives of the residuals are those of differences."""
    monkeypatch.setattr(tokamak_shape, "TARGETS", {"elongated": TARGETS["elongated"]})
    config = Config(nodes=25, points=24, steps=10, simplex_solves=40)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["elongated.start_error_cm"] > 2
    assert metrics["elongated.boundary_error_cm"] < 0.5
    assert metrics["elongated_free.boundary_error_cm"] > 0.5
    assert metrics["boundary_error_cm"] == metrics["elongated.boundary_error_cm"]
    assert 2 <= metrics["solves"] <= 10 and metrics["free.solves"] == 40
    assert metrics["elongated.limited"] == 1
    assert (tmp_path / "shapes.png").stat().st_size > 5000
    with jax.enable_x64(True):
        task, start = tokamak_shape.search(machine(config), TARGETS["elongated"], config)
        jacobian = tokamak_shape.linearised(task, start).jacobian
        way = jnp.asarray(np.random.default_rng(0).normal(size=len(start)))
        up, down = (task.residuals(task.solve(start + h * way)) for h in (1e-3, -1e-3))
    size = float(jnp.max(abs(jacobian @ way)))
    np.testing.assert_allclose((up - down) / 2e-3 / size, jacobian @ way / size, atol=1e-4)


def test_settings():
    with pytest.raises(ValueError, match="ridge must be finite and > 0, got 0"):
        Config(ridge=0.0)
