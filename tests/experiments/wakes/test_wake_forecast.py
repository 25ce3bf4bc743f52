"""The forecast experiment on a small travelling wave and on the real wake."""

import json
from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.wakes import wake_forecast
from jaxpbdl.experiments.wakes.wake_forecast import EXPERIMENT, Config, metrics_of, prepared, run
from jaxpbdl.learning import History, compare, dynamic_modes
from tests.experiments.fakes import LOSSES
from tests.learning.test_dmd import linear_snapshots

TINY = Config(members=2, width=4, depth=3, batch=2, unroll=2, updates=6)


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


def test_metrics_of_known_errors():
    """Predictions off by a known share: members by 10 % and -30 %, so their mean by -10 %."""
    clock = 0.5 * np.arange(7)
    truth = jnp.asarray(np.random.default_rng(0).normal(size=(7, 2, 3, 4)), jnp.float32)

    def off(share):
        errors = share * truth.at[0].set(0)  # the first snapshot is given
        return compare((truth + errors)[None], truth[None], clock)

    results = {"dmd": [off(0.2)], "corrected": [off(0.1), off(-0.3)]}
    found = metrics_of(results, truth, clock, {"dmd": 0.5, "corrected": 0.4}, "corrected")
    expected = {"dmd": 0.2, "corrected_0": 0.1, "corrected_1": 0.3, "corrected": 0.1}
    for name, share in expected.items():
        for metric in ("relative_l2", "error_t0_5", "error_t2_5"):
            assert found[f"{name}.{metric}"] == pytest.approx(share, rel=1e-5)
    assert "dmd.error_t5_0" not in found
    assert found["relative_l2"] == found["corrected.relative_l2"]
    assert (found["dmd.validation"], found["corrected.validation"]) == (0.5, 0.4)


def test_all_methods_are_validated_on_the_end_of_training(tmp_path, monkeypatch):
    """The linear model and persistence too; what is validated has not seen these snapshots."""
    snapshots, given = linear_snapshots(30), []

    def trained(config, folder, early, late, scale, make, name):
        given.append((early, late))
        best = np.array([0.5, 0.25, np.nan, 0.75])
        return [], [History(LOSSES, best, np.arange(4), None, 0.0)] * 2

    monkeypatch.setattr(wake_forecast, "_train", trained)
    rank, linear, fitted, validation, losses = prepared(TINY, snapshots, tmp_path)
    assert set(losses) == {f"{name}_{i}" for name in fitted for i in range(2)}
    early, late = snapshots[:26], snapshots[25:]
    for parts in given:
        assert eqx.tree_equal(parts, (early, late))
    model = dynamic_modes(early, rank)

    def off(forecast):
        return float(jnp.linalg.norm(forecast - late) / jnp.linalg.norm(late))

    expected = {
        "persistence": off(jnp.broadcast_to(late[0], late.shape)),
        "dmd": off(jp.rollout(model, late[0], 4)),
        "emulator": 0.25,
        "corrected": 0.25,
    }
    assert list(validation) == list(expected)
    assert validation == pytest.approx(expected, rel=1e-4)
    assert eqx.tree_equal(linear, dynamic_modes(snapshots, rank))


@pytest.mark.stand_ins
def test_networks_are_fitted_early_and_validated_late(tmp_path, monkeypatch):
    early, late = linear_snapshots(30)[:26], linear_snapshots(30)[25:]

    def fit_ensemble(make, loss, batches, *arguments, keys, validate, **settings):
        np.testing.assert_array_equal(batches.trajectories, early[None])
        np.testing.assert_array_equal(validate.snapshots, late)
        return jnp.arange(2.0), [len(keys)] * 2

    monkeypatch.setattr(wake_forecast, "fit_ensemble", fit_ensemble)
    found = wake_forecast._train(TINY, tmp_path, early, late, jnp.ones(()), lambda key: key, "a")
    assert found == ([0, 1], [2, 2])


def test_the_test_set_chooses_nothing(tmp_path, monkeypatch):
    """Nor does the first snapshot: whatever both are, the same snapshots decide."""
    written(tmp_path / "wake.npz")
    wake, seen = jp.data.read_wake(tmp_path / "wake.npz"), []

    def given(config, train, folder):
        seen.append(train)
        model = dynamic_modes(jnp.asarray(wake.velocity[:40]), 3)
        errors = {"persistence": 3.0, "dmd": 1.0, "emulator": 2.0, "corrected": 1.5}
        return 3, model, {"emulator": [model], "corrected": [lambda u: 0.5 * u]}, errors, {}

    monkeypatch.setattr(wake_forecast, "prepared", given)
    monkeypatch.setattr(wake_forecast, "_pictures", lambda *_: None)
    for number in (1.0, -1.0):
        velocity = np.array(wake.velocity)
        velocity[[0, *range(45, 60)]] *= number
        changed = replace(wake, velocity=velocity)
        monkeypatch.setattr(wake_forecast, "read_wake", lambda _, changed=changed: changed)
        found = run(replace(TINY, data=tmp_path / "wake.npz"), tmp_path).metrics
        assert found["relative_l2"] == found["dmd.relative_l2"]  # the smallest of all four
        assert found["persistence.validation"] == 3.0
    np.testing.assert_array_equal(seen[0], jnp.asarray(wake.velocity[1:45]))
    np.testing.assert_array_equal(seen[0], seen[1])


def test_the_whole_run(tmp_path):
    written(tmp_path / "wake.npz")
    config = replace(TINY, data=tmp_path / "wake.npz")
    contract.execute(EXPERIMENT, "quick", config, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "result.json").read_text())
    metrics = report["metrics"]
    assert report["data"][0]["file"] == "wake.npz"
    losses = {name: len(each["loss"]) for name, each in report["histories"].items()}
    assert losses == dict.fromkeys(("emulator_0", "emulator_1", "corrected_0", "corrected_1"), 6)
    with pytest.raises(DataError, match=r"absent\.npz"):
        EXPERIMENT.files(replace(config, data=tmp_path / "absent.npz"))
    assert metrics["dmd.relative_l2"] < 1e-4 < 0.05 < metrics["persistence.relative_l2"]
    assert metrics["emulator.relative_l2"] < metrics["persistence.relative_l2"]
    assert metrics["relative_l2"] == metrics["dmd.relative_l2"]
    # Untrained, the correction is zero; after a few updates it is still small.
    assert metrics["corrected.relative_l2"] < 0.05
    assert (tmp_path / "run" / "vorticity.gif").exists()


def test_the_first_snapshot_of_the_real_wake(real_data):
    """It lies two steps before the second; without it the linear model is exact to rounding."""
    wake = jp.data.read_wake(real_data("pinns-raissi/cylinder_nektar_wake_f32.npz"))
    snapshots = jnp.asarray(wake.velocity)
    changes = jnp.linalg.norm((snapshots[1:] - snapshots[:-1]).reshape(199, -1), axis=1)
    assert changes[0] / changes[1] == pytest.approx(1.98, abs=0.01)
    assert jnp.max(changes[1:] / changes[1]) < 1.02
    # One period before snapshot 58, while snapshot 1 comes again between snapshots 60 and 61.
    period = jnp.linalg.norm((snapshots[58:61] - snapshots[0]).reshape(3, -1), axis=1)
    assert jnp.argmin(period) == 0 and period[0] < 0.02 * changes[1]

    def error(first):
        forecast = jp.rollout(dynamic_modes(snapshots[first:150], 31), snapshots[149], 50)
        return jp.diagnostics.relative_l2(forecast[1:], snapshots[150:])

    assert error(0) > 5e-3 and error(1) < 2e-5
