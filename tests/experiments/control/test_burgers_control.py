"""Controlled Burgers' equation: the tasks, the controllers, a tiny run."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.control import burgers_control as control
from jaxpbdl.networks import Dense

TINY = control.Config(
    width=4, depth=1, training=replace(control.Config.training, batch=2, updates=3), descents=2
)


def network(size=1.0):
    sizes = (2 * control.CELLS + 2, 8, control.CELLS)
    return Dense(sizes, scale=size, key=jax.random.key(1))


def test_the_hidden_force_leads_to_the_target():
    start, target, hidden = control.tasks(jax.random.key(0), 200)
    forces = jnp.repeat(hidden[:, None], control.STEPS, 1)
    free = jax.vmap(lambda force, u, v: control.steered(lambda *_: force, u, v))
    states, _ = jax.jit(free)(hidden, start, target)
    np.testing.assert_allclose(states[:, -1], target, atol=1e-5)
    # The book has about 46,800 for 100 tests.
    assert control.total_force(forces) / 2 == pytest.approx(46_800, rel=0.15)


def test_plans_end_at_the_target_whatever_the_network():
    start, target, _ = control.tasks(jax.random.key(0), 3)
    for controller in (control.Planner(None), control.Planner(network())):
        states, _ = control.follow(controller, start, target)
        assert control.relative_error(states[:, -1], target) < 1e-6
    states, _ = control.follow(control.Direct(network()), start, target)
    assert control.relative_error(states[:, -1], target) > 0.1


def test_the_loss_is_differentiated_through_all_steps():
    batch = control.tasks(jax.random.key(0), 2)
    loss = control.Loss(3.0)

    def scaled(size):
        return loss(control.Direct(network(size)), batch)

    slope = (scaled(1.001) - scaled(0.999)) / 0.002
    assert float(jax.jit(jax.grad(scaled))(1.0)) == pytest.approx(float(slope), rel=0.02)


def test_a_tiny_run(tmp_path):
    contract.execute(control.EXPERIMENT, "quick", TINY, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    methods = ("straight", "planner", "direct", "optimised", "hidden")
    kinds = ("total_force", "over_hidden", "relative_error")
    assert set(report["metrics"]) == {f"{m}.{kind}" for m in methods for kind in kinds}
    assert report["metrics"]["hidden.over_hidden"] == 1.0
    assert report["metrics"]["optimised.total_force"] > 0
    assert report["published"]["planner.total_force"]["value"] == 59_500
    assert (tmp_path / "control.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="descents must be an integer >= 1, got 0"):
        control.Config(descents=0)
    with pytest.raises(ValueError, match="gap must be finite and > 0"):
        control.Config(gap=0.0)
