"""The ensemble of operators: its media of other kinds, its steps, a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.operators.darcy import HIGH, LOW, medium
from jaxpbdl.experiments.uncertainty.ensemble_darcy import (
    EXPERIMENT,
    STRANGE,
    Config,
    as_channel,
    replaced,
    samples,
)
from jaxpbdl.learning import Emulator


def interfaces(order):
    """How often neighbours of a medium differ, mean of eight."""
    media = jnp.stack([medium(key, 65, order) for key in jax.random.split(jax.random.key(0), 8)])
    assert set(np.unique(media)) == {LOW, HIGH}
    return float(jnp.mean(jnp.diff(media, axis=1) != 0))


def test_media_of_another_order_are_rough_or_smooth():
    smooth, same, rough = interfaces(STRANGE["smooth"]), interfaces(2.0), interfaces(1.2)
    assert smooth < 0.7 * same and rough > 1.5 * same
    np.testing.assert_array_equal(medium(jax.random.key(1), 33), medium(jax.random.key(1), 33, 2.0))


def test_a_step_gives_the_pressure_alone():
    step = Emulator(lambda channels: 3 * channels, features=as_channel, change=replaced)
    state = jnp.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(step(state), 3 * state)


def test_a_tiny_run(tmp_path):
    config = Config(
        members=2, width=8, depth=2, modes=4, updates=60, train=20, calibration=60, test=60,
        strange=20, noise_channels=1,
    )  # fmt: skip
    known = samples(config)
    assert known["train"].shape == (20, 2, 16, 16)
    assert jnp.std(known["train"][:, 1]) == pytest.approx(1, rel=1e-5)
    assert set(np.unique(known["test"][:, 0])) == {-1, 1}
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    assert found["deep.rmse"] < 0.6
    for name in ("deep", "crps"):
        assert 0.7 < found[f"{name}.band_coverage_90"] <= 1
        assert found[f"{name}_rescaled.spread_skill"] == pytest.approx(1, abs=0.3)
        assert {f"{name}.auc_{kind}" for kind in STRANGE} <= found.keys()
    assert (tmp_path / "ensemble.png").exists()
