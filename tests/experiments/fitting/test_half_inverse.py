"""Oscillators against their exact motion, and a tiny training."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import expm

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.fitting import half_inverse as experiment
from jaxpbdl.experiments.fitting.half_inverse import EXPERIMENT, Config


@pytest.mark.x64
def test_the_oscillators():
    """Each Runge-Kutta step is the exponential of the motion to fourth order, and steps of the
    control add up."""
    pull = np.asarray([[-1.2, 0.2], [0.2, -1.2]])
    motion = np.block([[np.zeros((2, 2)), np.eye(2)], [pull, np.zeros((2, 2))]])
    z = experiment.DT * motion
    one = sum(np.linalg.matrix_power(z, k) / np.prod(np.arange(1, k + 1)) for k in range(5))
    kick = sum(
        np.linalg.matrix_power(z, k) / np.prod(np.arange(1, k + 2)) for k in range(4)
    ) @ np.asarray([0, 0, 0, experiment.DT])
    own, driven = experiment.response()
    np.testing.assert_allclose(own, np.linalg.matrix_power(one, experiment.STEPS), atol=1e-12)
    columns = [np.linalg.matrix_power(one, k) @ kick for k in reversed(range(experiment.STEPS))]
    np.testing.assert_allclose(driven, np.stack(columns, axis=1), atol=1e-12)
    assert np.abs(one - expm(z)).max() < 1e-3
    controls = jax.random.normal(jax.random.key(0), (experiment.STEPS,))
    start = jnp.asarray([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(
        experiment.end(start, controls), own @ start + driven @ controls, atol=1e-12
    )


@pytest.mark.x64
@pytest.mark.stand_ins
def test_the_loss_is_the_distance_from_the_start():
    output, misfit = experiment.problem()
    ends, starts = jnp.asarray([[[1.0, 2, 3, 4], [5, 6, 7, 8]], [[2.0, 2, 3, 1], [5, 7, 7, 8]]])
    assert float(misfit(ends, starts)) == pytest.approx((1 + 9 + 1) / 2)
    start, controls = jnp.asarray([0.1, -0.2, 0.3, 0.4]), jnp.sin(jnp.arange(experiment.STEPS))
    found = output(lambda start: 10 * start[0] * controls, start)
    np.testing.assert_allclose(found, experiment.end(start, controls), atol=1e-12)


@pytest.mark.x64
def test_a_walk_over_batches():
    """Each of the first two pulls the weight to its mean, the third is not seen."""

    def loss(weight, batch):
        return (weight - batch.mean()) ** 2 / 2

    batches = jnp.broadcast_to(jnp.asarray([1.0, 4.0, 9.0])[:, None, None], (3, 2, 4))
    optimiser = optax.sgd(0.5)
    state = optimiser.init(jnp.asarray(0.0))
    start = jnp.asarray(3.0)
    weight, _ = experiment.walk(optimiser, loss, start, state, batches, jnp.asarray(2))
    assert float(weight) == 3.0  # 3 to 2 and on to 3
    weight, _ = experiment.walk(optimiser, loss, start, state, batches, jnp.asarray(0))
    assert float(weight) == 3.0
    weight, _ = experiment.walk(optimiser, loss, start, state, batches, jnp.asarray(3))
    assert float(weight) == 6.0


@pytest.mark.x64
@pytest.mark.stand_ins
def test_metrics_are_medians_over_seeds(tmp_path, monkeypatch):
    made = [
        ([4.0, 2.0, 1.0], [4.0, 3.0], (1.0, 2.0)),
        ([8.0, 1.0, 9.0], [8.0, 5.0, 4.0, 2.0], (5.0, 6.0)),
        ([9.0, 7.0, 2.0], [9.0, 6.0, 7.0], (2.0, 9.0)),
    ]
    monkeypatch.setattr(experiment, "_seed", lambda config, seed, *_: made[seed])
    monkeypatch.setattr(experiment, "problem", lambda: (None, None))
    monkeypatch.setattr(experiment, "half_inverse_loss", lambda *_: None)
    result = experiment.run(Config(epochs=2), tmp_path)
    assert result.metrics == {
        "half_inverse.loss_0": 8.0, "half_inverse.loss_1": 2.0, "half_inverse.loss_2": 2.0,
        "half_inverse.loss": 2.0, "half_inverse.worst_loss": 9.0, "half_inverse.epochs": 2,
        "half_inverse.seconds": 2.0, "adam.loss": 3.0, "adam.worst_loss": 7.0, "adam.epochs": 2,
        "adam.seconds": 6.0,
    }  # fmt: skip
    printed = {name: each.value for name, each in result.published.items()}
    assert printed == {"half_inverse.loss_1": 5.44398972e-05, "half_inverse.loss_2": 1.06443604e-05}


@pytest.mark.x64
def test_batches_and_weights():
    starts = jnp.arange(40.0).reshape(10, 4)
    batches = experiment.in_batches(starts, 3)
    assert batches.shape == (3, 3, 4)
    np.testing.assert_array_equal(batches[1, 0], starts[3])
    network = experiment.untrained(jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(network)) == 1444
    assert float(jnp.abs(network.weights[1]).max()) == pytest.approx(np.sqrt(6 / 40), rel=0.05)


def test_a_tiny_run(tmp_path):
    config = Config(seeds=1, samples=256, epochs=3, batch=16, adam_batch=64)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["half_inverse.loss_0"] > 0.3
    assert metrics["half_inverse.loss_3"] == metrics["half_inverse.loss"] < 0.02
    assert metrics["half_inverse.epochs"] == 3
    assert (
        metrics["adam.epochs"] >= 1 and metrics["adam.seconds"] >= metrics["half_inverse.seconds"]
    )
    assert (tmp_path / "half_inverse.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="adam_batch must be at most samples, got 512"):
        Config(samples=256, adam_batch=512)
    with pytest.raises(ValueError, match=r"truncation must be in \[0, 1\), got 1"):
        Config(truncation=1.0)
