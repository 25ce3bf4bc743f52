"""What the experiments with pressures report of guesses whose errors are known, and that no test
field reaches a training.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.pressure import projection_network, warm_start
from jaxpbdl.experiments.pressure.cells import solve
from tests.experiments.fakes import Training, assert_same


def share(part, periodic, sign=1):
    """A part of the exact pressure, which leaves the rest of the divergence."""
    return lambda source: sign * part * solve(source, periodic)


def test_projection_network(tmp_path, monkeypatch):
    monkeypatch.setattr(projection_network, "TESTS", 4)
    monkeypatch.setattr(projection_network, "seconds", lambda call, repeats: 0.008)
    monkeypatch.setattr(projection_network, "_picture", lambda *_: None)
    noise, parts = projection_network.noise, {"linear": 0.9, "relu": 0.8}
    training = replace(projection_network.Config.training, batch=2, updates=3)
    config = projection_network.Config(fields=5, width=2, levels=1, training=training)
    trainings, losses = [], []
    for factor in (1.0, 3.0):
        known = []

        def drawn(key, count, scale, factor=factor, known=known):
            fields = noise(key, count, scale) * (factor if count == 4 else 1.0)
            known.append(jnp.sum(jax.vmap(lambda v: projection_network.divergence(v, True))(
                fields) ** 2, (1, 2)))  # fmt: skip
            return fields

        monkeypatch.setattr(projection_network, "noise", drawn)
        trainings.append(Training(lambda name: share(parts[name], True)))
        monkeypatch.setattr(projection_network, "train", trainings[-1])
        result = projection_network.run(config, tmp_path)
        found = result.metrics
        for name, part in parts.items():
            left = (1 - part) ** 2
            assert found[f"{name}.loss_reduction"] == pytest.approx(1 / left, rel=1e-3)
            assert found[f"{name}.reduction_scale_2"] == pytest.approx(1 / left, rel=1e-3)
            expected = left * float(jnp.mean(known[1]))  # drawn are: training, test, finer
            assert found[f"{name}.loss"] == pytest.approx(expected, rel=1e-3)
            assert found[f"{name}.milliseconds"] == pytest.approx(2)
        assert found["exact.loss_reduction"] > 1e6
        losses.append(found["relu.loss"])
        assert set(result.histories) == set(parts)
    assert losses[1] == pytest.approx(9 * losses[0], rel=1e-3)
    assert_same(*trainings)


def test_warm_start(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start, "CELLS", 16)
    monkeypatch.setattr(warm_start, "MAX_ITERATIONS", 100)
    monkeypatch.setattr(warm_start, "_one", lambda function, source: 1e-3)
    monkeypatch.setattr(warm_start, "_picture", lambda *_: None)
    parts = {"supervised": 1.0, "physical": 0.5, "solver": 0.95, "unet_solver": 0.9995}
    training = replace(warm_start.Config.training, batch=2, updates=3)
    config = warm_start.Config(simulations=2, test=3, width=2, levels=1, training=training)
    trainings = []
    for factor in (1.0, 3.0):

        def drawn(key, count, snapshots, cells, factor=factor):
            source = np.random.default_rng(count).normal(size=(count, snapshots, cells, cells))
            source = source - source.mean((-2, -1), keepdims=True)
            return jnp.asarray(source * (factor if count == 3 else 1), jnp.float32)

        monkeypatch.setattr(warm_start, "divergences", drawn)
        trainings.append(Training(lambda name: share(parts[name], False, -1)))
        monkeypatch.setattr(warm_start, "train", trainings[-1])
        result = warm_start.run(config, tmp_path)
        found = result.metrics
        # Of the source remain 0, 1/20 and 1/2000 where the exact pressure was guessed but for that.
        assert all(found[f"supervised.{t}"] == 0 for t in ("1e-1", "1e-2", "1e-3"))
        assert found["solver.1e-1"] == 0 and found["unet_solver.1e-3"] == 0
        # A half remains: twice the tolerance from zero.
        fields = np.asarray(drawn(None, 3, 10, 16))[np.arange(3), np.arange(3)]
        norms = warm_start.residuals(fields, np.zeros_like(fields))
        assert found["zero.1e-2"] == np.mean([np.argmax(row <= 1e-2) for row in norms])
        assert found["physical.1e-2"] == np.mean([np.argmax(row <= 2e-2) for row in norms])
        assert found["solver.1e-3"] == np.mean([np.argmax(row <= 2e-2) for row in norms])
        cut = found["zero.1e-3"] / found["solver.1e-3"]
        assert found["iterations_cut"] == pytest.approx(cut)
        took = 1 + found["solver.1e-3"] / 100  # the guess, and its iterations at 1/100 ms each
        assert found["solver.milliseconds"] == pytest.approx(took)
        assert found["zero.milliseconds"] == pytest.approx(found["zero.1e-3"] / 100)
        assert set(result.histories) == set(parts)
    assert_same(*trainings)
