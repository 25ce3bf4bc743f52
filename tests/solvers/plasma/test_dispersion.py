"""The plasma dispersion function, against SciPy and integrals, and the waves of known plasmas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import wofz

from jaxpbdl.solvers.plasma import (
    ColdBeams,
    HollowMaxwellian,
    Maxwellians,
    faddeeva,
    leading_wave,
    plasma_dispersion,
    wave_frequency,
)

pytestmark = pytest.mark.x64

leading = jax.jit(leading_wave)


def streams(drift, width=1.0):
    return Maxwellians(0.5, np.array([drift, -drift]), width)


def bump():
    return Maxwellians(np.array([0.9, 0.1]), np.array([0.0, 4.5]), np.array([1.0, 0.5]))


def test_the_function_in_both_half_planes():
    """SciPy's is another algorithm."""
    real, imaginary = np.random.default_rng(0).normal(scale=3.0, size=(2, 400))
    z = real + 1j * np.maximum(imaginary, -3)
    np.testing.assert_allclose(faddeeva(jnp.asarray(z)), wofz(z), rtol=1e-12)
    far = np.array([60.0 + 80.0j, -500.0 + 1e-3j])
    np.testing.assert_allclose(faddeeva(jnp.asarray(far)), wofz(far), rtol=1e-11)


def test_its_derivative():
    """Z' = -2 (1 + z Z), on both sides of the axis."""
    z = jnp.array([0.3 + 0.4j, -1.2 - 0.7j, 2.0 + 0.0j])
    value, slope = jax.jvp(plasma_dispersion, (z,), (jnp.ones_like(z),))
    np.testing.assert_allclose(slope, -2 * (1 + z * value), rtol=1e-10)


@pytest.mark.parametrize("make", [bump, HollowMaxwellian])
def test_the_response_is_the_integral(make):
    """Above the axis Landau's contour is the real line."""
    distribution = make()
    speed = 0.7 + 0.8j
    v, width = np.linspace(-12, 12, 4001, retstep=True)
    slope = jax.vmap(jax.grad(distribution))(jnp.asarray(v))
    expected = -np.sum(np.asarray(slope) / (v - speed)) * width
    np.testing.assert_allclose(distribution.response(jnp.asarray(speed)), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "distribution, wavenumber, expected",
    [
        (Maxwellians(), 0.2, 1.063984 - 5.5107e-5j),
        (Maxwellians(), 0.3, 1.159846 - 0.012620j),
        (Maxwellians(), 0.4, 1.285057 - 0.066128j),
        (Maxwellians(), 0.5, 1.415662 - 0.153359j),
        (Maxwellians(), 1.0, 2.045905 - 0.851330j),
        (ColdBeams(0.5, np.array([1.0, -1.0])), 0.375**0.5, 0.353553j),
        (streams(2.4), 0.2, 0.225844j),
        (streams(3.0), 0.2, 0.284510j),
        (streams(2.4), 0.5, 0.026185j),
        (HollowMaxwellian(), 0.5, 0.259250j),
        (bump(), 0.2, 0.725306 + 0.184515j),
        (bump(), 0.3, 1.001218 + 0.198098j),
        (bump(), 0.4, 1.265358 + 0.129498j),
    ],
)
def test_known_waves(distribution, wavenumber, expected):
    """Roots found with another root finder and SciPy's function."""
    found = complex(leading(distribution, wavenumber))
    assert abs(found - expected) < 1.1e-6


def test_the_cold_streams_in_closed_form():
    """w^2 = k^2 + 1/2 - sqrt(8 k^2 + 1) / 2 for beams at +-1; stable above k = 1."""
    beams = ColdBeams(0.5, np.array([1.0, -1.0]))
    for k in (0.3, 0.9):
        expected = (np.sqrt(8 * k**2 + 1) / 2 - k**2 - 0.5) ** 0.5
        assert complex(leading(beams, k)).imag == pytest.approx(expected, abs=1e-10)
    assert abs(complex(leading(beams, 1.2)).imag) < 1e-9
    near = complex(leading(streams(1.0, 0.01), 0.375**0.5)).imag
    assert near == pytest.approx(8**-0.5, rel=2e-4)


def test_units_of_density_and_velocity():
    """Twice as dense and twice as wide, waves of the same k lambda_D are sqrt(2) faster."""
    wide = Maxwellians(2.0, 0.0, 2.0)
    found = complex(leading(wide, 0.5 / 2**0.5))
    assert abs(found / 2**0.5 - (1.415662 - 0.153359j)) < 2e-6


def test_derivatives_are_those_of_the_root():
    def growth(drift, k):
        return leading_wave(Maxwellians(0.5, jnp.stack([drift, -drift]), 1.0), k).imag

    both = jax.jit(jax.value_and_grad(growth, argnums=(0, 1)))

    def value(drift, k):
        return float(both(drift, k)[0])

    slopes = both(2.4, 0.2)[1]
    across = (value(2.4005, 0.2) - value(2.3995, 0.2)) / 1e-3
    along = (value(2.4, 0.2005) - value(2.4, 0.1995)) / 1e-3
    np.testing.assert_allclose(slopes, [across, along], rtol=1e-4)


def test_a_root_near_a_guess():
    """The second root of the Maxwellian is damped much more."""
    found = complex(wave_frequency(Maxwellians(), 0.5, 1.5 - 1.5j))
    z = found / (0.5 * 2**0.5)
    residual = 0.25 + 1 + z * 1j * np.sqrt(np.pi) * wofz(z)
    assert abs(residual) < 1e-9 and found.imag < -1


def test_bad_input():
    with pytest.raises(ValueError, match="widths must be finite and > 0, got 0"):
        Maxwellians(widths=0)
    with pytest.raises(ValueError, match="densities must be finite and > 0, got -1"):
        ColdBeams(-1, 0)
    with pytest.raises(ValueError, match="wavenumber must be finite and > 0, got 0"):
        wave_frequency(Maxwellians(), 0, 1.0)
