"""The rotating and the oscillating cylinder: their fits, a tiny run."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows.rotating_cylinder import EXPERIMENT, Config, frequency, morison


def test_the_fit_of_a_force():
    times = np.arange(40) / 8
    phase = 2 * np.pi * times / 5
    speed, acceleration = -np.cos(phase), 2 * np.pi / 5 * np.sin(phase)
    force = -2.0 * np.abs(speed) * speed - np.pi / 2 * 1.5 * acceleration
    assert morison(times, force, 5.0) == pytest.approx((2.0, 1.5, 0.0), abs=1e-12)
    drag, added, left = morison(times, force + 0.1 * np.sin(5 * phase), 5.0)
    assert drag == pytest.approx(2.0, abs=0.05) and 0.02 < left < 0.1


def test_the_frequency_of_a_series():
    times = np.linspace(0, 20, 301)
    assert frequency(times, 3 + np.sin(2 * np.pi * 0.17 * times)) == pytest.approx(0.17, rel=1e-3)
    assert frequency(times, times) == 0.0


def test_a_tiny_run(tmp_path):
    """The lift points down, the force opposes the motion, figures stand beside."""
    config = Config(cells=8, far=5.0, time=3.0, counted=1.0, periods=1, oscillating_far=4.0)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    assert metrics["re100_rate1.mean_lift"] < -0.5 and metrics["re100_rate1.mean_torque"] < 0
    assert 0.5 < metrics["oscillating.added_mass"] < 3
    assert set(result["published"]) < set(metrics) and len(result["published"]) == 5
    assert (tmp_path / "vorticity.png").stat().st_size > 5000


def test_refused():
    with pytest.raises(ValueError, match="rates must be as many as reynolds, 1; got 2"):
        Config(rates=(1.0, 2.0))
    with pytest.raises(ValueError, match="counted must be below time = 110.0, got 200.0"):
        Config(counted=200.0)
