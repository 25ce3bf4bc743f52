"""The main experiment at a tiny size: simulated data, data by others, numbers and files."""

import json
from dataclasses import fields, replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl import data
from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.turbulence import learned_interpolation, report, turbulence_correction
from jaxpbdl.experiments.turbulence.data import read_trajectories, simulate
from jaxpbdl.experiments.turbulence.setting import Config
from jaxpbdl.experiments.turbulence.training import network
from jaxpbdl.experiments.turbulence.turbulence_correction import EXPERIMENT
from jaxpbdl.learning.evaluate import Evaluation, compare, evaluate

TINY = Config(
    viscosity=0.02, coarse=12, fine=18, reference=24, marks=(1.5, 2.0), mark_steps=(4, 6, 8),
    warm_up=1.0, train_trajectories=2, train_time=2.0, test_trajectories=2, test_time=2.0,
    members=2, emulators=2, width=4, depth=3, unroll=2, pretraining=2,
    training=replace(Config.training, batch=2, updates=4),
)  # fmt: skip


def test_the_whole_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    for name in ("coarse", "coarse_dealiased", "corrected", "emulator", "finer_1_5x"):
        assert 0 < result["metrics"][f"{name}.time_095"] <= 2.0
        assert result["metrics"][f"{name}.ms_per_time"] > 0
    assert 1 <= result["metrics"]["effective_refinement"] <= 2
    assert {len(loss["loss"]) for loss in result["histories"].values()} == {6}
    assert result["published"]["effective_refinement"]["value"] == 8
    for picture in ("vorticity.png", "vorticity.gif", "accuracy.png", "table.md"):
        assert (tmp_path / picture).stat().st_size > 100


def test_snapshots_are_those_of_the_solver():
    truth, initial = simulate(TINY, jax.random.key(0), 1, 0.6, 24)
    step, every = TINY.solver(24)
    snapshots = jp.rollout(step, initial[0], 3 * every, every)
    expected = jax.vmap(lambda w: jp.grids.resample(w, step.grid, jp.grids.Periodic((12, 12))))(
        snapshots
    )
    np.testing.assert_allclose(truth[0], expected, atol=1e-4)


def written(path, channels=("vorticity",), interval=0.1, trajectories=2):
    step, every = TINY.solver(18)
    starts = [
        jp.initial_states.random_vorticity(jax.random.key(seed), step.grid)
        for seed in range(trajectories)
    ]
    # Without the first snapshot, whose Nyquist modes a velocity cannot hold.
    values = jnp.stack([jp.rollout(step, start, 7 * every, every)[1:] for start in starts])
    if len(channels) == 2:
        velocity = jax.vmap(jax.vmap(lambda w: jp.diagnostics.velocity(w, step.grid)))(values)
        stored = velocity
    else:
        stored = values[:, :, None]
    axes = tuple(np.asarray(axis) for axis in step.grid.axes)
    times = interval * np.arange(values.shape[1])
    data.write_npz(path, data.Trajectories(np.asarray(stored), times, axes, channels))
    return values, step.grid


@pytest.mark.parametrize("channels", [("vorticity",), ("velocity_x", "velocity_y")])
def test_trajectories_by_others(tmp_path, channels):
    path = tmp_path / "flow.npz"
    values, grid = written(path, channels)
    train, test = read_trajectories(path, coarse=12, interval=0.2)
    assert train.shape == (1, 4, 12, 12) and test["coarse"].shape == (1, 4, 12, 12)
    np.testing.assert_allclose(test["initial"][0], values[1, 0], atol=1e-4)
    expected = jp.grids.resample(values[0, 2], grid, jp.grids.Periodic((12, 12)))
    np.testing.assert_allclose(train[0, 1], expected, atol=1e-4)


def test_bad_input(tmp_path):
    path = tmp_path / "flow.npz"
    written(path, interval=0.07)
    with pytest.raises(DataError, match="do not divide the time 0.2"):
        read_trajectories(path, coarse=12, interval=0.2)
    with pytest.raises(DataError, match="coarse grid needs fewer"):
        read_trajectories(path, coarse=32, interval=0.07)
    with pytest.raises(ValueError, match="coarse < fine <= reference"):
        replace(TINY, fine=10)
    with pytest.raises(ValueError, match="viscosity must be finite and > 0, got -1"):
        replace(TINY, viscosity=-1.0)
    with pytest.raises(ValueError, match="mark_steps must be 3 numbers"):
        replace(TINY, mark_steps=(3, 4))


def test_effective_refinement_interpolates_between_marks():
    marks = {1.0: 1.0, 2.0: 4.0, 4.0: 8.0}
    assert report.effective_refinement(2.0, marks) == pytest.approx(2**0.5)
    assert report.effective_refinement(0.1, marks) == pytest.approx(1.0)
    assert report.effective_refinement(99.0, marks) == pytest.approx(4.0)


class Perturbed(jp.Step):
    """The truth with its vorticity scaled at every snapshot: an error that is known."""

    factor: float

    def advance(self, working):
        return self.factor * working


def test_the_metrics_of_known_predictions():
    """Two members of an ensemble, marks and a coarse solver whose errors are known: a snapshot of
    factor f has the relative error f^n - 1, the correlation 1, and the energy f^2n."""
    grid, interval = jp.grids.Periodic((12, 12)), 0.2
    start = jp.initial_states.random_vorticity(jax.random.key(0), grid)[None]
    truth = jnp.repeat(start[:, None], 11, axis=1)
    times = interval * np.arange(11)
    factors = {"coarse": 0.8, "finer_2x": 0.99, "corrected_0": 0.9, "corrected_1": 0.98}
    rows = [
        report.Row(
            name, evaluate(Perturbed(factor), truth, times), Perturbed(factor), start[0],
            factor={"coarse": 1.0, "finer_2x": 2.0}.get(name),
        )
        for name, factor in factors.items()
    ]  # fmt: skip
    rows.append(report.Row("corrected_mean", rows[2].result))
    metrics = report.measured(rows, ("corrected",), truth, grid, interval)
    for name, factor in factors.items():
        assert metrics[f"{name}.error_t1"] == pytest.approx(1 - factor**5, abs=1e-5)
        decades = np.mean([abs(2 * n * np.log10(factor)) for n in range(5, 11)])
        assert metrics[f"{name}.spectrum_error"] == pytest.approx(decades, rel=0.2)
        assert metrics[f"{name}.time_095"] == 2.0
    both = 1 - (0.9**5 + 0.98**5) / 2
    assert metrics["corrected.error_t1"] == pytest.approx(both, abs=1e-5)
    assert metrics["corrected.as_long_as_coarse"] == 1.0
    paid = metrics["corrected.ms_per_time"]
    marks = {1.0: metrics["coarse.ms_per_time"], 2.0: metrics["finer_2x.ms_per_time"]}
    metrics["corrected.as_grid_finer"] = 2.0
    assert report.speed_up(metrics, rows, "corrected") == pytest.approx(marks[2.0] / paid)


def test_the_pay_off_of_known_errors():
    """Plain solvers that cost 1 and 16 and err 0.16 and 0.01: 4 at 0.04."""
    times = 0.5 * np.arange(13)  # until 6: the last two snapshots do not count
    off = {"coarse": 0.16, "finer_4x": 0.01, "corrected_0": 0.04, "corrected_1": 0.16}

    def row(name, error):
        errors = np.full((2, 13), error)
        errors[:, 0], errors[:, 11:] = 0.0, 7.0
        return report.Row(name, Evaluation(times, None, errors, errors), Perturbed(0.5))

    rows = [row(name, error) for name, error in off.items()]
    costs = {"coarse": 1.0, "finer_4x": 16.0, "corrected_0": 2.0, "corrected_1": 2.0}
    metrics = {f"{name}.ms_per_time": cost for name, cost in costs.items()}
    found = report.pay_offs(metrics, rows, ("corrected",), "corrected", 1.0, 10.0)
    assert found["pay_off"] == pytest.approx((2.0 + 0.5) / 2) and found["pay_off_min"] < 0.501
    assert found["break_even_solves"] == np.inf
    rows.pop()
    found = report.pay_offs(metrics, rows, ("corrected",), "corrected", 1.0, 10.0)
    assert found["break_even_solves"] == pytest.approx(1.0 / (10.0 * 2e-3))


@pytest.mark.stand_ins
def test_deviation_and_error_of_known_members():
    """Three members about a mean that is off by the time; root mean squares over two trajectories,
    of which one is off twice as far."""
    truth = jax.random.normal(jax.random.key(0), (2, 4, 6, 6))
    size = jnp.reshape(jnp.asarray([1.0, 2.0]), (2, 1, 1, 1))
    late = jnp.arange(4.0)[:, None, None]
    predictions = [truth + size * late * (1 + part) for part in (-0.5, 0.0, 0.5)]
    rows = [report.Row("a", SimpleNamespace(prediction=each)) for each in predictions]
    deviation, error = report.deviation_and_error(rows, truth)
    np.testing.assert_allclose(error, 2.5**0.5 * np.arange(4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation, 0.5 * 2.5**0.5 * np.arange(4), rtol=1e-5, atol=1e-6)


@pytest.mark.stand_ins
def test_members_and_their_mean():
    names = ["coarse", "corrected_0", "corrected_mean", "corrected_12", "emulator_0"]
    rows = [report.Row(name, None) for name in names]
    assert [row.name for row in report.group(rows, "corrected")] == ["corrected_0", "corrected_12"]


@pytest.mark.stand_ins
def test_what_is_invested(tmp_path, monkeypatch):
    """The seconds of the simulations, and those of one member's training."""
    clock, seen = iter([100.0, 130.0, 190.0]), {}
    timer = SimpleNamespace(perf_counter=lambda: next(clock))
    monkeypatch.setattr(turbulence_correction, "time", timer)
    test = {"coarse": jnp.zeros((1, 2, 8, 8))}
    monkeypatch.setattr(
        turbulence_correction, "trajectories", lambda *_: (jnp.full((1, 2, 8, 8), 3.0), test)
    )

    def trained(config, folder, train, scale, make, count, key, name):
        return [name], {name: count}

    monkeypatch.setattr(turbulence_correction, "train_ensemble", trained)
    monkeypatch.setattr(
        turbulence_correction, "_compare", lambda config, test, coarse, *groups: groups
    )

    def summary(rows, truth, grid, interval, invested):
        seen.update(rows=rows, invested=invested, truth=truth)
        return {}

    monkeypatch.setattr(turbulence_correction, "summary", summary)
    monkeypatch.setattr(turbulence_correction, "pictures", lambda *_: None)
    config = replace(Config(), members=4, coarse=8)
    result = turbulence_correction.run(config, tmp_path)
    assert seen["invested"] == 30 + 60 / 4
    assert seen["rows"] == (["corrected"], ["emulator"]) and seen["truth"] is test["coarse"]
    assert result.histories == {"corrected": 4, "emulator": config.emulators}


def test_times_of_correlation_are_those_of_the_prediction():
    """White noise that is mixed in more and more: the correlation is known at every snapshot."""
    rng, interval = np.random.default_rng(0), 0.2
    truth = jnp.asarray(rng.normal(size=(1, 6, 200, 200)))
    noise = jnp.asarray(rng.normal(size=(1, 6, 200, 200)))
    shares = jnp.array([0.0, 0.1, 0.2, 0.5, 1.0, 2.0])[None, :, None, None]
    result = compare(truth + shares * noise, truth, interval * np.arange(6))
    expected = 1 / np.sqrt(1 + np.array([0.0, 0.1, 0.2, 0.5, 1.0, 2.0]) ** 2)
    np.testing.assert_allclose(result.correlation[0], expected, atol=0.01)
    between = (expected[2] - 0.95) / (expected[2] - expected[3])
    assert result.time_above(0.95) == pytest.approx(0.4 + 0.2 * between, abs=0.02)


AFTER_TRAINING = {  # what of each experiment looks at the test trajectories
    turbulence_correction: {"_compare": [], "summary": {}, "pictures": None},
    learned_interpolation: {
        "plain_rows": [], "plain_row": None, "member_rows": [], "_picture": None, "speed_up": 1.0,
        "pay_offs": {},
        "measured": {"interpolated.as_grid_finer": 1.0},
    },
}  # fmt: skip


@pytest.mark.parametrize("module", AFTER_TRAINING, ids=lambda module: module.EXPERIMENT.name)
def test_no_test_trajectory_is_seen_by_a_training(tmp_path, monkeypatch, module):
    """Test trajectories that are not numbers leave all losses finite."""

    def poisoned(*arguments):
        train = jax.random.normal(jax.random.key(0), (2, 5, 12, 12))
        return train, {name: jnp.full((1, 5, 24, 24), jnp.nan) for name in ("coarse", "initial")}

    for name, answer in AFTER_TRAINING[module].items():
        monkeypatch.setattr(module, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(module, "trajectories", poisoned)
    settings = {item.name: getattr(TINY, item.name) for item in fields(TINY)}
    settings |= {"members": 1, "emulators": 1, "depth": 2, "substeps": 1, "pretraining": 0}
    kind = type(module.EXPERIMENT.presets["quick"])
    histories = module.run(kind(**settings), tmp_path).histories
    assert histories and all(np.all(np.isfinite(loss)) for loss in histories.values())


def test_a_network_takes_three_features_and_more():
    made = network(TINY, 2, jax.random.key(0), more=1)
    assert made(jnp.ones((4, 12, 12))).shape == (2, 12, 12)
    with pytest.raises(ValueError, match="4 channels"):
        made(jnp.ones((5, 12, 12)))
