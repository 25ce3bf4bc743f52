"""A ring resonator: a small run, and the exact frequency."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.waves.ring_resonator import EXPERIMENT, MEEP, Config, quality, ring
from jaxpbdl.solvers.waves.exact import ring_frequency


def test_a_small_run(tmp_path):
    config = Config(cells=10, coarser=(5,), gap=3.0)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    assert metrics["frequency.exact"] == pytest.approx(0.11819169, abs=1e-7)
    assert metrics["frequency"] == pytest.approx(0.11819169, rel=2e-3)
    assert metrics["quality.exact"] == pytest.approx(77.2554, abs=1e-3)
    assert metrics["quality"] == pytest.approx(77.2554, rel=0.015)
    error, coarse = metrics["frequency_error"], metrics["frequency_error_5"]
    assert error == pytest.approx(abs(metrics["frequency"] / 0.11819169 - 1), abs=1e-6)
    assert metrics["order"] == pytest.approx(np.log2(coarse / error)) and coarse < 0.01
    assert metrics["quality_error"] < metrics["quality_error_5"] < 0.05
    assert result["published"]["frequency"]["value"] == 0.118101315
    assert (tmp_path / "ring.png").stat().st_size > 5000


def test_even_modes(tmp_path):
    """Of order 4, by the other mirror; half the lengths are twice the frequency."""
    config = Config(
        azimuthal=4, inner=0.5, outer=1.0, wavelength=3.4, cells=12, coarser=(), gap=1.5, layer=0.6
    )
    metrics = EXPERIMENT.run(config, tmp_path).metrics
    assert metrics["frequency.exact"] == pytest.approx(2 * 0.14743103, abs=1e-6)
    assert metrics["frequency_error"] < 0.01 and metrics["quality_error"] < 0.1


def test_the_exact_frequency():
    """It scales with the radii; near the value of another program; a ring without a hole of note is
    a cylinder, whose modes are J_m and H_m."""
    from scipy import special

    guess = 2 * np.pi * MEEP
    found = ring_frequency(1.0, 2.0, 3.4**2, 3, guess)
    assert found == pytest.approx(guess, rel=2e-3)
    assert quality(found) == pytest.approx(quality(guess), rel=0.05)
    assert 3 * ring_frequency(3.0, 6.0, 3.4**2, 3, guess / 3) == pytest.approx(found, rel=1e-9)
    full = ring_frequency(1e-3, 1.0, 4.0, 3, 2.6 - 0.1j)
    inner = 2 * special.jvp(3, 2 * full) / special.jv(3, 2 * full)
    assert inner == pytest.approx(special.h1vp(3, full) / special.hankel1(3, full), rel=1e-6)
    with pytest.raises(ValueError, match="outer must be above inner, 2.0, got 1.0"):
        ring_frequency(2.0, 1.0, 4.0, 3, 1.0)
    with pytest.raises(ValueError, match="order must be an integer >= 0, got -1"):
        ring_frequency(1.0, 2.0, 4.0, -1, 1.0)


def test_settings():
    step, every = ring(Config(cells=8, gap=2.0))
    assert step.grid.shape == (8 * 4 + 10,) * 2
    assert every * float(step.dt) == pytest.approx(8.5 / 8, rel=1e-6)
    assert 0.8 < float(step.dt / step.largest_dt()) < 1
    with pytest.raises(ValueError, match="outer must be above inner, 2.0, got 1.5"):
        Config(inner=2.0, outer=1.5)
