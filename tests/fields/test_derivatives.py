"""Derivatives of fields against analytic ones, and the identities of vector analysis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import fields

pytestmark = pytest.mark.x64


def scalar(p):
    return jnp.sin(p[0]) * jnp.exp(0.5 * p[1]) * p[2] ** 3


def vector(p):
    return jnp.stack([p[1] * p[2] ** 2, jnp.sin(p[0] * p[2]), p[0] ** 2 * jnp.exp(p[1])])


def analytic(orders):
    x, y, z = np.array([0.3, -0.7, 1.1])
    in_x = [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)]
    in_z = [z**3, 3 * z**2, 6 * z, 6.0, 0.0]
    return in_x[orders[0]] * 0.5 ** orders[1] * np.exp(0.5 * y) * in_z[orders[2]]


def point():
    return jnp.asarray(np.array([0.3, -0.7, 1.1]))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_partial(axis, order):
    value = fields.partial(scalar, axis, order)(point())
    expected = analytic([order if a == axis else 0 for a in range(3)])
    np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-14)


def test_mixed_derivatives_and_time():
    mixed = fields.partial(fields.partial(scalar, 0, 2), 1)
    np.testing.assert_allclose(mixed(point()), analytic([2, 1, 0]), rtol=1e-13)
    np.testing.assert_allclose(
        fields.time_derivative(scalar, 2)(point()), analytic([0, 0, 2]), rtol=1e-13
    )


def test_gradient_and_laplacian():
    slopes = [analytic(row) for row in np.eye(3, dtype=int)]
    curvature = sum(analytic(2 * row) for row in np.eye(3, dtype=int))
    biharmonic = sum(
        analytic(2 * a + 2 * b) for a in np.eye(3, dtype=int) for b in np.eye(3, dtype=int)
    )
    np.testing.assert_allclose(fields.gradient(scalar)(point()), slopes, rtol=1e-13)
    np.testing.assert_allclose(fields.laplacian(scalar)(point()), curvature, rtol=1e-13)
    twice = fields.laplacian(fields.laplacian(scalar))(point())
    np.testing.assert_allclose(twice, biharmonic, rtol=1e-12)


def test_at_time_freezes_the_last_coordinate():
    frozen = fields.at_time(scalar, jnp.asarray(1.1))
    np.testing.assert_allclose(frozen(point()[:2]), scalar(point()), rtol=1e-14)
    curvature = analytic([2, 0, 0]) + analytic([0, 2, 0])
    np.testing.assert_allclose(fields.laplacian(frozen)(point()[:2]), curvature, rtol=1e-13)


def test_curl_and_divergence():
    x, y, z = np.array([0.3, -0.7, 1.1])
    expected = [
        x**2 * np.exp(y) - x * np.cos(x * z),
        2 * y * z - 2 * x * np.exp(y),
        z * np.cos(x * z) - z**2,
    ]
    np.testing.assert_allclose(fields.curl(vector)(point()), expected, rtol=1e-13)
    np.testing.assert_allclose(
        fields.divergence(lambda p: p * jnp.sum(p**2))(point()), 5 * (x**2 + y**2 + z**2)
    )
    flat = fields.curl(lambda p: jnp.stack([-p[1], p[0] ** 2]))(point()[:2])
    np.testing.assert_allclose(flat, 2 * x + 1)


def test_curl_of_gradient_and_divergence_of_curl_vanish():
    assert jnp.max(jnp.abs(fields.curl(fields.gradient(scalar))(point()))) < 1e-14
    assert abs(fields.divergence(fields.curl(vector))(point())) < 1e-14


def test_vector_values():
    """Every operator takes values of any shape where it makes sense."""
    for axis in range(3):
        value = fields.partial(vector, axis, 2)(point())
        each = [fields.partial(lambda p, i=i: vector(p)[i], axis, 2)(point()) for i in range(3)]
        np.testing.assert_allclose(value, jnp.stack(each), atol=1e-14)
    assert fields.gradient(vector)(point()).shape == (3, 3)
    np.testing.assert_allclose(
        jax.vmap(fields.laplacian(scalar))(jnp.stack([point(), 2 * point()]))[0],
        fields.laplacian(scalar)(point()),
    )
