"""The unstable mode against published rates, its means over cells, small runs."""

import json

import jax
import numpy as np
import pytest

from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.gas import shear_layer
from jaxpbdl.experiments.gas.shear_layer import (
    EXPERIMENT,
    GAMMA,
    Config,
    growth,
    layer,
    unstable_mode,
)


@pytest.fixture(scope="module")
def mode():
    """Of the default settings."""
    return unstable_mode(Config.wavenumber, Config.mach, Config.half_height)


def test_rates_of_linear_theory(mode):
    """Michalke's largest rate, almost without compressibility; that of the default settings does
    not depend on the points."""
    known = unstable_mode(0.4446, 0.01, 20.0)
    assert known.rate.real == pytest.approx(0.1897, abs=5e-5) and abs(known.rate.imag) < 1e-6
    coarse = unstable_mode(0.4, 0.5, 10.0, 120).rate
    assert abs(coarse - mode.rate) < 1e-8 and mode.rate.real == pytest.approx(0.14068, abs=1e-5)
    assert abs(mode.shape[1, [0, -1]]).max() == 0 and abs(mode.shape[1]).max() == pytest.approx(1)


def test_where_no_wave_grows():
    """Where k^2 + Mach^2 > 1: what seems to grow there is sound that the points do not resolve."""
    with pytest.raises(
        ValueError, match=r"grows at wavenumber 0.9, mach 0.6 .* rate is 2.*e-03-4.*j"
    ):
        unstable_mode(0.9, 0.6, 10.0)
    assert 0.001 < unstable_mode(0.7, 0.6, 10.0).rate.real < 0.05


def test_the_mode_solves_the_linearised_equations(mode):
    """By differences on a fine grid across the layer, at places within it."""
    k, mach = Config.wavenumber, Config.mach
    y = np.linspace(-2, 2, 801)
    u, v, p = shear_layer.CubicSpline(mode.y, mode.shape.T)(y).T
    along = mode.rate + 1j * k * np.tanh(y)
    slope = lambda values: np.gradient(values, y, edge_order=2)  # noqa: E731
    left = [along * u + v / np.cosh(y) ** 2 + 1j * k * p, along * v + slope(p)]
    left.append(along * p + (1j * k * u + slope(v)) / mach**2)
    assert all(abs(one[5:-5]).max() < 1e-3 * abs(p).max() / mach**2 for one in left)


def test_means_over_cells(mode):
    """Of the layer itself they are exact to the order of the quadrature; the wave has its size."""
    config = Config(cells=(8,), rolled=0)
    with jax.enable_x64(True):
        grid, calm = layer(config, mode, 16, 0.0)
        _, wavy = layer(config, mode, 32, 1e-3)
        found = np.asarray(CompressibleFlow(2, GAMMA).primitive(wavy))
    edges = np.asarray(grid.edges[1])
    known = np.diff(np.log(np.cosh(edges))) / np.diff(edges)
    np.testing.assert_allclose(calm[1], np.tile(known, (16, 1)), atol=2e-4)
    assert np.abs(found[2]).max() == pytest.approx(1e-3, rel=0.03)
    assert np.abs(found[0] - 1).max() < 1e-3


def test_growth_beside_theory(mode):
    config = Config(cells=(16,), time=4.0, rolled=0)
    with jax.enable_x64(True):
        found = growth(config, mode, 24, "weno")
    assert found == pytest.approx(mode.rate.real, rel=0.1)


def test_a_tiny_run(tmp_path):
    config = Config(cells=(8, 12), time=4.0, rolled=8, rolled_time=4.0)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    theory = metrics["theory.growth"]
    for scheme in shear_layer.SCHEMES:
        assert 0.3 * theory < metrics[f"{scheme}.growth_12"] < 1.3 * theory
        expected = metrics[f"{scheme}.growth_12"] / theory - 1
        assert metrics[f"{scheme}.error_12"] == pytest.approx(expected)
    assert (tmp_path / "layer.png").stat().st_size > 5000


def test_settings():
    message = r"wavenumber\^2 \+ mach\^2 must be below 1, .* got wavenumber 0.9 and mach 0.5"
    with pytest.raises(ValueError, match=message):
        Config(wavenumber=0.9)
    with pytest.raises(ValueError, match=r"at least 6 cells a wave length, got \(4,\)"):
        Config(cells=(4,))
