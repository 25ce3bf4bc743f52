"""The unstable mode against published rates, its means over cells, a small run."""

import jax
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments.gas import shear_layer
from jaxpbdl.experiments.gas.shear_layer import GAMMA, Config, growth, layer, unstable_mode


def test_rates_of_linear_theory():
    """Michalke's largest rate without compressibility; it falls with the Mach number."""
    mode = unstable_mode(0.4446, 0.01, 20.0)
    assert mode.rate.real == pytest.approx(0.1897, abs=5e-5) and abs(mode.rate.imag) < 1e-9
    coarse, fine = (unstable_mode(0.4, 0.5, 10.0, degree).rate for degree in (120, 160))
    assert abs(coarse - fine) < 1e-10 and fine.real == pytest.approx(0.14068, abs=1e-5)
    assert abs(mode.shape[1, [0, -1]]).max() == 0 and abs(mode.shape[1]).max() == pytest.approx(1)


def test_the_mode_solves_the_linearised_equations():
    """By differences on a fine grid across the layer, at places within it."""
    k, mach = 0.4, 0.5
    mode = unstable_mode(k, mach, 10.0)
    y = np.linspace(-2, 2, 801)
    u, v, p = shear_layer.CubicSpline(mode.y, mode.shape.T)(y).T
    along = mode.rate + 1j * k * np.tanh(y)
    slope = lambda values: np.gradient(values, y, edge_order=2)  # noqa: E731
    left = [along * u + v / np.cosh(y) ** 2 + 1j * k * p, along * v + slope(p)]
    left.append(along * p + (1j * k * u + slope(v)) / mach**2)
    assert all(abs(one[5:-5]).max() < 1e-3 * abs(p).max() / mach**2 for one in left)


def test_means_over_cells():
    """Of the layer itself they are exact to the order of the quadrature; the wave has its size."""
    config = Config(cells=(8,), rolled=0)
    mode = unstable_mode(config.wavenumber, config.mach, config.half_height)
    with jax.enable_x64(True):
        grid, calm = layer(config, mode, 16, 0.0)
        _, wavy = layer(config, mode, 32, 1e-3)
        found = CompressibleFlow(2, GAMMA).primitive(wavy)
    edges = np.asarray(grid.edges[1])
    known = np.diff(np.log(np.cosh(edges))) / np.diff(edges)
    np.testing.assert_allclose(calm[1], np.tile(known, (16, 1)), atol=2e-4)
    assert np.abs(np.asarray(found[2])).max() == pytest.approx(1e-3, rel=0.03)
    assert np.abs(np.asarray(found[0] - 1)).max() < 1e-3


def test_growth_beside_theory():
    config = Config(cells=(16,), time=4.0, rolled=0)
    mode = unstable_mode(config.wavenumber, config.mach, config.half_height)
    with jax.enable_x64(True):
        found = growth(config, mode, 24, "weno")
    assert found == pytest.approx(mode.rate.real, rel=0.06)


def test_settings():
    with pytest.raises(ValueError, match="wavenumber must be below 1"):
        Config(wavenumber=1.5)
    with pytest.raises(ValueError, match=r"at least 6 cells a wave length, got \(4,\)"):
        Config(cells=(4,))
