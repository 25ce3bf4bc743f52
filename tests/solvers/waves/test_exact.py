"""Exact solutions of waves against published and independent values."""

import numpy as np
import pytest

from jaxpbdl.solvers.waves import exact

# Two-dimensional grid, dt half a cell: phase velocity along an axis and along the diagonal.
VELOCITIES = {10: (0.987264, 0.995817), 20: (0.996892, 0.998968), 40: (0.999227, 0.999743)}


@pytest.mark.parametrize("points", VELOCITIES)
def test_phase_velocities(points):
    frequency = 2 * np.pi / points
    for direction, known in zip(((1, 0), (0.5**0.5, 0.5**0.5)), VELOCITIES[points], strict=True):
        k = exact.numerical_wavenumber(frequency, direction, (1.0, 1.0), 0.5)
        assert frequency / k == pytest.approx(known, abs=1e-6)


def test_cylinders():
    for size, permittivity, known in (
        (1.0, 4.0, 2.862930),
        (3.0, 2.25, 3.856329),
        (2 * np.pi * 0.175, 4.0, 3.788208),
    ):
        assert exact.cylinder_efficiency(size, permittivity) == pytest.approx(known, abs=1e-6)


# Size parameter, index, and to 40 digits with another program: Q_sca and Q_ext of TM, of TE, and
# of a sphere, whose asymmetry follows.
SERIES = (
    (0.5, 2, (1.7307296048, None), (0.1149763809, None), (0.0456637845, None), 0.0626708992),
    (10, 1.5, (3.3926216899, None), (2.9801499118, None), (2.8819989521, None), 0.7429128986),
    (3, 1.5 + 0.1j, (2.3895001672, 3.2138125073), (2.1441406166, 2.8869960300),
     (2.1267487078, 3.0219982483), None),
    (0.1 * np.pi / 0.5209, 0.62 + 2.081j, (1.1177301603, 1.5879760302),
     (0.9207312497, 1.6098598474), (1.3393203489, 3.9063048263), None),
)  # fmt: skip


@pytest.mark.parametrize(("size", "index", "tm", "te", "ball", "asymmetry"), SERIES)
def test_polarisations_extinction_and_spheres(size, index, tm, te, ball, asymmetry):
    eps = index**2
    for (scattering, extinction), coefficients in (
        (tm, exact.tm_coefficients),
        (te, exact.te_coefficients),
    ):
        found = exact.cylinder_efficiency(size, eps, coefficients)
        assert found == pytest.approx(scattering, abs=2e-10)
        whole = exact.cylinder_extinction(size, eps, coefficients)
        assert whole == pytest.approx(extinction or scattering, abs=2e-10)
        angles = 2 * np.pi * np.arange(100) / 100
        pattern = exact.cylinder_pattern(size, eps, angles, coefficients)
        assert 2 * np.pi * np.mean(pattern) == pytest.approx(scattering, abs=2e-10)
        assert pattern[0] > 2 * pattern[50] or size < 1  # a large one scatters ahead
    found = exact.sphere(size, eps)
    assert found.scattering == pytest.approx(ball[0], abs=2e-10)
    assert found.extinction == pytest.approx(ball[1] or ball[0], abs=2e-10)
    if asymmetry is not None:
        assert found.asymmetry == pytest.approx(asymmetry, abs=2e-10)


def test_a_small_sphere_scatters_as_a_dipole():
    """Q_sca = 8/3 x^4 |(m^2 - 1) / (m^2 + 2)|^2 (Rayleigh)."""
    found, size = exact.sphere(0.01, 1.7 + 0.2j), 0.01
    polarisability = (1.7 + 0.2j - 1) / (1.7 + 0.2j + 2)
    assert found.scattering == pytest.approx(8 / 3 * size**4 * abs(polarisability) ** 2, rel=1e-3)
    assert found.extinction == pytest.approx(4 * size * polarisability.imag, rel=1e-3)


def test_a_slab_keeps_energy_and_vanishes_at_half_a_wavelength():
    frequency, eps = np.array([1.0, 2.3]), np.array([2.25, 4.0])
    r, t = exact.slab(frequency, eps, 0.7)
    np.testing.assert_allclose(abs(r) ** 2 + abs(t) ** 2, 1, rtol=1e-12)
    r, t = exact.slab(np.array([np.pi / 1.5 / 0.7]), np.array([2.25]), 0.7)
    np.testing.assert_allclose([r, t], [[0], [-1]], atol=1e-12)
    # Thick and absorbing: only the first face reflects, E behind falls as exp(-w Im(n) x).
    eps = np.array([(2 + 0.5j) ** 2])
    r, t = exact.slab(np.array([1.0]), eps, 30.0)
    np.testing.assert_allclose(r, (1 - 2 - 0.5j) / (3 + 0.5j), atol=1e-12)
    np.testing.assert_allclose(abs(t), abs(4 * (2 + 0.5j) / (3 + 0.5j) ** 2) * np.exp(-15))


def test_refused():
    with pytest.raises(ValueError, match="direction must be a unit vector of 2 entries"):
        exact.numerical_wavenumber(1.0, (1.0, 1.0), (0.1, 0.1), 0.05)
    with pytest.raises(ValueError, match="size must be finite and > 0, got 0"):
        exact.cylinder_efficiency(0.0, 4.0)
