"""Points fill their box as their law says, and follow the residual."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxpbdl import fields, shapes
from jaxpbdl.fields import Box

KEY = jax.random.key(0)
BOX = Box((-1.0, 0.0, 2.0), (1.0, 3.0, 2.5))
SAMPLERS = {
    "uniform": lambda box, n: fields.uniform(KEY, box, n),
    "latin hypercube": lambda box, n: fields.latin_hypercube(KEY, box, n),
    "halton": lambda box, n: fields.halton(KEY, box, n),
    "sobol": lambda box, n: fields.sobol(0, box, n),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_points_fill_the_box(name):
    points = SAMPLERS[name](BOX, 512)
    assert points.shape == (512, 3) and bool(BOX.contains(points).all())
    unit = (np.asarray(points) - np.array(BOX.lower)) / (np.array(BOX.upper) - np.array(BOX.lower))
    np.testing.assert_allclose(unit.mean(0), 0.5, atol=0.05)
    np.testing.assert_allclose(np.cov(unit.T), np.eye(3) / 12, atol=0.012)
    if name != "uniform":  # evenly: nearly one point in each of 64 slices of every axis and more
        counts = [np.histogram(axis, 64, (0, 1))[0] for axis in unit.T]
        assert np.max(counts) <= 16 and np.min(counts) >= 4


def test_latin_hypercube_has_one_point_in_every_slice():
    points = np.asarray(fields.latin_hypercube(KEY, Box((0.0, 0.0), (1.0, 1.0)), 100))
    for axis in points.T:
        assert sorted((axis * 100).astype(int)) == list(range(100))


def test_even_points_integrate_better_than_random_ones():
    box = Box((0.0, 0.0), (1.0, 1.0))
    integrand = lambda p: jnp.prod(1 + 0.5 * (p - 0.5), axis=-1)  # noqa: E731
    errors = {
        name: abs(float(jnp.mean(integrand(SAMPLERS[name](box, 1024)))) - 1) for name in SAMPLERS
    }
    assert errors["halton"] < 2e-3 and errors["sobol"] < 2e-3


@pytest.mark.parametrize("name", ["uniform", "latin hypercube", "halton"])
def test_samplers_go_through_jit(name):
    eager = SAMPLERS[name](BOX, 10)
    np.testing.assert_allclose(jax.jit(lambda: SAMPLERS[name](BOX, 10))(), eager, rtol=1e-5)


def test_sides_are_boxes():
    left, right = BOX.sides(0)
    points = fields.uniform(KEY, right, 5)
    assert jnp.all(points[:, 0] == 1) and left.upper[0] == -1
    assert BOX.at(-1, 2.25).lower == (-1.0, 0.0, 2.25)


def test_points_of_a_shape():
    """As many in each eighth of the disc, no two the same; the same inside jit."""
    box = Box((-1.0, -1.0), (1.0, 1.0))

    def draw(radius):
        return fields.inside(KEY, box, 400, lambda p: jnp.linalg.norm(p) - radius)

    points = draw(0.5)
    assert points.shape == (400, 2) and float(jnp.max(jnp.linalg.norm(points, axis=1))) < 0.5
    assert len(np.unique(np.asarray(points), axis=0)) == 400
    counts = np.histogram(np.arctan2(*points.T), 8, (-np.pi, np.pi))[0]
    assert np.all(np.abs(counts - 50) < 4 * 50**0.5)
    np.testing.assert_allclose(jnp.mean(jnp.sum(points**2, axis=1)), 0.125, rtol=0.1)
    np.testing.assert_array_equal(jax.jit(draw)(0.5), points)
    with pytest.raises(RuntimeError, match="empty or too small"):
        eqx.filter_jit(draw)(0.0)


def test_refined_points_follow_the_residual():
    candidates = fields.uniform(KEY, Box((0.0,), (1.0,)), 4000)
    residual = jnp.where(candidates[:, 0] < 0.1, 9.0, 1.0)
    key = jax.random.key(1)  # not that of the candidates
    share = lambda p: float(jnp.mean(p[:, 0] < 0.1))  # noqa: E731
    # Probability 9 : 1 per point without an offset, on a tenth of the box.
    assert abs(share(fields.refine(key, residual, candidates, 200, offset=0.0)) - 0.5) < 0.1
    assert share(fields.refine(key, residual, candidates, 200, power=50, offset=0.0)) == 1
    assert abs(share(fields.refine(key, jnp.ones(4000), candidates, 2000)) - 0.1) < 0.03
    chosen = fields.refine(key, residual, candidates, 500)
    assert len(np.unique(np.asarray(chosen))) == len(np.unique(np.asarray(candidates[:500])))
    nowhere = fields.refine(key, jnp.zeros(4000), candidates, 500)
    np.testing.assert_array_equal(nowhere, fields.refine(key, jnp.ones(4000), candidates, 500))


def test_bad_input():
    with pytest.raises(ValueError, match="lower must be finite and at most upper, got 2"):
        Box((2.0,), (1.0,))
    with pytest.raises(ValueError, match="equally long"):
        Box((0.0, 1.0), (1.0,))
    with pytest.raises(ValueError, match=r"value must be in \[0.0, 3.0\] along axis 1, got 4"):
        BOX.at(1, 4.0)
    with pytest.raises(ValueError, match="count must be"):
        fields.uniform(KEY, BOX, 0)
    with pytest.raises(ValueError, match="empty or too small"):
        fields.inside(KEY, BOX, 10, lambda p: p[0] + 9, attempts=2)
    with pytest.raises(ValueError, match="count must be at most the 10 candidates, got 11"):
        fields.refine(KEY, jnp.ones(10), jnp.ones((10, 1)), 11)
    with pytest.raises(ValueError, match="residual must have shape"):
        fields.refine(KEY, jnp.ones(9), jnp.ones((10, 1)), 2)


def test_windows_of_time():
    box = fields.Box((-1.0, 0.0), (1.0, 3.0))
    first, second, third = box.split(-1, 3)
    assert first == fields.Box((-1.0, 0.0), (1.0, 1.0)) and third.upper == box.upper
    pieces = [lambda p, n=n: n * p[1] + p[0] for n in (1.0, 2.0, 3.0)]
    joined = fields.Joined(pieces, (first, second, third))
    points = jnp.array([[0.1, 0.5], [0.1, 1.0], [0.1, 1.5], [0.1, 2.9], [0.1, 4.0], [0.1, -1.0]])
    expected = [0.6, 1.1, 3.1, 8.8, 12.1, -0.9]
    np.testing.assert_allclose(jax.vmap(joined)(points), expected, rtol=1e-6)
    # From one window to the next at its very end.
    near = jnp.array([[0.1, 1 - 1e-6], [0.1, 1 + 1e-6], [0.1, 2 - 1e-6], [0.1, 2 + 1e-6]])
    np.testing.assert_allclose(jax.vmap(joined)(near), [1.1, 2.1, 4.1, 6.1], rtol=1e-5)
    held = fields.Snapshot(joined, 2.0)
    np.testing.assert_allclose(held(jnp.array([0.1, 9.0])), 4.1, rtol=1e-6)
    with pytest.raises(ValueError, match="start where the last ends"):
        fields.Joined(pieces[:2], (first, third))
    with pytest.raises(ValueError, match="equally many"):
        fields.Joined(pieces, (first,))


def test_data_outside_the_domain():
    box = fields.Box((-1.0, 0.0), (1.0, 3.0))
    box.require("measurements", jnp.array([[0.5, 3.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"measurements must lie .* 1 of 2 .* first \[2.0, 0.0\]"):
        box.require("measurements", jnp.array([[0.5, 3.0], [2.0, 0.0]]))


def test_points_on_a_surface():
    """They lie on it, all parts of it equally likely: angles of a circle, sides of a rectangle and
    its hole by length; inside jit too."""
    square = Box((-2.0, -2.0), (2.0, 2.0))
    circle = shapes.Ball((0.3, -0.2), 1.2)
    points = jax.jit(lambda key: fields.on_surface(key, square, 2000, circle))(KEY)
    assert jnp.max(jnp.abs(jax.vmap(circle)(points))) < 1e-5
    angles = np.arctan2(*(np.asarray(points) - [0.3, -0.2]).T)
    assert stats.kstest((angles + np.pi) / (2 * np.pi), "uniform").pvalue > 1e-3
    hole = shapes.Ball((0.0, 0.0), 0.4)
    plate = shapes.Difference(shapes.Cuboid((0.0, 0.0), (1.5, 1.0)), hole)
    points = np.asarray(fields.on_surface(KEY, square, 4000, plate))
    parts = [
        np.abs(np.abs(points[:, 0]) - 1.5) < 1e-3,
        np.abs(np.abs(points[:, 1]) - 1.0) < 1e-3,
        np.hypot(*points.T) < 0.5,
    ]
    lengths = np.array([4.0, 6.0, 0.8 * np.pi])
    shares = np.array([np.mean(part) for part in parts])
    np.testing.assert_allclose(shares, lengths / lengths.sum(), atol=0.025)
    with pytest.raises(ValueError, match="do not reach the surface"):
        fields.on_surface(KEY, square, 100, shapes.Ball((9.0, 0.0), 1.0))
