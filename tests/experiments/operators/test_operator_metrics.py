"""What the experiments with operators report of models whose errors are known, and that no test
datum reaches a training.
"""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.operators import (
    fno_burgers,
    fno_darcy,
    operator_navier_stokes,
    operators_burgers,
    pino_burgers,
)
from tests.experiments.fakes import Scaled, Training, assert_same

OTHER = 5.0
"""What the test data are a multiple of in the second run of each experiment."""


class Later(eqx.Module):
    """The state times `factor` at each of some later times."""

    factor: float
    times: int = eqx.field(static=True, default=1)

    def __call__(self, state):
        return self.factor * jnp.broadcast_to(state, (self.times, *state.shape))


class Burgers:
    """Waves that the equation multiplies by a factor, which differs between the data to learn from
    and the tests; these are the first that are drawn in another number than `training`."""

    def __init__(self, monkeypatch, module, training, factor):
        self.training, self.factor = training, factor
        monkeypatch.setattr(module, "initial", self.initial)
        monkeypatch.setattr(module, "histories", self.histories)

    def initial(self, key, count, grid):
        phase = np.random.default_rng(count).random((count, 1))
        return jnp.asarray(np.sin(2 * np.pi * (np.asarray(grid.axes[0]) + phase)), jnp.float32)

    def histories(self, states, grid, viscosity, times, substeps):
        factor = 0.5 if len(states) == self.training else self.factor
        return jnp.stack([states, *[factor * states] * times], axis=1)


def test_fno_burgers(tmp_path, monkeypatch):
    training = replace(fno_burgers.Config.training, batch=3, updates=4)
    settings = dict(points=32, train=6, test=3, modes=3, width=4, training=training)
    trainings = []
    for factor, expected in ((0.4, 0.1), (0.8, 0.45)):
        Burgers(monkeypatch, fno_burgers, 6, factor)
        trainings.append(Training(lambda name: Later(0.44)))
        monkeypatch.setattr(fno_burgers, "train", trainings[-1])
        result = fno_burgers.run(fno_burgers.Config(**settings), tmp_path)
        found = result.metrics
        for name in ("relative_l2", "fno.relative_l2", "fno.relative_l2_quarter"):
            assert found[name] == pytest.approx(expected, rel=1e-5)
        heat = np.exp(-0.1 * 4 * np.pi**2)
        assert found["heat.relative_l2"] == pytest.approx(abs(heat / factor - 1), rel=1e-4)
        assert result.histories["fno"].tolist() == [3, 2, 1]
    assert_same(*trainings)

    # Held out are samples of the training set, and they are not trained on.
    held = fno_burgers.run(fno_burgers.Config(**settings, validation=2), tmp_path).metrics
    assert held["relative_l2"] == pytest.approx(0.12, rel=1e-5)
    assert len(trainings[-1].given["fno"][0][3].data[0]) == 4


def darcy_file(path, factor):
    """Pressures that are multiples of the media, another one in each file."""
    random, parts = np.random.default_rng(0), {}
    for name, count, points, multiple in (
        ("train_16", 12, 16, 1.0), ("test_16", 3, 16, factor), ("test_32", 3, 32, 2 * factor)
    ):  # fmt: skip
        media = random.random((count, points, points)) > 0.5
        parts[f"darcy_{name}_a"] = media
        parts[f"darcy_{name}_u"] = np.where(media, multiple, -multiple).astype(np.float32)
    np.savez(path, **parts)
    return path


def test_fno_darcy(tmp_path, monkeypatch):
    monkeypatch.setattr(fno_darcy, "_picture", lambda *_: None)
    training = replace(fno_darcy.Config.training, batch=4, updates=4)
    settings = dict(modes=2, width=4, depth=1, training=training)
    trainings = []
    for factor in (2.0, OTHER):
        trainings.append(Training(lambda name: Scaled(2.2)))
        monkeypatch.setattr(fno_darcy, "train", trainings[-1])
        data = darcy_file(tmp_path / f"{factor}.npz", factor)
        found = fno_darcy.run(fno_darcy.Config(**settings, data=data), tmp_path).metrics
        for name, multiple in (("16", factor), ("32", 2 * factor)):
            expected = pytest.approx(abs(2.2 / multiple - 1), rel=1e-5)
            assert found[f"relative_l2_{name}"] == expected
            assert found[f"fno.relative_l2_{name}"] == expected
            assert found[f"averaged.relative_l2_{name}"] == expected
    assert_same(*trainings)
    held = fno_darcy.run(fno_darcy.Config(**settings, data=data, validation=4), tmp_path).metrics
    assert held["relative_l2_validation"] == pytest.approx(1.2, rel=1e-5)
    assert "relative_l2_16" not in held
    assert len(trainings[-1].given[""][0][2]) == 8


def burgers_file(path, factor):
    random, parts = np.random.default_rng(0), {}
    for name, count, multiple in (("train", 12, 1.0), ("test", 3, factor)):
        states = random.normal(size=(count, 1, 16)).astype(np.float32)
        later = np.broadcast_to(multiple * states, (count, 4, 16))
        parts[f"burgers_{name}_16_x"] = states[:, 0]
        parts[f"burgers_{name}_16_y"] = np.concatenate([states, later], axis=1)
    np.savez(path, **parts)
    return path


def test_operators_burgers(tmp_path, monkeypatch):
    factors = {"fno": 2.2, "deeponet": 2.4, "pod_deeponet": 3.0}
    monkeypatch.setattr(operators_burgers, "solver", lambda points, times: Later(2.1, times))
    training = replace(operators_burgers.Config.training, batch=4, updates=3)
    settings = dict(width=2, rank=3, training=training)
    trainings = []
    for factor in (2.0, OTHER):
        trainings.append(Training(lambda name: Later(factors[name], 4)))
        monkeypatch.setattr(operators_burgers, "train", trainings[-1])
        data = burgers_file(tmp_path / f"{factor}.npz", factor)
        config = operators_burgers.Config(**settings, data=data)
        found = operators_burgers.run(config, tmp_path).metrics
        expected = {"persistence": 1.0, "solver": 2.1, **factors}
        assert found == {
            f"{name}.relative_l2": pytest.approx(abs(value / factor - 1), rel=1e-5)
            for name, value in expected.items()
        }
    assert_same(*trainings)
    config = operators_burgers.Config(**settings, data=data, validation=4)
    held = operators_burgers.run(config, tmp_path).metrics
    assert held["persistence.relative_l2"] == pytest.approx(0, abs=1e-6)
    assert held["fno.relative_l2"] == pytest.approx(1.2, rel=1e-5)


def test_pino_burgers(tmp_path, monkeypatch):
    monkeypatch.setattr(pino_burgers, "TESTS", 3)
    factors = {"data_only": 0.44, "physics_only": 0.2, "both": 0.6}
    training = replace(pino_burgers.Config.training, batch=3, updates=3)
    config = pino_burgers.Config(solutions=4, points=16, modes=4, width=2, training=training)
    trainings = []
    for factor in (0.4, 0.8):
        Burgers(monkeypatch, pino_burgers, 4, factor)
        trainings.append(Training(lambda name: Later(factors[name], pino_burgers.TIMES)))
        monkeypatch.setattr(pino_burgers, "train", trainings[-1])
        result = pino_burgers.run(config, tmp_path)
        for name, value in factors.items():
            expected = pytest.approx(abs(value / factor - 1), rel=1e-5)
            assert result.metrics[f"{name}.relative_l2"] == expected
        assert result.metrics["relative_l2"] == result.metrics["both.relative_l2"]
        assert set(result.histories) == set(factors)
    assert_same(*trainings)


class Held(eqx.Module):
    """The last snapshot times a factor, at all later times."""

    factor: float

    def later(self, snapshots, count):
        return self.factor * jnp.broadcast_to(snapshots[-1], (count, *snapshots.shape[1:]))


@pytest.mark.stand_ins
def test_operator_navier_stokes(tmp_path, monkeypatch):
    monkeypatch.setattr(operator_navier_stokes, "LATER", 4)
    monkeypatch.setattr(operator_navier_stokes, "solver", lambda *_: Scaled(1.0))
    monkeypatch.setattr(operator_navier_stokes, "_picture", lambda *_: None)
    config = operator_navier_stokes.Config(
        grid=8, solved=8, train=4, test=2, modes=2, width=2, unroll=2,
        training=replace(operator_navier_stokes.Config.training, batch=2, updates=3),
        coarse=8,
    )  # fmt: skip
    trainings = []
    for factor in (2.0, OTHER):

        def snapshots(key, count, config, factor=factor):
            drawn = np.random.default_rng(count).normal(size=(count, 1, 8, 8))
            later = (factor if count == config.test else 1.0) * drawn
            return jnp.asarray(np.concatenate([drawn] * 10 + [later] * 4, 1), jnp.float32)

        monkeypatch.setattr(operator_navier_stokes, "vorticities", snapshots)
        trainings.append(Training(lambda name: Held(2.2)))
        monkeypatch.setattr(operator_navier_stokes, "fit", trainings[-1])
        found = operator_navier_stokes.run(config, tmp_path).metrics
        expected = {"persistence": 1.0, "solver": 1.0, "fno": 2.2}
        for name, value in expected.items():
            error = pytest.approx(abs(value / factor - 1), rel=1e-5)
            assert found[f"{name}.relative_l2"] == error
        assert found["relative_l2"] == found["fno.relative_l2"]
    assert_same(*trainings)
