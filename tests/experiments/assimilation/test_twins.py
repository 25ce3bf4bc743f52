"""The experiment: costs by counting, set-ups by what they measure, a tiny run."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.assimilation import twins
from jaxpbdl.experiments.assimilation.twins import (
    Case,
    Config,
    Entry,
    circle,
    lorenz63,
    lorenz96,
    smoother,
    variational,
    waves,
)
from jaxpbdl.inference.assimilation import CycledFourDVar, FourDVar, IEnKS, Score


def test_model_runs():
    """Of the cost: each iteration and the last estimate pass the window."""
    assert smoother("", IEnKS(10, 1, 4), None, "").runs == 50
    assert smoother("", IEnKS(10, 3, 4), None, "").runs == 10 * (5 * 3 + 1)
    assert variational("", FourDVar(jnp.eye(2), 3, 4), 2, None, "").runs == 3 * 5 * 3
    assert variational("", CycledFourDVar(1, 4), 2, None, "").runs == 3 * 5
    assert variational("", CycledFourDVar(3, 4), 2, None, "").runs == 3 * (5 * 3 + 1)


def test_the_taper_of_a_circle():
    taper = np.asarray(circle(40, 7.28))
    np.testing.assert_allclose(taper, taper.T)
    assert taper[0, 0] == 1 and taper[0, 20] == 0 and taper[0, 39] == taper[0, 1] > 0.9
    assert taper[3, 3 + 14] > 0 == taper[3, 3 + 15]


def test_the_start_of_the_waves():
    """The mean stays that of the first state, zero, and the waves have grown to their size."""
    setting = waves(Config()).problem
    assert float(jnp.mean(setting.mean)) == pytest.approx(0, abs=1e-4)
    assert 1 < float(jnp.std(setting.mean)) < 1.6  # DAPPER's climatology: 1.3
    assert setting.observations.interval == 2
    np.testing.assert_allclose(jnp.diagonal(setting.root), np.sqrt(0.001), rtol=1e-3)


@pytest.mark.stand_ins
def test_metrics_and_their_errors(tmp_path, monkeypatch):
    """Errors of three truths, each constant after the times left out, and huge before."""
    wide = np.where(np.arange(9) < 4, 1e9, np.asarray([[1.0], [2.0], [6.0]]))
    made = {"one": (wide, 2 * wide), "two": (3 * wide, wide)}
    monkeypatch.setattr(twins, "series", lambda case, method, seed: Score(*made[method]))
    entries = tuple(
        Entry(name, name, printed, "", 1, 1) for name, printed in (("one", 0.5), ("two", None))
    )
    case = Case("case", "A case", None, 9, 4, 3, entries)
    found = twins.run(Config(), tmp_path, (lambda config: case,))
    expected = {
        "case.rmse_one": 3.0,
        "case.error_one": np.sqrt((4 + 1 + 9) / 2 / 3),
        "case.spread_one": 6.0,
        "case.rmse_two": 9.0,
        "case.error_two": 3 * np.sqrt((4 + 1 + 9) / 2 / 3),
        "case.spread_two": 3.0,
    }
    assert found.metrics == pytest.approx(expected)
    assert {name: each.value for name, each in found.published.items()} == {"case.rmse_one": 0.5}


def test_a_tiny_run(tmp_path):
    """One case with two methods: the table, the metrics by their definition, the picture."""

    def two(config):
        case = lorenz96(config)
        return replace(case, entries=tuple(e for e in case.entries if e.name in ("3dvar", "oi")))

    config = Config(seeds=3, analyses=600)
    found = twins.run(config, tmp_path, (two,))
    case = two(config)
    series = twins.series(case, case.entries[1].method, config.seed)
    each = np.asarray(series.rmse)[:, 400:].mean(axis=1)
    assert found.metrics["lorenz96.rmse_3dvar"] == pytest.approx(each.mean(), rel=1e-5)
    assert found.metrics["lorenz96.error_3dvar"] == pytest.approx(
        each.std(ddof=1) / np.sqrt(3), rel=1e-3
    )
    # DAPPER's figures; the errors of 200 analyses are three times those of a long run.
    assert found.metrics["lorenz96.rmse_3dvar"] == pytest.approx(0.41, abs=0.03)
    assert found.metrics["lorenz96.rmse_oi"] == pytest.approx(0.95, abs=0.03)
    assert found.metrics["lorenz96.spread_oi"] == pytest.approx(0.95, abs=0.03)
    assert found.published["lorenz96.rmse_oi"].value == 0.95
    text = (tmp_path / "methods.md").read_text()
    assert "3dvar" in text and "standard error" in text
    assert (tmp_path / "errors.png").exists()


def test_seeds_are_reproducible():
    config = Config(seeds=2, analyses=500)
    case = lorenz63(config)
    case = replace(case, analyses=5)
    method = case.entries[1].method
    one, again = twins.series(case, method, 1), twins.series(case, method, 1)
    np.testing.assert_array_equal(one.rmse, again.rmse)
    assert np.abs(one.rmse[0] - one.rmse[1]).max() > 0.01
    assert np.abs(one.rmse - twins.series(case, method, 2).rmse).max() > 0.01


def test_bad_input():
    with pytest.raises(ValueError, match="analyses must be an integer >= 500, got 64"):
        Config(analyses=64)
    with pytest.raises(ValueError, match="seeds must be an integer >= 2, got 1"):
        Config(seeds=1)
    with pytest.raises(ValueError, match="wave_burn_in must be below wave_analyses = 10, got 10"):
        Config(wave_analyses=10, wave_burn_in=10)
