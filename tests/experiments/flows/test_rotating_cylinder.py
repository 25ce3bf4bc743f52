"""The cylinder that turns: means over whole periods, names, a small run."""

import json
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows import rotating_cylinder
from jaxpbdl.experiments.flows.rotating_cylinder import (
    EXPERIMENT,
    Config,
    Loads,
    Wake,
    grid_error,
    label,
    loads,
)


def wake_of(lift):
    """A wake of which only times and coefficients are asked."""
    times = np.arange(len(lift)) * 0.2
    drag = 1.3 + 0.1 * np.sin(2 * np.pi * 0.34 * times)
    nothing: Any = None
    return Wake(nothing, nothing, times, np.stack([drag, lift, 0 * times - 0.2], axis=1))


@pytest.mark.stand_ins
def test_means_are_over_whole_periods_of_the_lift():
    """Six and a half periods: over all of them the mean would be 0.03 off."""
    times = np.arange(0, 6.5 / 0.17, 0.2)
    found = loads(wake_of(-2.0 + 0.5 * np.sin(2 * np.pi * 0.17 * times)))
    assert found.strouhal == pytest.approx(0.17, rel=2e-3)
    assert found.lift == pytest.approx(-2.0, abs=0.01)
    assert found.drag == pytest.approx(1.3, abs=0.003)
    assert found.amplitude == pytest.approx(0.5, rel=0.02)
    assert found.torque == pytest.approx(-0.2)


@pytest.mark.stand_ins
def test_a_steady_lift_has_no_frequency():
    found = loads(wake_of(np.full(80, -3.0)))
    assert (found.strouhal, found.amplitude) == (0.0, 0.0)
    assert found.lift == pytest.approx(-3.0)


def test_names_and_the_error_of_the_grid():
    assert [label(100.0, 1.0), label(200.0, 0.5), label(60.0, -2.0)] == [
        "re100_spin1",
        "re200_spin0p5",
        "re60_spinm2",
    ]

    def figure(cells):
        return 1.1 - 3.0 / cells**2

    assert grid_error(figure(12), figure(8), 1.5) == pytest.approx(3.0 / 144)


@pytest.mark.stand_ins
def test_the_slope_beside_a_difference(monkeypatch):
    """Of a drag that is the cube of the spin from the first step on, the start is left out."""
    turning = SimpleNamespace(at=lambda factors: 0.5 * factors[0])

    def rollout(step, state, steps, inputs, observe):
        assert state == "begin" and inputs.shape == (steps, 1) and steps == 5
        drags = [0.5 * observe(state) + 0 * inputs[0, 0] for _ in range(steps)]
        return jnp.stack([1e3 * inputs[0, 0], *drags])

    monkeypatch.setattr(rotating_cylinder, "sliding", lambda step: turning)
    monkeypatch.setattr(rotating_cylinder.jp, "rollout", rollout)
    # The factor is the spin in units of that until now, 0.5.
    monkeypatch.setattr(rotating_cylinder, "force_on_body", lambda step, _: [step**3, 1e6])
    step = SimpleNamespace(dt=0.1, grid=SimpleNamespace(dtype=jnp.float32))
    found = Wake(step, "begin", np.zeros(1), np.zeros((1, 3)))
    slope, difference = rotating_cylinder.drag_slope(Config(slope_time=0.5), found, 0.5)
    assert slope == pytest.approx(3 * 0.5**2, rel=1e-4)
    assert difference == pytest.approx(3 * 0.5**2 + 0.02**2, rel=1e-4)


@pytest.mark.stand_ins
def test_figures_beside_printed_ones(tmp_path, monkeypatch):
    """Errors of the grid from a coarser run, relative errors where figures are printed, slopes
    where the cylinder turns."""
    config = Config(reynolds=(60.0, 100.0), spins=(0.0, 1.0), cells=12, coarser=8)
    printed = {"drag": 2.0, "lift": -4.0}
    monkeypatch.setattr(rotating_cylinder, "TABLE", {(100.0, 1.0): printed})
    monkeypatch.setattr(rotating_cylinder, "wake", lambda config, *numbers: numbers)
    shown = []
    monkeypatch.setattr(rotating_cylinder, "_picture", lambda wakes, folder: shown.extend(wakes))

    def figures(found):
        reynolds, rate, cells = found
        assert cells in (12, 8)
        base = reynolds / 100 + rate
        return Loads(base + 144 / cells**2, -base, 3 * base, 0.1, 0.2)

    monkeypatch.setattr(rotating_cylinder, "loads", figures)
    monkeypatch.setattr(rotating_cylinder, "drag_slope", lambda config, found, rate: (rate, 2.5))
    result = rotating_cylinder.run(config, tmp_path)
    found = result.metrics
    assert shown == ["re60_spin0", "re60_spin1", "re100_spin0", "re100_spin1"]
    for name, base in zip(shown, (0.6, 1.6, 1.0, 2.0), strict=True):
        assert found[f"{name}.drag"] == pytest.approx(base + 1)
        assert found[f"{name}.lift"] == -base and found[f"{name}.torque"] == 3 * base
        assert found[f"{name}.drag_grid_error"] == pytest.approx(1)
        assert found[f"{name}.lift_grid_error"] == found[f"{name}.torque_grid_error"] == 0
        assert (f"{name}.drag_slope" in found) == (name.endswith("spin1"))
    assert found["re60_spin1.drag_slope"] == 1 and found["re60_spin1.drag_slope_difference"] == 2.5
    assert found["re100_spin1.drag_error"] == pytest.approx(0.5)
    assert found["re100_spin1.lift_error"] == pytest.approx(0.5)
    assert {name: each.value for name, each in result.published.items()} == {
        f"re100_spin1.{what}": value for what, value in printed.items()
    }


def test_the_push_to_one_side():
    """One behind the cylinder, the stream elsewhere."""
    np.testing.assert_allclose(rotating_cylinder.kicked(jnp.asarray([1.0, 1.0])), [1, 0.5])
    side = rotating_cylinder.kicked(jnp.asarray([2.0, 1.0]))
    np.testing.assert_allclose(side, [1, 0.5 * np.exp(-1)], rtol=1e-6)


def test_refused():
    with pytest.raises(ValueError, match=r"counted must be below time = 10.0, got 10.0"):
        Config(time=10.0, counted=10.0)
    with pytest.raises(ValueError, match="coarser must be below cells = 8, got 8"):
        Config(cells=8, coarser=8)


def test_a_tiny_run(tmp_path):
    """On coarse cells and for a short time: pushed down, turned back, and a slope of the drag that
    is that of a difference."""
    config = Config(
        reynolds=(60.0,), cells=8, coarser=7, far=5.0, time=6.0, counted=1.5, slope_time=0.4
    )
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    metrics = {name.split(".")[1]: value for name, value in result["metrics"].items()}
    assert 0.5 < metrics["drag"] < 2.5 and -4.0 < metrics["lift"] < -1.0
    assert metrics["torque"] < -0.1
    difference = metrics["drag_slope_difference"]
    assert metrics["drag_slope"] == pytest.approx(difference, rel=0.05, abs=0.01)
    assert (tmp_path / "wakes.png").stat().st_size > 5000
    assert result["published"] == {} and rotating_cylinder.TABLE
