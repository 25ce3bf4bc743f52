"""A fit tells where it stands, and is not changed by being listened to."""

import csv

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Linear, mean_square

from jaxpbdl.learning import CsvLog, TensorBoardLog, checkpoint, each, fit, fit_ensemble, wandb_log

KEY = jax.random.key(0)


def fitted(batches, **options):
    return fit(
        Linear(KEY), mean_square, batches, optax.adam(0.05), 25, key=KEY, chunk=10, progress=False,
        **options,
    )  # fmt: skip


def error(model):
    return jnp.sum((model.weight - jnp.array([1.0, -2.0, 0.5])) ** 2)


def test_reports_say_what_the_history_says(batches):
    reports = []
    model, history = fitted(
        batches, validate=error, callback=lambda r: reports.append((r, r.model))
    )
    assert [report.step for report, _ in reports] == [10, 20, 25]
    losses = np.concatenate([report.losses[0] for report, _ in reports])
    np.testing.assert_array_equal(losses, history.loss)
    assert [report.validation for report, _ in reports] == pytest.approx(history.validation)
    assert reports[1][0].loss == pytest.approx(history.loss[10:20].mean())
    assert float(error(reports[0][1])) == pytest.approx(history.validation[0])
    assert bool(eqx.tree_equal(reports[-1][1], model))
    assert 0 < reports[0][0].seconds <= reports[-1][0].seconds <= history.seconds
    alone, _ = fitted(batches, validate=error)
    assert bool(eqx.tree_equal(alone, model))


def test_an_ensemble_reports_all_members(batches):
    reports = []
    stacked, histories = fit_ensemble(
        Linear, mean_square, batches, optax.adam(0.05), 20, keys=jax.random.split(KEY, 3),
        chunk=10, progress=False, callback=lambda report: reports.append((report, report.model)),
    )  # fmt: skip
    assert reports[1][0].losses.shape == (3, 10) and reports[0][0].validations is None
    np.testing.assert_array_equal(reports[1][0].losses[2], histories[2].loss[10:])
    assert bool(eqx.tree_equal(reports[-1][1], stacked))
    assert np.isnan(reports[0][0].validation)


def test_logs(batches, tmp_path):
    written = []

    class Writer:
        def add_scalar(self, tag, scalar_value, global_step):
            written.append((tag, scalar_value, global_step))

        def log(self, data, step):
            written.extend((tag, value, step) for tag, value in data.items())

    log = CsvLog(tmp_path / "deep" / "loss.csv")
    callback = each(log, TensorBoardLog(writer=Writer()), wandb_log(Writer()))
    _, history = fitted(batches, callback=callback, name="wake")
    rows = list(csv.DictReader(log.file.open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 25]
    assert float(rows[0]["loss"]) == pytest.approx(history.loss[:10].mean(), rel=1e-5)
    assert rows[0]["validation"] == "" and float(rows[2]["seconds"]) > 0
    assert [tag for tag, _, _ in written] == ["wake/loss"] * 6
    assert written[2][1:] == (pytest.approx(history.loss[10:20].mean()), 20)
    with pytest.raises(ValueError, match="a folder or a writer"):
        TensorBoardLog()


def test_what_a_callback_raises_ends_the_fit_and_loses_nothing(batches, tmp_path):
    def stop(report):
        if report.step == 20:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fitted(batches, callback=stop, folder=tmp_path)
    assert checkpoint.latest(tmp_path).name == "step-00000020"
    resumed, history = fitted(batches, folder=tmp_path)
    assert bool(eqx.tree_equal(resumed, fitted(batches)[0])) and len(history.loss) == 25
