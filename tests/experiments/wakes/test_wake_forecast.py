"""The linear model, and the forecast experiment on a small travelling wave and on the real wake."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.wakes.wake_forecast import EXPERIMENT, Config
from jaxpbdl.solvers.dmd import dynamic_modes

TINY = Config(members=2, width=4, depth=3, batch=2, unroll=2, updates=6)


def linear_frames(count=30):
    """Two damped rotations about a mean: exactly linear of rank four."""
    t = np.arange(count)
    modes = np.random.default_rng(0).normal(size=(5, 3, 7))
    waves = [np.cos(0.3 * t), np.sin(0.3 * t), 0.97**t * np.cos(0.9 * t), 0.97**t * np.sin(0.9 * t)]
    return jnp.asarray(np.tensordot(np.stack(waves, 1), modes[:4], 1) + modes[4], jnp.float32)


def test_the_linear_model_continues_a_linear_system():
    frames = linear_frames()
    step = dynamic_modes(frames[:20], rank=4)
    ahead = jp.rollout(step, frames[19], 10)
    np.testing.assert_allclose(ahead, frames[19:], atol=1e-2)
    poor = jp.rollout(dynamic_modes(frames[:20], rank=1), frames[19], 10)
    assert jp.diagnostics.relative_l2(poor, frames[19:]) > 0.1


def test_bad_input():
    with pytest.raises(ValueError, match="rank must be at most the number of pairs of frames, 29"):
        dynamic_modes(linear_frames(), 30)
    with pytest.raises(ValueError, match="rank must be at most the size of a state, 3, got 5"):
        dynamic_modes(jnp.ones((50, 3)), 5)
    with pytest.raises(ValueError, match=r"frames must have an axis of frames .*got \(50,\)"):
        dynamic_modes(jnp.ones(50), 1)
    with pytest.raises(ValueError, match="frames must be finite"):
        dynamic_modes(linear_frames().at[3].set(jnp.nan), 3)
    with pytest.raises(ValueError, match="state must have shape"):
        dynamic_modes(linear_frames(), 3)(jnp.zeros(4))


def written(path, count=60):
    """A travelling wave on the layout of the published file."""
    x, y = np.linspace(1, 8, 14), np.linspace(-2, 2, 10)
    points = np.stack([a.T.ravel() for a in np.meshgrid(x, y, indexing="ij")], axis=1)
    t = 0.1 * np.arange(count)[:, None]
    u = 1 + 0.3 * np.sin(points[:, 0] - t) * np.exp(-(points[:, 1] ** 2))
    v = 0.3 * np.cos(points[:, 0] - t)
    np.savez(
        path, X_star=points, t=t, U_star=np.stack([u, v]).transpose(2, 0, 1), p_star=0 * u.T
    )  # fmt: skip


def test_the_whole_run(tmp_path):
    written(tmp_path / "wake.npz")
    config = replace(TINY, data=tmp_path / "wake.npz")
    contract.execute(EXPERIMENT, "quick", config, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    assert metrics["dmd.relative_l2"] < 0.05 < metrics["persistence.relative_l2"]
    for name in ("relative_l2", "emulator.relative_l2", "corrected.relative_l2"):
        assert 0 < metrics[name] < 1
    assert (tmp_path / "run" / "vorticity.gif").exists()


def test_linear_model_of_the_real_wake(real_data):
    wake = jp.data.read_wake(real_data("pinns-raissi/cylinder_nektar_wake_f32.npz"))
    frames = jnp.asarray(wake.velocity)
    forecast = jp.rollout(dynamic_modes(frames[:150], 11), frames[149], 50)
    persistence = jp.diagnostics.relative_l2(
        jnp.broadcast_to(frames[149], (50, *frames.shape[1:])), frames[150:]
    )
    assert jp.diagnostics.relative_l2(forecast[1:], frames[150:]) < 0.1 < persistence
