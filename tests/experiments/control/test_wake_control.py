"""Controllers of a wake: the closed loop, the grid of gains, a whole run."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.environments import cost, cylinder_wake
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.control import wake_control as wc
from jaxpbdl.experiments.training import Training

TINY = wc.Config(
    cells=(40, 20), spin_up=4.0, gains=(2.0,), horizon=3, judged=6, tests=2, width=4,
    training=Training(12, 1, 3e-2, average=None),
)  # fmt: skip


@pytest.fixture(scope="module")
def wake():
    return cylinder_wake(80.0, cells=(40, 20), spin_up=4.0, phases=2, interval=0.5)


def test_a_closed_loop(wake):
    """Each action from the lift of the two before; none before the first."""
    gains = jnp.asarray([3.0, -2.0])
    flow = wake.reset(jax.random.key(0))
    record = eqx.filter_jit(wc.controlled)(wake, wc.Feedback(gains), flow, 4)
    lifts = np.concatenate([[0, 0], record.seen.lift])
    expected = 3.0 * lifts[1:-1] - 2.0 * (lifts[1:-1] - lifts[:-2])
    np.testing.assert_allclose(record.actions, np.clip(expected, -1, 1), rtol=1e-4, atol=1e-6)
    act = eqx.filter_jit(lambda flow, action: wake.act(flow, action))
    for action, drag in zip(record.actions, record.seen.drag, strict=True):
        flow, seen = act(flow, action)
        np.testing.assert_allclose(seen.drag, drag, rtol=1e-4)


def test_a_policy_does_nothing_before_training_and_sees_all():
    policy = wc.Policy(2, 4, jax.random.key(0))
    none = (jnp.zeros(()), jnp.zeros(()))
    assert policy(jnp.ones(2), none) == 0
    other = eqx.tree_at(lambda p: p.network.weights[-1], policy, jnp.ones((4, 1)))
    probes = jax.grad(lambda x: other(x, none))(jnp.ones(2))
    lifts = jax.grad(lambda lifts: other(jnp.ones(2), lifts))(none)
    assert np.all(np.asarray(probes) != 0) and all(float(slope) != 0 for slope in lifts)


def test_the_best_gains_of_the_grid(wake):
    found = wc.tuned(wake, TINY)
    flow = jax.tree.map(lambda leaf: leaf[0], wake.starts)
    run = eqx.filter_jit(wc.controlled)
    paid = {
        (a, b): float(jnp.mean(cost(run(wake, wc.Feedback(jnp.asarray([a, b])), flow, 6).seen)))
        for a in (-2.0, 0.0, 2.0)
        for b in (-2.0, 0.0, 2.0)
    }
    assert tuple(map(float, found)) == min(paid, key=lambda pair: paid[pair])


def test_a_tiny_run(tmp_path):
    found = execute(wc.EXPERIMENT, "quick", TINY, tmp_path)
    metrics = found.metrics
    assert metrics["uncontrolled.power"] == 0
    for name in ("uncontrolled", "feedback", "network", "other_network"):
        parts = metrics[f"{name}.drag"] + 0.2 * metrics[f"{name}.lift"] ** 2
        assert metrics[f"{name}.cost"] == pytest.approx(parts + metrics[f"{name}.power"], rel=0.01)
    assert found.histories["network"][-1] < found.histories["network"][0]
    assert (tmp_path / "control.png").exists()
