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
