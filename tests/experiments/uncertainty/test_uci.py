"""The tables of regression: their reader, their splits, a tiny run."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxpbdl.checks import DataError
from jaxpbdl.data.uci import read_regression, splits
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty import uci
from jaxpbdl.experiments.uncertainty.uci import EXPERIMENT, Config, scaling
from jaxpbdl.uncertainty import Normal, gaussian_crps


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Yacht and naval propulsion of few samples, in the layout of the published files."""
    folder = tmp_path / "uci-regression"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, columns in (("yacht", 7), ("naval-propulsion", 18)):
        table = draw.normal(size=(120, columns))
        table[:, -1] = 50 + 10 * table[:, 0] + draw.normal(size=120)
        table[:, 1] = 3.0
        header = ",".join(f"c{index}" for index in range(columns))
        np.savetxt(folder / f"{name}.csv", table, delimiter=",", header=header, comments="")
    monkeypatch.setenv("JAXPBDL_DATA", str(tmp_path))
    return folder


def test_columns_that_do_not_vary_and_second_targets_are_left_out(tables):
    yacht = read_regression(tables / "yacht.csv", "yacht")
    assert yacht.inputs.shape == (120, 5) and abs(yacht.targets.mean() - 50) < 3
    naval = read_regression(tables / "naval-propulsion.csv", "naval-propulsion")
    assert naval.inputs.shape == (120, 15) and abs(naval.targets.mean()) < 1


def test_the_splits():
    train, test = splits(308)
    assert train.shape == (20, 277) and test.shape == (20, 31)
    for rows in zip(train, test, strict=True):
        assert sorted(np.concatenate(rows)) == list(range(308))
    # The recipe of the published tables, spelled out.
    np.random.seed(1)
    np.testing.assert_array_equal(train[0], np.random.choice(range(308), 308, False)[:277])


def test_inputs_are_whitened():
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(500, 3)) @ draw.normal(size=(3, 3)) + 100
    centre, whitening, mean, deviation = scaling(inputs, 7 + 3 * inputs[:, 0])
    white = (inputs - np.asarray(centre)) @ np.asarray(whitening)
    np.testing.assert_allclose(np.cov(white.T, ddof=0), np.eye(3), atol=0.01)
    assert float(mean) == pytest.approx(7 + 3 * inputs[:, 0].mean(), rel=1e-5)
    assert float(deviation) == pytest.approx(3 * inputs[:, 0].std(), rel=1e-5)


def test_scores_of_known_predictions():
    """Two members a part to both sides of a mean that is one off, in the rows of the test alone."""
    test = np.asarray([1, 3])
    targets = np.asarray([99.0, 2.0, 99.0, -5.0])
    means = targets + 1 + np.asarray([[-2.0], [2.0]])
    outputs = Normal(jnp.asarray(means), jnp.full((2, 4), 5.0).at[:, ::2].set(77.0))
    found = uci._score(outputs, jnp.asarray(targets), jnp.asarray(test))
    variance = 4 + 5.0
    assert float(found.rmse) == pytest.approx(1)
    assert float(found.nll) == pytest.approx((1 / variance + np.log(2 * np.pi * variance)) / 2)
    assert float(found.single_rmse) == pytest.approx((1 + 3) / 2)
    alone = ((1 + 9) / 2 / 5 + np.log(2 * np.pi * 5)) / 2
    assert float(found.single_nll) == pytest.approx(alone)
    assert float(found.epistemic) == pytest.approx(4 / 9)
    assert float(found.coverage) == 1
    np.testing.assert_allclose(found.pit, norm.cdf(-1 / 3), rtol=1e-5)
    score = gaussian_crps(jnp.ones(1), jnp.full(1, 3.0), jnp.zeros(1))
    assert float(found.crps) == pytest.approx(float(score[0]), rel=1e-5)
    # Half of the test is far off: outside of 1.96 deviations.
    far = uci._score(outputs, jnp.asarray(targets).at[3].add(8.0), jnp.asarray(test))
    assert float(far.coverage) == 0.5


def test_intervals_of_the_samples_left_out(monkeypatch):
    """Errors of the member that left a sample out, the largest 4; those of the others, 50, do not
    count. Both members answer 5: four of five such intervals reach from 1 to 9."""
    monkeypatch.setattr(uci, "COVERAGE", 0.8)
    targets = np.asarray([10.0, 20.0, 30.0, 40.0, 6.0, 20.0])
    held, test = np.asarray([[0, 1], [2, 3]]), np.asarray([4, 5])
    means = np.asarray([[11.0, 18, 80, 90, 5, 5], [60.0, 70, 33, 36, 5, 5]])
    assert uci._within(means, targets, held, test) == 0.5


@pytest.mark.stand_ins
def test_metrics_are_means_over_splits(tmp_path, monkeypatch):
    names = ("rmse", "nll", "crps", "coverage", "single_rmse", "single_nll", "epistemic")
    values = {name: jnp.asarray([1.0, 3.0, 5.0]) + k for k, name in enumerate(names)}
    pit = jnp.broadcast_to((jnp.arange(100) + 0.5) / 100, (3, 100))
    score = uci.Score(**values, pit=pit)
    monkeypatch.setattr(uci, "find", lambda name: name)
    monkeypatch.setattr(uci, "read_regression", lambda path, name: None)
    shares = {"yacht": 0.8, "concrete": 0.9}

    def judged(table, config, setting, folder):
        return uci.Judged(score, shares[folder.name], 7.0)

    monkeypatch.setattr(uci, "judged", judged)
    monkeypatch.setattr(uci, "_picture", lambda *_: None)
    found = uci.run(Config(sets=("yacht", "concrete"), splits=3), tmp_path).metrics
    error = np.sqrt(8 / 3) / np.sqrt(3)
    expected = {
        "rmse": 3, "rmse_error": error, "nll": 4, "nll_error": error, "crps": 5, "coverage_95": 6,
        "cv_coverage_95": 0.9, "single_rmse": 7, "single_nll": 8, "epistemic_share": 9,
        "seconds": 7,
    }  # fmt: skip
    assert {name: found[f"concrete.{name}"] for name in expected} == pytest.approx(expected)
    assert found["coverage_95"] == 6 and found["cv_coverage_95"] == pytest.approx(0.85)
    assert found["yacht.calibration_error"] < 0.01


def test_a_tiny_run(tables, tmp_path):
    config = Config(sets=("yacht",), splits=2, members=3, effort=0.1)
    with pytest.warns(UserWarning, match="not the published file"):
        result = execute(EXPERIMENT, "quick", config, tmp_path / "run")
    deviation = 10.0
    assert result.metrics["yacht.rmse"] < 0.6 * deviation
    assert result.metrics["yacht.rmse"] <= result.metrics["yacht.single_rmse"]
    assert result.metrics["yacht.nll"] < np.log(deviation) + 1.42
    assert 0.7 < result.metrics["coverage_95"] <= 1
    assert (tmp_path / "run" / "calibration.png").exists()


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="name must be one of concrete, .* got 'boston'"):
        read_regression(tmp_path / "x.csv", "boston")
    with pytest.raises(DataError, match="no such file"):
        read_regression(tmp_path / "x.csv", "yacht")
    (tmp_path / "x.csv").write_text("a,b\n1,x\n")
    with pytest.raises(DataError, match="not a csv table of numbers"):
        read_regression(tmp_path / "x.csv", "yacht")
    with pytest.raises(ValueError, match="sets must be some of .* got \\('energy',\\)"):
        Config(sets=("energy",))
    with pytest.raises(ValueError, match="members must be at least 2, got 1"):
        Config(members=1)
