"""The linear step of low rank: exact where the system is linear."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import dynamic_modes


def linear_snapshots(count=30):
    """Two damped rotations about a mean: exactly linear of rank four."""
    t = np.arange(count)
    modes = np.random.default_rng(0).normal(size=(5, 3, 7))
    waves = [np.cos(0.3 * t), np.sin(0.3 * t), 0.97**t * np.cos(0.9 * t), 0.97**t * np.sin(0.9 * t)]
    return jnp.asarray(np.tensordot(np.stack(waves, 1), modes[:4], 1) + modes[4], jnp.float32)


def test_the_linear_model_continues_a_linear_system():
    snapshots = linear_snapshots()
    step = dynamic_modes(snapshots[:20], rank=4)
    ahead = jp.rollout(step, snapshots[19], 10)
    np.testing.assert_allclose(ahead, snapshots[19:], atol=1e-2)
    poor = jp.rollout(dynamic_modes(snapshots[:20], rank=1), snapshots[19], 10)
    assert jp.diagnostics.relative_l2(poor, snapshots[19:]) > 0.1


def test_bad_input():
    with pytest.raises(
        ValueError, match="rank must be at most the number of pairs of snapshots, 29"
    ):
        dynamic_modes(linear_snapshots(), 30)
    with pytest.raises(ValueError, match="rank must be at most the size of a state, 3, got 5"):
        dynamic_modes(jnp.ones((50, 3)), 5)
    with pytest.raises(ValueError, match=r"snapshots must have an axis of snapshots .*got \(50,\)"):
        dynamic_modes(jnp.ones(50), 1)
    with pytest.raises(ValueError, match="snapshots must be finite"):
        dynamic_modes(linear_snapshots().at[3].set(jnp.nan), 3)
    with pytest.raises(ValueError, match="state must have shape"):
        dynamic_modes(linear_snapshots(), 3)(jnp.zeros(4))
