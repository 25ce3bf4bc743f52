"""Physics-informed operators of Burgers' equation: the data, the losses, a tiny run."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.operators.burgers import histories, initial
from jaxpbdl.experiments.operators.pino_burgers import EXPERIMENT, Config

TINY = Config(
    solutions=3, points=16, modes=4, width=2, training=replace(Config.training, batch=3, updates=3)
)


def test_initial_states_have_their_covariance():
    grid = jp.grids.Periodic(32, 1.0)
    states = initial(jax.random.key(0), 4000, grid)
    modes = np.abs(np.fft.rfft(np.asarray(states)) / 32) ** 2
    k = 2 * np.pi * np.arange(17)
    # A wave of both signs with coefficients c and its conjugate has the mean square 2 |c|^2.
    np.testing.assert_allclose(modes.mean(0)[1:16], (25 / (k**2 + 25))[1:16] ** 2, rtol=0.12)
    np.testing.assert_allclose(modes[:, 0], 0, atol=1e-10)


def test_histories_keep_the_mean_and_lose_energy():
    grid = jp.grids.Periodic(32, 1.0)
    found = histories(initial(jax.random.key(0), 4, grid), grid, 0.02, 4, 8)
    assert found.shape == (4, 5, 32)
    np.testing.assert_allclose(found.mean(-1), 0, atol=1e-5)
    assert jnp.all(jnp.diff(jnp.sum(found**2, -1), axis=1) < 0)


def test_a_tiny_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    metrics = report["metrics"]
    names = {f"{method}.relative_l2" for method in ("data_only", "physics_only", "both")}
    assert set(metrics) == {*names, "relative_l2"}
    assert len(set(metrics.values())) == 3 and not report["nonfinite"]
    assert (tmp_path / "states.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="solutions must be an integer >= 1, got 0"):
        Config(solutions=0)
    with pytest.raises(ValueError, match="physics must be finite and > 0"):
        Config(physics=-1.0)
