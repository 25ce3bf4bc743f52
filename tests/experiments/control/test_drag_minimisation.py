"""drag-minimisation, tiny: the gradient is right, the area stays, the drag falls."""

import pytest

from jaxpbdl.experiments.control.drag_minimisation import EXPERIMENT, Config, run


def test_a_tiny_run(tmp_path):
    """On 6 cells a diameter; both horizons are of 32 steps, so that they share their programs."""
    result = run(Config(cells=6, waves=2, turns=6, horizon=1.85), tmp_path)
    metrics = result.metrics
    assert metrics["gradient.short"] < 1e-3 and metrics["gradient.long"] < 1e-3
    assert metrics["area_error"] < 1e-12
    assert metrics["optimal.drag"] < 0.98 * metrics["disc.drag"]
    assert (tmp_path / "shape.png").stat().st_size > 10_000


def test_presets_and_settings():
    assert set(EXPERIMENT.presets) == {"quick", "full"}
    with pytest.raises(ValueError, match="cells must be an integer >= 6, got 4"):
        Config(cells=4)
    with pytest.raises(ValueError, match="horizon"):
        Config(horizon=-1.0)
