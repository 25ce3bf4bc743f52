"""The tables of regression: their reader, their splits, a tiny run."""

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.uci import read_regression, splits
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.uci import EXPERIMENT, Config, scaling


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
