"""The ensemble of corrected solvers: how forecasts are cut, a tiny run."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.ensemble_turbulence import EXPERIMENT, GAP, STEPS, Config, cut


def test_forecasts_do_not_overlap():
    moments = jnp.arange(2 * STEPS + GAP + 1.0)[None, :, None, None] + jnp.zeros((3, 1, 2, 2))
    found = np.asarray(cut(moments, 2))
    assert found.shape == (6, STEPS + 1, 2, 2)
    assert found[0, -1, 0, 0] == STEPS and found[3, 0, 0, 0] == STEPS + GAP


def test_a_tiny_run(tmp_path):
    config = Config(
        members=2, width=4, depth=2, updates=40, trajectories=2, forecasts=8, train=2, coarse=24,
        fine=32, learning_rate=1e-4, last_rate=1e-4,
    )  # fmt: skip
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    for name in ("deep", "crps"):
        assert found[f"{name}.rmse"] == pytest.approx(found[f"{name}_rescaled.rmse"], rel=1e-3)
        assert 0.3 < found[f"{name}_rescaled.spread_skill"] < 2
        assert 0 <= found[f"{name}.band_coverage_90"] <= 1
    assert (tmp_path / "ensemble.png").exists()
