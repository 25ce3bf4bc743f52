"""The ensemble of time steps: its data, its alarm, a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxpbdl.diagnostics import area_under_curve
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.ensemble_operator import (
    EXPERIMENT,
    Config,
    Conservative,
    trajectories,
)
from jaxpbdl.experiments.uncertainty.forecasts import band_coverage
from jaxpbdl.networks import ConvNet


def test_the_data_keep_their_mean_and_lose_energy():
    found = trajectories(jax.random.key(0), 3, 64, size=2.0)
    assert found.shape == (3, 31, 64)
    np.testing.assert_allclose(
        found.mean(-1), found[:, :1].mean(-1) + 0 * found.mean(-1), atol=1e-5
    )
    energy = jnp.mean(found**2, -1)
    assert np.all(np.diff(energy, axis=1) < 0)
    network = Conservative(ConvNet(1, 1, 1, width=4, depth=1, key=jax.random.key(1)))
    assert float(jnp.abs(jnp.mean(network(found[0, :1])))) < 1e-6


def test_the_area_under_the_curve():
    draw = np.random.default_rng(0)
    known, unknown = draw.integers(0, 9, 50) + 0.0, draw.integers(3, 12, 40) + 0.0
    labels = np.repeat([0, 1], [50, 40])
    expected = roc_auc_score(labels, np.concatenate([known, unknown]))
    assert area_under_curve(np.concatenate([known, unknown]), labels == 1) == pytest.approx(
        expected
    )


def test_bands_of_whole_forecasts():
    def drawn(key, count):
        members, truth = jax.random.split(key)
        size = jnp.linspace(1, 3, 5)[:, None]
        return (
            size * jax.random.normal(members, (4, count, 5, 6)),
            size * jax.random.normal(truth, (count, 5, 6)),
        )

    inside, width = band_coverage(drawn(jax.random.key(0), 400), drawn(jax.random.key(1), 1000))
    assert inside == pytest.approx(0.9, abs=0.06)
    assert width > 2 * 2  # wider than a band for each value alone


def test_a_tiny_run(tmp_path):
    config = Config(
        members=2, points=32, train=40, calibration=60, test=80, width=12, depth=3, updates=400
    )
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    assert found["deep.rmse"] < 0.5
    for name in ("deep", "crps"):
        assert 0.75 < found[f"{name}.band_coverage_90"] <= 1
        assert found[f"{name}_rescaled.spread_skill"] == pytest.approx(1, abs=0.25)
        assert found[f"{name}.rmse"] == pytest.approx(found[f"{name}_rescaled.rmse"], rel=1e-3)
        assert 0.5 < found[f"{name}.auc_twice_the_size"] <= 1
    assert (tmp_path / "ensemble.png").exists()


def test_bad_settings():
    with pytest.raises(ValueError, match="members must be at least 2, got 1"):
        Config(members=1)
