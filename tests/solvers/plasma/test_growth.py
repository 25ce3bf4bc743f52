"""Frequencies of series whose waves are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.solvers.plasma import growth_rate, wave_frequencies

pytestmark = pytest.mark.x64

TIMES = 0.2 * np.arange(60)


def test_waves_are_told_apart():
    true = np.array([0.3 + 0.1j, -1.2 - 0.02j, 2.0 - 0.3j])
    series = np.exp(-1j * true * TIMES[:, None]) @ np.array([1.0, 0.5j, -2.0])
    np.testing.assert_allclose(wave_frequencies(series, 0.2, 3), true, atol=1e-9)


def test_a_standing_wave_is_two():
    series = np.exp(-0.15 * TIMES) * np.cos(1.4 * TIMES + 0.3)
    found = wave_frequencies(series, 0.2, 2)
    np.testing.assert_allclose(found, [1.4 - 0.15j, -1.4 - 0.15j], atol=1e-9)


def test_the_rate_and_its_derivative():
    def rate(gamma):
        return growth_rate(1j * 1e-3 * jnp.exp(gamma * TIMES), 0.2)

    value, slope = jax.value_and_grad(rate)(0.25)
    assert value == pytest.approx(0.25, abs=1e-12) and slope == pytest.approx(1.0, abs=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="3 waves need a series of at least 6, got 5"):
        wave_frequencies(np.ones(5), 0.1, 3)
    with pytest.raises(ValueError, match="series must be finite"):
        wave_frequencies(np.full(9, np.nan), 0.1, 1)
    with pytest.raises(ValueError, match="interval must be finite and > 0, got 0"):
        wave_frequencies(np.ones(9), 0.0, 1)
