"""Coil currents for a plasma shape: targets, the measure of a boundary, a search that lowers it."""

import json
from types import SimpleNamespace

import equinox as eqx
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


class Task(eqx.Module):
    """A search whose residuals are linear in the currents; `refused` are told by their number."""

    plasma: np.ndarray


def steps_of(monkeypatch, refused, steps):
    """What the search finds, the currents that it tried, and the plasmas that it began from."""
    generator = np.random.default_rng(0)
    matrix, right = generator.normal(size=(5, 3)), generator.normal(size=5)
    tried, begun = [], []

    def linearised(task, currents):
        tried.append(np.asarray(currents))
        begun.append(float(task.plasma))
        number = len(tried) - 1
        residual = 1.0 if number in refused else 0.0
        found = SimpleNamespace(residual=residual, plasma=np.asarray(float(number)), number=number)
        return SimpleNamespace(residuals=matrix @ currents - right, jacobian=matrix, found=found)

    monkeypatch.setattr(tokamak_shape, "linearised", linearised)
    start = np.asarray([1.0, 2.0, 3.0])
    found = tokamak_shape.levenberg(Task(np.asarray(-1.0)), jnp.asarray(start), steps)
    return found, tried, begun, matrix, right


def damped(matrix, right, currents, damping):
    """The least squares in which a change of each current costs its column times the damping."""
    sizes = np.diag(np.sqrt(damping * np.sum(matrix**2, axis=0)))
    rows = np.concatenate([matrix, sizes])
    off = np.concatenate([right - matrix @ currents, np.zeros(3)])
    return currents + np.linalg.lstsq(rows, off, rcond=None)[0]


@pytest.mark.stand_ins
def test_a_damped_search(monkeypatch):
    """Less damping after each step that helps, more where an equilibrium is not found; the next one
    begins from the last that was."""
    found, tried, begun, matrix, right = steps_of(monkeypatch, {1}, 4)
    start = tried[0]
    np.testing.assert_allclose(tried[1], damped(matrix, right, start, 1e-3), rtol=1e-9)
    np.testing.assert_allclose(tried[2], damped(matrix, right, start, 5e-3), rtol=1e-9)
    np.testing.assert_allclose(tried[3], damped(matrix, right, tried[2], 1e-3), rtol=1e-9)
    assert begun == [-1, -1, -1, 2] and found.solves == 4
    assert found.equilibrium.number == 3
    assert found.loss == pytest.approx(np.sum((matrix @ tried[3] - right) ** 2))
    # At the least sum of squares it ends by itself.
    found = steps_of(monkeypatch, set(), 50)[0]
    assert found.solves < 10


@pytest.mark.stand_ins
def test_residuals_of_a_known_flux():
    """A parabola across a plasma of half width 0.2, that is 1 cm beyond the point: nearly a
    centimetre of residual; the field at the X-point in the same units."""
    width = 0.2
    found = SimpleNamespace(
        axis_flux=3.0, boundary_flux=1.0, psi=lambda r: 3 - 2 * (r / width) ** 2,
        currents=jnp.asarray([4e3]),
    )  # fmt: skip
    grid = SimpleNamespace(
        at_each=lambda psi, points: psi(points[:, 0]),
        gradient_at=lambda psi, point: jnp.asarray([0.5, -1.0]),
    )
    search = tokamak_shape.Search(
        SimpleNamespace(grid=grid), None, None, jnp.asarray([[0.19, 0.0]]), None, width, 0.1
    )
    unit = 100 * width / (2 * 2)
    expected = [unit * 2 * (1 - 0.95**2), unit * 0.1 * width * 0.5, -unit * 0.1 * width]
    residuals = np.asarray(search.residuals(found))
    np.testing.assert_allclose(residuals[:3], expected, rtol=1e-9)
    assert residuals[0] == pytest.approx(1, abs=0.03)
    assert residuals[3] == pytest.approx(4 * tokamak_shape.SMALL)


@pytest.mark.stand_ins
def test_figures_of_all_targets(tmp_path, monkeypatch):
    """The largest error of all targets, and the sum of the solves; the highest X-point counts."""
    targets = {"one": TARGET, "two": TARGET._replace(diverted=True)}
    monkeypatch.setattr(tokamak_shape, "TARGETS", targets)
    monkeypatch.setattr(tokamak_shape, "machine", lambda config: SimpleNamespace(grid=None))
    searches = iter([1.0, 5.0])
    monkeypatch.setattr(
        tokamak_shape,
        "search",
        lambda *_: (SimpleNamespace(solve=lambda start: start), next(searches)),
    )
    x_points = jnp.asarray([[0.0, 0.0], targets["two"].x_point + np.asarray([0.03, 0.04])])
    surfaces = SimpleNamespace(
        x_flux=jnp.asarray([1.0, 2.0]), x_points=x_points, limited=jnp.asarray(True)
    )
    one = SimpleNamespace(surfaces=surfaces, currents=jnp.asarray([3e3, -8e3]))
    monkeypatch.setattr(
        tokamak_shape, "levenberg", lambda task, start, steps: tokamak_shape.Found(one, 0.0, start)
    )
    monkeypatch.setattr(
        tokamak_shape,
        "simplex",
        lambda task, start, solves, loss: tokamak_shape.Found(one, 0.0, 10 * start),
    )
    errors = iter([9.0, 1.0, 2.0, 8.0, 4.0, 3.0])  # of start, search and simplex
    monkeypatch.setattr(tokamak_shape, "boundary_error", lambda *_: next(errors))
    monkeypatch.setattr(tokamak_shape, "_picture", lambda *_: None)
    found = tokamak_shape.run(Config(), tmp_path).metrics
    assert (found["one.start_error_cm"], found["two.start_error_cm"]) == (9, 8)
    assert found["boundary_error_cm"] == 4 and found["free.boundary_error_cm"] == 3
    assert found["solves"] == 6 and found["free.solves"] == 60
    assert found["two.x_point_error_cm"] == pytest.approx(5)
    assert "one.x_point_error_cm" not in found
    assert found["one.largest_current_kA"] == 8 and found["one.limited"] == 1


TARGET = Target(0.9, 0.2, 1.4, 0.3, False)


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
