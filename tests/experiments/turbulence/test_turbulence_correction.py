"""The main experiment at a tiny size: simulated data, data by others, numbers and files."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import data
from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.turbulence import report
from jaxpbdl.experiments.turbulence.data import read_trajectories, simulate
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.experiments.turbulence.turbulence_correction import EXPERIMENT

TINY = Config(
    viscosity=0.02, coarse=12, fine=18, reference=24, marks=(1.5, 2.0), warm_up=1.0,
    train_trajectories=2, train_time=2.0, test_trajectories=2, test_time=2.0, members=2,
    emulators=2, width=4, depth=3, batch=2, unroll=2, pretraining=2, updates=4,
)  # fmt: skip


def test_the_whole_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    for name in ("coarse", "corrected", "emulator", "finer_1_5x", "corrected_mean"):
        assert 0 < result["metrics"][f"{name}.time_095"] <= 2.0
    assert 1 <= result["metrics"]["effective_refinement"] <= 2
    assert result["published"]["effective_refinement"]["value"] == 8
    for picture in ("vorticity.png", "vorticity.gif", "accuracy.png", "table.md"):
        assert (tmp_path / picture).stat().st_size > 100


def test_frames_are_those_of_the_solver():
    truth, initial = simulate(TINY, jax.random.key(0), 1, 0.6, 24)
    step, every = TINY.solver(24)
    frames = jp.rollout(step, initial[0], 3 * every, every)
    expected = jax.vmap(lambda w: jp.resample(w, step.grid, jp.Grid((12, 12))))(frames)
    np.testing.assert_allclose(truth[0], expected, atol=1e-4)


def written(path, channels=("vorticity",), frame=0.1, trajectories=2):
    step, every = TINY.solver(18)
    starts = [
        jp.initial_states.random_vorticity(jax.random.key(seed), step.grid)
        for seed in range(trajectories)
    ]
    # Without the first frame, whose Nyquist modes a velocity cannot hold.
    values = jnp.stack([jp.rollout(step, start, 7 * every, every)[1:] for start in starts])
    if len(channels) == 2:
        velocity = jax.vmap(jax.vmap(lambda w: jp.diagnostics.velocity(w, step.grid)))(values)
        stored = velocity
    else:
        stored = values[:, :, None]
    axes = tuple(np.asarray(axis) for axis in step.grid.axes)
    times = frame * np.arange(values.shape[1])
    data.write_npz(path, data.Trajectories(np.asarray(stored), times, axes, channels))
    return values, step.grid


@pytest.mark.parametrize("channels", [("vorticity",), ("velocity_x", "velocity_y")])
def test_trajectories_by_others(tmp_path, channels):
    path = tmp_path / "flow.npz"
    values, grid = written(path, channels)
    train, test = read_trajectories(path, coarse=12, frame=0.2)
    assert train.shape == (1, 4, 12, 12) and test["coarse"].shape == (1, 4, 12, 12)
    np.testing.assert_allclose(test["initial"][0], values[1, 0], atol=1e-4)
    expected = jp.resample(values[0, 2], grid, jp.Grid((12, 12)))
    np.testing.assert_allclose(train[0, 1], expected, atol=1e-4)


def test_bad_input(tmp_path):
    path = tmp_path / "flow.npz"
    written(path, frame=0.07)
    with pytest.raises(DataError, match="do not divide the time 0.2"):
        read_trajectories(path, coarse=12, frame=0.2)
    with pytest.raises(DataError, match="coarse grid needs fewer"):
        read_trajectories(path, coarse=32, frame=0.07)
    with pytest.raises(ValueError, match="coarse < fine <= reference"):
        replace(TINY, fine=10)
    with pytest.raises(ValueError, match="viscosity must be finite and > 0, got -1"):
        replace(TINY, viscosity=-1.0)


def test_effective_refinement_interpolates_between_marks():
    marks = {1.0: 1.0, 2.0: 4.0, 4.0: 8.0}
    assert report.effective_refinement(2.0, marks) == pytest.approx(2**0.5)
    assert report.effective_refinement(0.1, marks) == pytest.approx(1.0)
    assert report.effective_refinement(99.0, marks) == pytest.approx(4.0)
