"""Grids: points, spacing, wavenumbers."""

from math import pi

import numpy as np
import pytest

import jaxpbdl as jp


@pytest.mark.parametrize("shape", [5, (8,), (6, 7), (4, 5, 6)], ids=str)
def test_points_fill_the_box(shape):
    ndim = 1 if isinstance(shape, int) else len(shape)
    grid = jp.grids.Periodic(shape, (2.0, 3.0, 5.0)[:ndim], (-1.0, 0.0, 4.0)[:ndim])
    assert grid.points.shape == (*grid.shape, ndim) and grid.size == np.prod(shape)
    np.testing.assert_allclose(grid.volume, np.prod(grid.lengths))
    for axis, (x, h) in enumerate(zip(grid.axes, grid.spacing, strict=True)):
        np.testing.assert_allclose(np.diff(x), h, rtol=1e-5)
        np.testing.assert_allclose(x[-1] + h, grid.origin[axis] + grid.lengths[axis], rtol=1e-6)
        along = np.moveaxis(np.asarray(grid.points[..., axis]), axis, -1)
        np.testing.assert_array_equal(along, np.broadcast_to(x, along.shape))
        np.testing.assert_array_equal(grid.coordinates[axis], grid.points[..., axis])


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_wavenumbers_vanish_at_nyquist(n):
    spectrum = jp.grids.Spectrum(jp.grids.Periodic((n, n), (2.0, 3.0)))
    half, full = np.arange(n // 2 + 1.0), np.rint(np.fft.fftfreq(n, 1 / n) * 1.0)
    squares = (pi * full[:, None]) ** 2 + (2 * pi / 3 * half) ** 2
    np.testing.assert_allclose(spectrum.k_squared, squares, rtol=1e-6)
    for k, modes, length in zip(spectrum.k, (full, half), (2.0, 3.0), strict=True):
        nyquist = (2 * np.abs(modes) == n) & (n > 1)
        expected = np.where(nyquist, 0.0, 2 * pi / length * modes)
        np.testing.assert_allclose(np.ravel(k), expected, rtol=1e-6)


def test_resized_keeps_the_box():
    grid = jp.grids.Periodic((8, 6), (2.0, 3.0), (1.0, 2.0)).resized(5)
    assert grid == jp.grids.Periodic((5, 5), (2.0, 3.0), (1.0, 2.0)) and hash(grid) is not None
