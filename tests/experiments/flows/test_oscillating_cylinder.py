"""The cylinder that oscillates: coefficients of a known force, its velocity, a small run."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows import oscillating_cylinder
from jaxpbdl.experiments.flows.oscillating_cylinder import EXPERIMENT, Config, morison, velocity


def test_coefficients_of_a_force_that_is_made_of_them():
    """Drag against the velocity of the cylinder, added mass against its acceleration."""
    times, period = np.linspace(0, 5, 60, endpoint=False), 5.0
    speed = velocity(times / period)[:, 0]
    nudge = 1e-6
    later, earlier = (velocity((times + sign * nudge) / period)[:, 0] for sign in (1, -1))
    acceleration = (later - earlier) / (2 * nudge)
    # Coefficients are forces over half the density times the squared velocity and the diameter.
    force = -2 * (0.5 * 2.1 * np.abs(speed) * speed + np.pi / 4 * 1.4 * acceleration)
    found = morison(times, force, period)
    np.testing.assert_allclose(found, (2.1, 1.4, 0.0), rtol=1e-6, atol=1e-6)
    odd = morison(times, force + 0.1 * np.sin(2 * np.pi * 5 * times / period), period)
    assert odd.unexplained > 0.01


@pytest.mark.stand_ins
def test_figures_beside_printed_ones(tmp_path, monkeypatch):
    """Forces made of coefficients that approach 2 and 1.5 in second order."""
    config = Config(cells=12, coarser=8)
    printed = {"drag": 2.5, "added_mass": 1.0}
    table = {(config.reynolds, config.keulegan_carpenter): printed}
    monkeypatch.setattr(oscillating_cylinder, "TABLE", table)

    def oscillation(config, cells):
        times = np.linspace(0, config.keulegan_carpenter, 40, endpoint=False)
        phase = 2 * np.pi * times / config.keulegan_carpenter
        drag, mass = 2 - 14.4 / cells**2, 1.5 + 28.8 / cells**2
        force = drag * np.abs(np.cos(phase)) * np.cos(phase)
        force -= np.pi**2 / config.keulegan_carpenter * mass * np.sin(phase)
        assert cells in (12, 8)
        return oscillating_cylinder.Oscillation(None, None, times, force)

    monkeypatch.setattr(oscillating_cylinder, "oscillation", oscillation)
    monkeypatch.setattr(oscillating_cylinder, "_picture", lambda *_: None)
    result = oscillating_cylinder.run(config, tmp_path)
    found = result.metrics
    assert found["drag"] == pytest.approx(1.9) and found["added_mass"] == pytest.approx(1.7)
    assert found["drag_grid_error"] == pytest.approx(0.1)
    assert found["added_mass_grid_error"] == pytest.approx(0.2)
    assert found["drag_error"] == pytest.approx(1 - 1.9 / 2.5)
    assert found["added_mass_error"] == pytest.approx(0.7)
    assert {name: each.value for name, each in result.published.items()} == printed


def test_the_velocity_of_the_cylinder():
    """It begins at its fastest, backwards, and rests after a quarter."""
    found = velocity(np.asarray([0.0, 0.25, 0.5, 0.625]))
    np.testing.assert_allclose(found[:, 0], [-1, 0, 1, 0.5**0.5], atol=1e-12)
    np.testing.assert_array_equal(found[:, 1], 0)


def test_refused():
    with pytest.raises(ValueError, match="coarser must be below cells = 8, got 9"):
        Config(cells=8, coarser=9)


def test_a_tiny_run(tmp_path):
    """On coarse cells in a small box the added mass is that of a disc and some friction."""
    config = Config(cells=8, coarser=6, far=3.0, periods=1)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = result["metrics"]
    assert 1.2 < metrics["drag"] < 3.0 and 1.0 < metrics["added_mass"] < 2.2
    assert set(result["published"]) == {"drag", "added_mass"}
    expected = abs(metrics["drag"] / 2.09 - 1)
    assert metrics["drag_error"] == pytest.approx(expected)
    assert (tmp_path / "oscillation.png").stat().st_size > 5000
