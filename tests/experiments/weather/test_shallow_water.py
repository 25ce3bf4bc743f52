"""Shallow water on the sphere: a coarse and short run of all cases, and the settings."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.weather import shallow_water
from jaxpbdl.experiments.weather.shallow_water import (
    EXPERIMENT,
    Config,
    extrema,
    harmonics_of,
    relative,
)


def test_extrema_and_relative_errors():
    found = extrema(jnp.asarray([[3.0, -1.0], [7.0, 2.0]]))
    assert found == {"height_min": -1.0, "height_max": 7.0}
    harmonics = harmonics_of(7)
    known = jnp.full(harmonics.grid.shape, 2.0)
    assert relative(harmonics, 1.25 * known, known) == pytest.approx(0.25, rel=1e-5)
    assert relative(harmonics, known, 2 * known) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.stand_ins
def test_steps_of_a_forecast(monkeypatch):
    """No longer than granted, at other truncations in inverse proportion; they end on the day."""
    seen = {}

    def on_sphere(equation, harmonics, dt):
        seen["dt"] = dt
        return SimpleNamespace(check=lambda state: None)

    monkeypatch.setattr(shallow_water, "on_sphere", on_sphere)
    monkeypatch.setattr(shallow_water.jp, "repeat", lambda step, steps: steps)
    monkeypatch.setattr(shallow_water, "_run", lambda steps, state: steps)
    for truncation, longest, steps in ((42, 1200.0, 36), (21, 1200.0, 18), (42, 1300.0, 34)):
        harmonics = SimpleNamespace(truncation=truncation)
        config = Config(longest=longest)
        assert shallow_water.forecast(config, None, None, harmonics, 0.5) == steps
        assert seen["dt"] == pytest.approx(43200 / steps)


@pytest.mark.stand_ins
def test_the_phase_speed_counts_whole_waves(monkeypatch):
    """A wave that has gone 2.3 of its lengths, as the exact one nearly has."""
    number, days = shallow_water.WAVE_NUMBER, 5.0
    wave = 2 * np.pi / number
    modes = np.zeros((number + 1, number + 2), complex)
    modes[number, number + 1] = 3 - 4j
    gone = np.exp(-1j * number * 2.3 * wave)
    harmonics = SimpleNamespace(transform=lambda state: state * modes)
    exact = 2.25 * wave / (days * shallow_water.DAY)
    monkeypatch.setattr(shallow_water, "wave_speed", lambda: exact)
    monkeypatch.setattr(shallow_water, "barotropic_wave", lambda harmonics: (None, 1.0))
    monkeypatch.setattr(shallow_water, "forecast", lambda *_: gone)
    found = shallow_water.phase_speed(Config(), harmonics, days)
    assert found == pytest.approx(np.rad2deg(2.3 * wave) / days, rel=1e-5)


def test_a_tiny_run(tmp_path):
    """One day at T15 against T21: the balance is kept, the rest is as coarse as it must be."""
    config = Config(truncation=15, finer=21, days=(1.0, 1.0, 1.0, 0.5))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    assert metrics["williamson2.l2"] < 1e-13
    for case in (5, 6):
        assert 1e-5 < metrics[f"williamson{case}.l2"] < 1e-2, case
        assert abs(metrics[f"williamson{case}.mass_drift"]) < 1e-13
        assert abs(metrics[f"williamson{case}.energy_drift"]) < 1e-5
        assert abs(metrics[f"williamson{case}.enstrophy_drift"]) < 1e-2
    assert 4900 < metrics["williamson5.height_min"] < 5100
    assert 5900 < metrics["williamson5.height_max"] < 6000
    assert metrics["rossby_haurwitz.phase_speed"] == pytest.approx(12.195, abs=1e-3)
    assert result["published"]["rossby_haurwitz.phase_speed"]["value"] == pytest.approx(12.195035)
    assert "williamson5.l2" not in result["published"]  # which is of day 15
    assert 9000 < metrics["galewsky.height_min"] < 9200
    assert metrics["galewsky.vorticity_min"] < -5e-5 < 5e-5 < metrics["galewsky.vorticity_max"]
    assert metrics["galewsky.vorticity_rms"] == pytest.approx(2.45e-5, rel=0.1)
    assert (tmp_path / "maps.png").stat().st_size > 20000


def test_settings():
    with pytest.raises(ValueError, match="below finer = 63, got 63"):
        Config(truncation=63)
    with pytest.raises(ValueError, match="at least 5, the degree of the wave"):
        Config(truncation=4)
    with pytest.raises(ValueError, match="longest must be finite and > 0, got 0"):
        Config(longest=0.0)
