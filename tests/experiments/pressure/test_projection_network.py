"""Learned projection: the fields, the scaling, a tiny run."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.pressure.cells import divergence
from jaxpbdl.experiments.pressure.guesses import Draws, Scaled
from jaxpbdl.experiments.pressure.projection_network import (
    COARSE,
    EXPERIMENT,
    FINE,
    Config,
    noise,
    run,
)
from jaxpbdl.networks import UNet

TINY = Config(
    fields=10,
    width=2,
    levels=1,
    training=replace(Config.training, batch=5, updates=20, learning_rate=1e-2),
)


def test_fields_have_unit_deviation_and_no_long_waves():
    for scale in (COARSE, FINE):
        fields = noise(jax.random.key(0), 5, scale)
        assert fields.shape == (5, 2, 32, 32)
        np.testing.assert_allclose(jnp.std(fields, (-2, -1)), 1, rtol=1e-5)
        waves = np.abs(np.fft.fft2(np.asarray(fields))).mean((0, 1))
        kept = (scale * np.fft.fftfreq(32)) ** 2
        absent = kept[:, None] + kept <= 0.1
        assert waves[absent].max() < 1e-3 * waves[~absent].min()
    # Of the published fields: 2059 before the network, as drawn once.
    sources = jax.vmap(lambda v: divergence(v, True))(noise(jax.random.key(1), 200, FINE))
    np.testing.assert_allclose(jnp.mean(jnp.sum(sources**2, (1, 2))), 2059, rtol=0.08)


def test_twice_the_divergence_gives_twice_the_pressure():
    pressure = Scaled(UNet(2, 1, 1, width=2, levels=1, key=jax.random.key(0)))
    source = jax.random.normal(jax.random.key(1), (32, 32))
    np.testing.assert_allclose(pressure(2 * source), 2 * pressure(source), rtol=1e-4, atol=1e-5)


def test_a_batch_has_no_field_twice():
    sources = jnp.arange(6.0)[:, None, None] * jnp.ones((6, 2, 2))
    batch = Draws(sources, 6)(jax.random.key(0))
    assert sorted(batch[:, 0, 0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_tiny_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    # The book's network has activations: its figure stands beside ours that has them.
    assert metrics["loss_reduction"] == metrics["relu.loss_reduction"] > 1.0
    assert metrics["exact.loss_reduction"] > 1e6 and metrics["linear.loss_reduction"] > 1.2
    table = (tmp_path / "table.md").read_text()
    assert "no activations; the network of the book has them" in table
    assert (tmp_path / "divergence.png").exists()


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="levels must be at most 5 for 32 cells, got 6"):
        Config(levels=6)
    with pytest.raises(ValueError, match="learning_rate must be finite and > 0"):
        replace(Config.training, learning_rate=0.0)
    with pytest.raises(ValueError, match="batch must be at most fields = 10, got 11"):
        run(Config(fields=10, training=replace(Config.training, batch=11)), tmp_path)
