"""Shapes: distance near the surface, sign, area, and gradients that are finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import shapes

CORNERS = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
SHAPES = {
    "ball": (shapes.Ball((0.3, 0.1), 0.7), (0.3, 0.1)),
    "ellipse": (shapes.Ellipse((0.2, 0.0), (1.0, 0.4), 0.5), (0.2, 0.0)),
    "cuboid": (shapes.Cuboid((0.0, 0.5), (1.0, 0.5), 0.1), (0.0, 0.5)),
    "outline": (shapes.Outline(CORNERS), (1.0, 0.5)),
    "star": (shapes.Star((0.4, -0.3), 1.0, (0.0, 0.1), (0.05, 0.0)), (0.4, -0.3)),
    "airfoil": (shapes.Outline(shapes.naca("2412")), (0.3, 0.02)),
    "union": (
        shapes.Union([shapes.Ball((0.0, 0.0), 0.5), shapes.Ball((2.0, 0.0), 0.5)]),
        (0.1, 0.0),
    ),
    "plate with a hole": (
        shapes.Difference(shapes.Cuboid((0.0, 0.0), (1.0, 0.8)), shapes.Ball((0.0, 0.0), 0.4)),
        (0.7, 0.5),
    ),
    "lens": (
        shapes.Intersection([shapes.Ball((-0.3, 0.0), 0.8), shapes.Ball((0.3, 0.0), 0.8)]),
        (0.0, 0.1),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_signed_distance(name):
    """Negative inside; slope one near the surface; finite gradients at every point, the centre
    too."""
    shape, inside = SHAPES[name]
    assert shape(jnp.asarray(inside)) < 0 < shape(jnp.asarray((7.0, 5.0)))
    points = jax.random.uniform(jax.random.key(0), (4000, 2), minval=-1.5, maxval=2.5)
    points = jnp.concatenate([points, jnp.asarray([inside])])
    distance, slopes = jax.vmap(jax.value_and_grad(shape))(points)
    assert jnp.all(jnp.isfinite(slopes))
    near = jnp.abs(distance) < 0.01
    assert near.sum() > 5
    lengths = jnp.linalg.norm(slopes, axis=-1)[near]
    assert jnp.mean(jnp.abs(lengths - 1) < 0.03) > 0.95  # corners have none
    parameters = jax.grad(lambda s: jnp.sum(jax.vmap(s)(points)))
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(parameters(shape)))


def test_foot_of_the_normal_lies_on_the_surface():
    """x - d grad d is on the surface to second order in d."""
    shape, _ = SHAPES["ellipse"]
    points = jax.random.uniform(jax.random.key(1), (4000, 2), minval=-1.2, maxval=1.6)
    distance, normal = jax.vmap(jax.value_and_grad(shape))(points)
    left = jnp.abs(jax.vmap(shape)(points - distance[:, None] * normal))
    for reach in (0.02, 0.04):
        near = jnp.abs(distance) < reach
        assert jnp.max(left[near]) < 8 * reach**2


def test_inside_of_a_slanted_outline():
    """The sign of a triangle is that of its three half planes."""
    corners = np.array([[0.0, 0.0], [2.0, 0.5], [0.3, 1.7]])
    points = np.random.default_rng(0).uniform(-0.5, 2.5, (400, 2))
    side = np.roll(corners, -1, axis=0) - corners
    away = points[:, None] - corners
    inside = np.all(side[:, 0] * away[..., 1] > side[:, 1] * away[..., 0], axis=1)
    distance = jax.vmap(shapes.Outline(corners))(jnp.asarray(points))
    np.testing.assert_array_equal(distance < 0, inside)
    assert 20 < inside.sum() < 200


def test_areas():
    star = shapes.Star((0.0, 0.0), 0.5, (0.0,), (0.0,))
    assert star.area == pytest.approx(np.pi / 4, rel=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: shapes.Ball((0.0, 0.0), -1.0), "radius"),
        (lambda: shapes.Ellipse((0.0, 0.0), (1.0, 0.0)), "half_axes"),
        (lambda: shapes.Outline([[0.0, 1.0]]), "shape"),
        (lambda: shapes.naca("12"), "four"),
        (lambda: shapes.naca("2012"), "need its place"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_shapes_combine_as_sets():
    one, two = shapes.Ball((0.0, 0.0), 0.7), shapes.Cuboid((0.5, 0.2), (0.5, 0.4))
    points = jax.random.uniform(jax.random.key(1), (2000, 2), minval=-1.5, maxval=1.5)
    a, b = (jax.vmap(shape)(points) < 0 for shape in (one, two))
    for shape, held in (
        (shapes.Union([one, two]), a | b),
        (shapes.Intersection([one, two]), a & b),
        (shapes.Difference(one, two), a & ~b),
    ):
        assert jnp.array_equal(jax.vmap(shape)(points) < 0, held)
        assert 50 < jnp.sum(held) < 1500


def test_airfoils_have_the_ordinates_of_their_family():
    """Half thickness at 1.25 and 30 % of the chord as tabulated (Abbott and von Doenhoff), scaled
    with the last two digits; a closed trailing edge; the camber of the first two."""

    def halves(digits):
        corners = np.asarray(shapes.naca(digits, 400))
        upper = corners[:400][::-1]
        lower = np.concatenate([upper[:1], corners[400:], upper[-1:]])
        x = np.array([0.0125, 0.3, 0.4, 1.0])
        return [np.interp(x, half[:, 0], half[:, 1]) for half in (upper, lower)]

    for digits in ("0012", "0024"):
        upper, lower = halves(digits)
        known = int(digits) / 12 * np.array([0.01894, 0.06002])
        np.testing.assert_allclose(upper[:2], known, rtol=2e-3)
        np.testing.assert_allclose(upper, -lower, atol=1e-6)
        assert abs(upper[3]) < 1e-6
    upper, lower = halves("2415")
    assert (upper + lower)[2] / 2 == pytest.approx(0.02, rel=1e-3)
    assert (upper - lower)[1] == pytest.approx(0.15, rel=2e-3)


def test_an_outline_is_right_level_with_its_corners():
    diamond = shapes.Outline(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
    found = [float(diamond(jnp.array([x, 0.0]))) for x in (-2.0, 0.0, 2.0)]
    np.testing.assert_allclose(found, [1.0, -(0.5**0.5), 1.0], rtol=1e-6)


def test_a_star_lies_about_its_centre():
    star = shapes.Star((2.0, 1.0), 0.5, (0.1,), (0.0,))
    edge = jnp.array([[2.0 + 0.5 * np.exp(0.1), 1.0], [2.0 - 0.5 * np.exp(-0.1), 1.0], [2.0, 1.5]])
    np.testing.assert_allclose(jax.vmap(star)(edge), 0.0, atol=1e-6)
