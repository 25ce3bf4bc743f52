"""Operators of Burgers' equation: their symmetry, a tiny run, and what it refuses."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import arrays
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.operators.histories import errors
from jaxpbdl.experiments.operators.operators_burgers import EXPERIMENT, Config, Shifted, solver
from jaxpbdl.learning import Samples

TINY = Config(width=2, rank=3, training=replace(Config.training, batch=4, updates=3))


def written(path, **changes):
    """Travelling waves on the layout of the published file."""
    x, t = np.arange(16) / 16, np.arange(5) / 4
    parts = {}
    for name, count in (("train", 12), ("test", 3)):
        phase = np.random.default_rng(count).random((count, 1, 1))
        wave = np.sin(2 * np.pi * (x - 0.6 * t[:, None] + phase)).astype(np.float32)
        parts |= {f"burgers_{name}_16_x": wave[:, 0], f"burgers_{name}_16_y": wave}
    np.savez(path, **{**parts, **changes})
    return path


def test_samples_are_shifted_together():
    states = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8)))
    histories = jnp.stack([states, 2 * states], 1)
    batch, later = Shifted(Samples(states, histories, batch=5))(jax.random.key(0))
    np.testing.assert_array_equal(later, jnp.stack([batch, 2 * batch], 1))
    original = {tuple(np.sort(np.asarray(row))) for row in states}
    assert all(tuple(np.sort(np.asarray(row))) in original for row in batch)
    assert any(not np.any(np.all(row == np.asarray(states), 1)) for row in np.asarray(batch))


def test_a_tiny_run(tmp_path):
    config = replace(TINY, data=written(tmp_path / "data.npz"))
    contract.execute(EXPERIMENT, "quick", config, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "result.json").read_text())
    metrics = report["metrics"]
    names = {"persistence", "solver", "fno", "deeponet", "pod_deeponet"}
    assert set(metrics) == {f"{name}.relative_l2" for name in names}
    assert not report["nonfinite"]  # what the errors of known operators are: test_operator_metrics
    assert (tmp_path / "run" / "states.png").exists()


def test_bad_input(tmp_path):
    path = written(tmp_path / "data.npz", burgers_test_16_x=np.zeros((3, 15)))
    with pytest.raises(DataError, match=r"do not fit, found \(3, 15\) and \(3, 5, 16\)"):
        EXPERIMENT.run(replace(TINY, data=path), tmp_path)
    path = written(tmp_path / "data.npz")
    with pytest.raises(ValueError, match="validation must be below the 12 samples"):
        EXPERIMENT.run(replace(TINY, data=path, validation=12), tmp_path)


def test_the_solver_knows_the_real_data(real_data):
    """Same equation, box, viscosity and times: the data come from a finer grid."""
    found = arrays(real_data("fno-darcy-burgers/burgers_small.npz"), ("burgers_test_16_y",))
    histories = found["burgers_test_16_y"][:50]
    answers = jax.jit(jax.vmap(solver(16, 16)))(jnp.asarray(histories[:, 0]))
    assert np.mean(errors(np.asarray(answers), histories[:, 1:])) < 0.025
