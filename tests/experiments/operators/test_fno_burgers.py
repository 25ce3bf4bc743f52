"""The operator of Burgers' equation on its own data: a tiny run, and what it refuses."""

import json
from dataclasses import replace

import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.operators.fno_burgers import EXPERIMENT, Config


def test_a_tiny_run(tmp_path):
    config = Config(
        points=32,
        train=6,
        test=3,
        modes=3,
        width=4,
        training=replace(Config.training, batch=3, updates=4),
    )
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    metrics = report["metrics"]
    assert metrics["relative_l2"] == metrics["fno.relative_l2"]
    assert set(metrics) == {
        "heat.relative_l2", "fno.relative_l2", "fno.relative_l2_quarter", "relative_l2"
    }  # fmt: skip
    assert not report["nonfinite"]  # what the errors of known operators are: test_operator_metrics
    assert len(report["histories"]["fno"]["loss"]) == 4
    assert set(report["published"]) == {"relative_l2"}
    assert (tmp_path / "states.png").exists()


def test_bad_input():
    with pytest.raises(
        ValueError, match="points must be a multiple of 4.* at least .* 128, got 64"
    ):
        Config(points=64)
    with pytest.raises(ValueError, match="validation must be below the 1000 samples, got 1000"):
        Config(validation=1000)
