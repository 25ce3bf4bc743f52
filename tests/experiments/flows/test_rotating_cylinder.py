"""The cylinder that turns: means over whole periods, names, a small run."""

import json
from typing import Any

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows import rotating_cylinder
from jaxpbdl.experiments.flows.rotating_cylinder import (
    EXPERIMENT,
    Config,
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
    config = Config(cells=12, coarser=8)

    def figure(cells):
        return 1.1 - 3.0 / cells**2

    assert grid_error(figure(12), figure(8), config) == pytest.approx(3.0 / 144)


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
