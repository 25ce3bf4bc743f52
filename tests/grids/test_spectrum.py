"""The Fourier side: derivatives, transforms, dealiasing mask, resampling, centred modes."""

from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.equations.centred_modes import CentredModes
from jaxpbdl.grids.spectrum import highest_kept, scaled

pytestmark = pytest.mark.x64
SHAPES = [(8,), (9,), (1,), (12, 9), (1, 8), (5, 6, 7)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def grid_of(shape):
    return jp.grids.Periodic(shape, (2.0, 3.0, 5.0)[: len(shape)], (0.3, -1.0, 0.0)[: len(shape)])


resample = jax.jit(jp.grids.resample, static_argnums=(1, 2))


def noise(shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@every_shape
def test_transform_is_inverted(shape):
    grid = grid_of(shape)
    spectrum, values = jp.grids.Spectrum(grid), noise((2, *shape))
    np.testing.assert_allclose(spectrum.to_grid(spectrum.to_modes(values)), values, atol=1e-13)
    assert spectrum.transform(values).shape == (2, *spectrum.modes)


@every_shape
def test_derivatives_of_the_highest_wave(shape):
    grid = grid_of(shape)
    spectrum = jp.grids.Spectrum(grid)
    for axis, (x, n) in enumerate(zip(grid.coordinates, shape, strict=True)):
        k = 2 * pi / grid.lengths[axis] * ((n - 1) // 2)
        modes = spectrum.transform(jnp.sin(k * x))
        slope = spectrum.to_grid(spectrum.gradient(modes))
        np.testing.assert_allclose(slope[axis], k * jnp.cos(k * x), atol=1e-11)
        for other in set(range(grid.ndim)) - {axis}:
            assert jnp.max(jnp.abs(slope[other])) < 1e-11
        curvature = spectrum.to_grid(-spectrum.k_squared * modes)
        np.testing.assert_allclose(curvature, -(k**2) * jnp.sin(k * x), atol=1e-9)
        inverse = spectrum.to_grid(spectrum.inverse_k_squared * spectrum.k_squared * modes)
        np.testing.assert_allclose(inverse, jnp.sin(k * x) - jnp.mean(jnp.sin(k * x)), atol=1e-12)


@every_shape
def test_derivative_is_antisymmetric_and_real(shape):
    """Summation by parts, with the Nyquist modes of the noise included."""
    grid = grid_of(shape)
    spectrum = jp.grids.Spectrum(grid)
    f, g = noise(shape, 1), noise(shape, 2)
    for axis in range(grid.ndim):
        slopes = [
            spectrum.to_grid(spectrum.derivative(spectrum.transform(u), axis)) for u in (f, g)
        ]
        np.testing.assert_allclose(jnp.sum(f * slopes[1]), -jnp.sum(g * slopes[0]), atol=1e-10)
        full = np.fft.fftn(np.asarray(f))
        frequency = 2 * pi / grid.lengths[axis] * np.fft.fftfreq(shape[axis], 1 / shape[axis])
        frequency[np.abs(frequency) * grid.lengths[axis] / pi == shape[axis]] = 0
        along = [-1 if other == axis else 1 for other in range(grid.ndim)]
        expected = np.fft.ifftn(1j * frequency.reshape(along) * full)
        np.testing.assert_allclose(slopes[0], expected.real, atol=1e-11)


@pytest.mark.parametrize("length", [2 * pi, 1.0, 22.0, 32.0, 0.3])
@pytest.mark.parametrize("keep", [2 / 3, 1 / 2])
def test_mask_keeps_what_products_cannot_reach(keep, length):
    """With p factors of modes up to K, aliases of the product stay above K: (p + 1) K < n, on a box
    of any length."""
    factors = round(2 / keep - 1)
    for n in (2, 3, 6, 8, 9, 12, 15, 24, 30, 31, 32, 33, 48, 60, 96, 97, 192):
        mask = np.asarray(jp.grids.Spectrum(jp.grids.Periodic(n, length), keep).mask)
        highest = int(np.flatnonzero(mask).max())
        assert (factors + 1) * highest < n <= (factors + 1) * (highest + 1), n


def test_all_modes_and_hardly_any():
    assert [highest_kept(n, 1.0) for n in (1, 2, 7, 8)] == [0, 1, 3, 4]
    assert [highest_kept(n, 0.9) for n in (20, 21, 40)] == [8, 9, 17]  # 9 and 18 are at the limit
    assert highest_kept(8, 1e-6) == 0


@every_shape
def test_resampling_down_and_up(shape):
    grid = grid_of(shape)
    values = noise((2, *shape))
    for finer in (tuple(2 * n for n in shape), tuple(2 * n + 1 for n in shape)):
        fine = grid.resized(finer)
        limited = resample(resample(values, grid, fine), fine, grid)  # no Nyquist mode
        up = resample(limited, grid, fine)
        np.testing.assert_allclose(resample(up, fine, grid), limited, atol=1e-12)
        axes = tuple(range(-grid.ndim, 0))
        np.testing.assert_allclose(jnp.mean(up, axes), jnp.mean(values, axes), atol=1e-13)
        noisy = noise(finer, 3)
        down = resample(noisy, fine, grid)
        np.testing.assert_allclose(jnp.mean(down), jnp.mean(noisy), atol=1e-13)


@every_shape
def test_resampling_is_interpolation(shape):
    grid = grid_of(shape)
    fine = grid.resized(tuple(n + 3 for n in shape))
    limited = resample(resample(noise(shape), grid, fine), fine, grid)
    points = fine.points.reshape(-1, grid.ndim)
    expected = jax.jit(lambda v: jax.vmap(jp.fields.interpolate(grid, v))(points))(limited)
    found = resample(limited, grid, fine)
    np.testing.assert_allclose(found, expected.reshape(fine.shape), atol=1e-12)


def test_resampling_needs_the_same_box():
    with pytest.raises(ValueError, match="must be the same box, got lengths"):
        resample(jnp.zeros(8), jp.grids.Periodic(8), jp.grids.Periodic(8, 3.0))


@pytest.mark.parametrize("keep", [2 / 3, 1.0])
@pytest.mark.parametrize("shape", [(8, 8), (9, 12), (12, 7), (1, 8), (9, 1), (15, 15)], ids=str)
def test_centred_modes(shape, keep):
    """A change of layout and back, and the square of a complex field."""

    @jax.jit
    def run(values):
        spectrum = jp.grids.Spectrum(jp.grids.Periodic(shape, (2.0, 3.0)), keep)
        centred = CentredModes(spectrum)

        def enter(field):
            return centred.from_half(spectrum.transform(field))

        inside = centred.to_half(enter(values[0]))
        u, v = spectrum.to_grid(inside), spectrum.to_grid(centred.to_half(enter(values[1])))
        square = centred.square(enter(u) + 1j * enter(v))
        expected = enter(u**2 - v**2) + 1j * enter(2 * u * v)
        return u, inside, centred.to_half(centred.from_half(inside)), square, expected

    u, inside, again, square, expected = run(noise((2, *shape)))
    assert jnp.max(jnp.abs(u)) > 0.1
    np.testing.assert_allclose(again, inside, atol=1e-12)
    np.testing.assert_allclose(square, expected, atol=1e-10)


def test_scaled_multiplies():
    z = noise((4,)) + 1j * noise((4,), 1)
    for multiplier in (noise((4,), 2), noise((4,), 2) + 2j):
        np.testing.assert_allclose(scaled(multiplier, z), multiplier * z, rtol=1e-15)
