"""Measured metals: tables of optical constants, and poles fitted to them."""

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.metals import Dispersion, fitted_metal
from jaxpbdl.data.optical_constants import read_measured
from jaxpbdl.solvers.waves import drude, lorentz

WAVES = np.linspace(0.5, 1.0, 9)
METAL = Dispersion(5.0, (drude(44.0, 0.3), lorentz(14.0, 1.5, 2.5)), 0.0)


def test_the_table_of_gold(real_data):
    gold = read_measured(real_data("optical-constants/Au_Johnson.yml"))
    assert len(gold.wavelength) == 49
    assert gold.at(np.array([0.6168]))[0] == pytest.approx((0.21 + 3.272j) ** 2)
    between = ((0.21 + 3.272j) ** 2 + (0.29 + 2.863j) ** 2) / 2
    assert gold.at(np.array([(0.6168 + 0.5821) / 2]))[0] == pytest.approx(between)
    with pytest.raises(
        ValueError, match="wavelengths must be within those measured, 0.1879..1.937"
    ):
        gold.at(np.array([2.0]))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing", "there is no table"),
        ("type: tabulated nk\ndata: |\n 0.5 1.0\n", "must be wavelength, n and k, got ' ?0.5 1.0'"),
        ("type: tabulated nk\ndata: |\n 0.5 1 2\n 0.4 1 2\n", "wavelengths must rise"),
        ("type: tabulated nk\ndata: |\n 0.5 1 2\n 0.6 1 -2\n", "k be at least 0"),
    ],
)
def test_damaged_tables(tmp_path, text, problem):
    path = tmp_path / "one.yml"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_measured(path)


def test_poles_are_found_again():
    """Those of a metal that is made of a Drude and a Lorentz pole."""
    w = 2 * np.pi / WAVES
    known = 5 - 44.0**2 / (w**2 + 0.3j * w) + 1.5 * 14**2 / (14**2 - w**2 - 2.5j * w)
    np.testing.assert_allclose(METAL.at(WAVES), known, rtol=1e-5)
    found = fitted_metal(WAVES, known)
    assert found.error < 2e-3
    np.testing.assert_allclose(found.at(WAVES), known, rtol=3e-3)
    assert float(found.poles[0].strength) ** 0.5 == pytest.approx(44.0, rel=0.02)


def test_media_without_a_passive_fit_are_refused():
    with pytest.raises(ValueError, match="imaginary part >= 0, got -0.1"):
        fitted_metal(WAVES, np.full(9, -5 - 0.1j))
    with pytest.raises(ValueError, match="must be below 0 somewhere, got 2"):
        fitted_metal(WAVES, np.full(9, 2 + 0.1j))
    with pytest.raises(ValueError, match="at least four of each"):
        fitted_metal(WAVES[:3], np.full(3, -2 + 0.1j))
    jagged = METAL.at(WAVES) * np.where(np.arange(9) % 2, 1.5, 1.0)
    with pytest.raises(ValueError, match=r"no passive fit .* within 0.05: the best is 0\.[12]"):
        fitted_metal(WAVES, jagged)
