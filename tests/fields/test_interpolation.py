"""Interpolation: exact for band-limited fields, of its order in time, real and differentiable."""

import functools
from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import fields

pytestmark = pytest.mark.x64
SHAPES = [(7,), (8,), (1,), (9, 6), (8, 1), (5, 4, 6)]


def grid_of(shape):
    lengths, origin = (2.0, 3.0, 5.0), (-1.0, 0.5, 2.0)
    return jp.grids.Periodic(shape, lengths[: len(shape)], origin[: len(shape)])


def band_limited(grid):
    """One wave along every axis, the highest that the axis holds on both sides of the mean."""
    k = [2 * pi / length * ((n - 1) // 2) for n, length in zip(grid.shape, grid.lengths)]  # noqa: B905

    def field(point):
        waves = [jnp.sin(k[i] * point[i] + i + 0.3) for i in range(grid.ndim)]
        return 0.5 + sum(waves) + jnp.prod(jnp.stack(waves))

    return field


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_for_band_limited_fields(shape):
    grid = grid_of(shape)
    field = band_limited(grid)
    values = jax.vmap(field)(grid.points.reshape(-1, grid.ndim)).reshape(shape)
    found = fields.interpolate(grid, values)
    points = jax.random.uniform(jax.random.key(0), (20, grid.ndim), minval=-7.0, maxval=7.0)

    def both(function):
        return jax.jit(jax.vmap(lambda point: (function(point), fields.gradient(function)(point))))

    (value, slope), (exact, exact_slope) = both(found)(points), both(field)(points)
    np.testing.assert_allclose(value, exact, atol=1e-12)
    np.testing.assert_allclose(slope, exact_slope, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("components", [(), (2,), (2, 3)], ids=str)
def test_passes_through_any_values(shape, components):
    """Also through noise, which fills the Nyquist modes of even axes."""
    grid = grid_of(shape)
    values = jax.random.normal(jax.random.key(1), components + shape)
    points = grid.points.reshape(-1, grid.ndim)
    found = jax.jit(lambda v: jax.vmap(fields.interpolate(grid, v))(points))(values)
    found = jnp.moveaxis(found, 0, -1).reshape(values.shape)
    assert not jnp.iscomplexobj(found)
    np.testing.assert_allclose(found, values, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_order_in_time(degree):
    grid = jp.grids.Periodic(4)

    @functools.partial(jax.jit, static_argnums=0)
    def error(snapshots):
        times = jnp.linspace(0.0, 2.0, snapshots)
        values = jnp.exp(-times)[:, None] * jnp.cos(grid.axes[0])
        found = fields.interpolate(grid, values, times, degree)
        probes = jnp.linspace(0.01, 1.99, 97)
        points = jnp.stack([jnp.full_like(probes, 0.3), probes], axis=-1)
        exact = jnp.exp(-probes) * jnp.cos(0.3)
        return jnp.max(jnp.abs(jax.vmap(found)(points) - exact))

    order = jnp.log2(error(17) / error(33))
    assert degree + 0.6 < order < degree + 1.4


def test_polynomials_in_time_are_exact_at_unequal_intervals():
    grid, times = jp.grids.Periodic(4), jnp.asarray([0.0, 0.1, 0.35, 0.4, 0.9, 1.0, 1.7])
    found = fields.interpolate(grid, times[:, None] ** 4 * jnp.ones(4), times, 4)
    for t in (0.05, 0.38, 0.7, 1.5, 1.69):
        point = jnp.asarray([0.2, t])
        np.testing.assert_allclose(found(point), t**4, rtol=1e-11)
        np.testing.assert_allclose(fields.time_derivative(found)(point), 4 * t**3, rtol=1e-10)


def test_refused_input_is_explained():
    grid = jp.grids.Periodic(8)
    with pytest.raises(ValueError, match=r"grid's shape \(8,\), got \(3, 7\)"):
        fields.interpolate(grid, np.zeros((3, 7)))
    with pytest.raises(ValueError, match=r"times must have shape \(5,\), got \(4,\)"):
        fields.interpolate(grid, np.zeros((5, 8)), np.arange(4.0))
    with pytest.raises(ValueError, match="degree 4 needs at least 5 snapshots, got 4"):
        fields.interpolate(grid, np.zeros((4, 8)), np.arange(4.0))
    with pytest.raises(ValueError, match="times must be increasing"):
        fields.interpolate(grid, np.zeros((5, 8)), np.array([0.0, 1.0, 1.0, 2.0, 3.0]))
