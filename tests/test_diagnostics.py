"""Diagnostics against direct sums and analytic flows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import diagnostics

pytestmark = pytest.mark.x64
GRIDS = [
    ((8,), (2.0,)),
    ((9,), (2.0,)),
    ((12, 12), (6.0, 6.0)),
    ((11, 16), (6.0, 2.0)),
    ((16, 7), (1.0, 5.0)),
    ((6, 7, 8), (2.0, 3.0, 1.0)),
    ((9, 9, 9), (1.0, 1.0, 1.0)),
]
every_grid = pytest.mark.parametrize(("shape", "lengths"), GRIDS, ids=str)


@every_grid
def test_power_spectrum_sums_to_the_mean_square(shape, lengths):
    """Parseval, for noise that fills every mode up to the corners."""
    grid = jp.grids.Periodic(shape, lengths)
    values = 0.5 + jax.random.normal(jax.random.key(0), shape)
    k, power = diagnostics.power_spectrum(values, grid)
    assert k.shape == power.shape and k[0] == 0
    np.testing.assert_allclose(jnp.sum(power), jnp.mean(values**2), rtol=1e-12)
    np.testing.assert_allclose(power[0], jnp.mean(values) ** 2, rtol=1e-12)


@every_grid
def test_power_spectrum_finds_a_wave(shape, lengths):
    """A wave along each axis lies in the shell of its wavenumber."""
    grid = jp.grids.Periodic(shape, lengths)
    for axis, x in enumerate(grid.coordinates):
        wavenumber = 2 * np.pi / lengths[axis] * 2
        k, power = diagnostics.power_spectrum(3 * jnp.cos(wavenumber * x + 0.4), grid)
        shell = int(jnp.argmax(power))
        np.testing.assert_allclose(power[shell], 4.5, rtol=1e-12)
        assert abs(k[shell] - wavenumber) <= 0.5001 * k[1]


@pytest.mark.parametrize(("shape", "lengths"), [g for g in GRIDS if len(g[0]) == 2], ids=str)
def test_energy_spectrum_sums_to_the_energy(shape, lengths):
    grid = jp.grids.Periodic(shape, lengths)
    vorticity = jax.random.normal(jax.random.key(1), shape)
    _, energy = diagnostics.energy_spectrum(vorticity, grid)
    expected = diagnostics.kinetic_energy(diagnostics.velocity(vorticity, grid))
    np.testing.assert_allclose(jnp.sum(energy), expected, rtol=1e-12)


def test_velocity_energy_and_enstrophy_of_taylor_green():
    grid = jp.grids.Periodic((16, 15))
    x, y = grid.coordinates
    vorticity = jp.initial_states.taylor_green_2d(grid, wavenumber=2.0)
    u, v = diagnostics.velocity(vorticity, grid)
    np.testing.assert_allclose(u, -jnp.cos(2 * x) * jnp.sin(2 * y), atol=1e-13)
    np.testing.assert_allclose(v, jnp.sin(2 * x) * jnp.cos(2 * y), atol=1e-13)
    np.testing.assert_allclose(diagnostics.kinetic_energy(jnp.stack([u, v])), 0.25, rtol=1e-12)
    np.testing.assert_allclose(diagnostics.enstrophy(vorticity), 2.0, rtol=1e-12)


def test_curl_and_divergence_of_taylor_green_in_three_dimensions():
    grid = jp.grids.Periodic((8, 9, 10))
    x, y, z = grid.coordinates
    flow = jp.initial_states.taylor_green_3d(grid)
    expected = [
        -jnp.cos(x) * jnp.sin(y) * jnp.sin(z),
        -jnp.sin(x) * jnp.cos(y) * jnp.sin(z),
        2 * jnp.sin(x) * jnp.sin(y) * jnp.cos(z),
    ]
    np.testing.assert_allclose(diagnostics.curl(flow, grid), jnp.stack(expected), atol=1e-13)
    assert jnp.max(jnp.abs(diagnostics.divergence(flow, grid))) < 1e-13
    stretched = diagnostics.divergence(jnp.stack([jnp.sin(x), jnp.sin(2 * y), flow[2]]), grid)
    np.testing.assert_allclose(stretched, jnp.cos(x) + 2 * jnp.cos(2 * y), atol=1e-13)
    np.testing.assert_allclose(diagnostics.kinetic_energy(flow), 0.125, rtol=1e-12)


def test_velocity_and_curl_are_inverse():
    grid = jp.grids.Periodic((15, 13), (6.0, 4.0))
    vorticity = jax.random.normal(jax.random.key(2), grid.shape)
    vorticity = vorticity - jnp.mean(vorticity)
    u, v = diagnostics.velocity(vorticity, grid)
    spectrum = jp.grids.Spectrum(grid)
    slope = [spectrum.to_grid(spectrum.derivative(spectrum.transform(f), a))
             for a, f in ((0, v), (1, u))]  # fmt: skip
    np.testing.assert_allclose(slope[0] - slope[1], vorticity, atol=1e-12)
    assert jnp.max(jnp.abs(diagnostics.divergence(jnp.stack([u, v]), grid))) < 1e-12


def test_correlation_and_relative_error():
    first, second = jax.random.normal(jax.random.key(3), (2, 6, 7))
    expected = np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]
    np.testing.assert_allclose(diagnostics.correlation(first, second), expected, rtol=1e-12)
    np.testing.assert_allclose(diagnostics.correlation(first, 3 * first + 2), 1.0, rtol=1e-12)
    np.testing.assert_allclose(diagnostics.correlation(first, -first), -1.0, rtol=1e-12)
    assert diagnostics.correlation(first, jnp.ones_like(first)) == 0
    np.testing.assert_allclose(diagnostics.relative_l2(1.1 * first, first), 0.1, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 0.9, 0.7, 0.1], 1.5),  # crosses 0.8 half way between 1 and 2
        ([1.0, 0.9, 0.8, 0.8], 3.0),  # never below
        ([0.5, 0.9, 1.0, 1.0], 0.0),  # below from the start
        ([1.0, 0.9, np.nan, 0.9], 1.0),  # lost at the last good sample
        ([1.0, 0.6, 0.9, 0.9], 0.5),  # the first crossing counts
    ],
)
def test_time_above(values, expected):
    found = diagnostics.time_above([0.0, 1.0, 2.0, 3.0], values, 0.8)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_area_under_the_curve_is_that_of_scikit_learn():
    """With equal scores, and unequal numbers of both kinds."""
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    positive = random.random(40) < 0.3
    scores = np.round(random.normal(size=40) + positive, 1)
    found = diagnostics.area_under_curve(scores, positive)
    assert found == pytest.approx(roc_auc_score(positive, scores), rel=1e-12)
