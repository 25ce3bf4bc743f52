"""The ensemble of corrected solvers of wakes: parts that share no wake, forecasts, a tiny run."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.ensemble_wake import (
    EXPERIMENT,
    STEPS,
    Config,
    cut,
    dealt,
    in_faces,
)
from jaxpbdl.experiments.wakes.flow import Setting, flow_of
from jaxpbdl.experiments.wakes.hybrid import solver_of, velocity
from jaxpbdl.experiments.wakes.plain import STRIDE
from jaxpbdl.learning import Varied

TINY = Config(
    members=2, width=4, depth=2, updates=12, batch=4, short=1, long=2, finer=2, train=2,
    calibration=9, test=2, strange=1, forecasts=1, spin_up=2.0, learning_rate=1e-4, last_rate=1e-4,
)  # fmt: skip


def test_parts_share_no_wake():
    numbers = dealt(Config(train=5, calibration=7, test=6, strange=3))
    assert [len(part) for part in numbers] == [5, 7, 6, 3, 3, 3]
    inside = np.sort([*numbers.train, *numbers.calibration, *numbers.test])
    np.testing.assert_allclose(inside, np.geomspace(80, 200, 18), atol=6e-4)
    assert max(numbers.below) == 60 < 80 < 200 < min(numbers.above) == 280
    # Each part lies in both halves of the range.
    assert all(min(part) < 120 < max(part) for part in numbers[:3])


def test_forecasts_of_a_wake():
    """Every tenth time unit from its start, snapshots a step of the hybrid apart."""
    streams = jnp.arange(300.0)[None, :, None, None] + jnp.zeros((3, 1, 2, 2))
    found = np.asarray(cut(streams, 2))
    assert found.shape == (6, STEPS + 1, 2, 2)
    np.testing.assert_array_equal(found[2, :, 0, 0], STRIDE * np.arange(STEPS + 1))
    np.testing.assert_array_equal(found[3, :, 0, 0], 100 + STRIDE * np.arange(STEPS + 1))


def test_what_is_judged():
    """All faces but those where the flow is given."""
    step = flow_of(solver_of(TINY.hybrid, Setting((32, 16))))
    state = Varied(step.start((1.0, 0.0)), jnp.asarray(0.01))
    found, (along, across) = in_faces(state), velocity(state)
    assert found.shape == (2, 32, 16) and along.shape == (33, 16) and across.shape == (32, 17)
    np.testing.assert_array_equal(found[0, -1], along[-1])
    np.testing.assert_array_equal(found[1, :, 0], across[:, 1])


def test_settings():
    with pytest.raises(ValueError, match="ranges that rise and do not meet"):
        Config(below=(45.0, 90.0))
    with pytest.raises(ValueError, match="must be another than the cylinder"):
        Config(body="cylinder")
    with pytest.raises(ValueError, match="0.9 needs a calibration set of at least 9 .* got 8"):
        Config(calibration=4)


def test_a_tiny_run(tmp_path):
    found = execute(EXPERIMENT, "quick", TINY, tmp_path / "run").metrics
    for name in ("deep", "crps", "noisy"):
        assert 0.005 < found[f"{name}.rmse"] < 0.3
        assert found[f"{name}.rmse"] == pytest.approx(found[f"{name}_rescaled.rmse"], rel=1e-3)
        assert 0 <= found[f"{name}.band_coverage_90"] <= 1
        assert {f"{name}.auc_{kind}" for kind in ("lower_reynolds", "other_body")} <= set(found)
    # The members start with the same solver and hardly learn: the truth is beyond their spread.
    assert found["deep.spread_skill"] < 0.3
    assert (tmp_path / "run" / "ensemble.png").exists()
