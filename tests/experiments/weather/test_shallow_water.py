"""Shallow water on the sphere: a coarse and short run of all cases, and the settings."""

import json

import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.weather.shallow_water import EXPERIMENT, Config


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
