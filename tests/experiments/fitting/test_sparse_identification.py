"""Errors by hand, and the identification of both equations from clean snapshots."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.fitting.sparse_identification import (
    EXPERIMENT,
    Config,
    largest_error,
    read,
    suffix,
)


def test_errors_and_names():
    truth = {"u_xx": 0.1, "(u^2)_x": -0.5}
    assert largest_error({"u_xx": 0.102, "(u^2)_x": -0.495}, truth) == pytest.approx(0.02)
    assert largest_error({"u_xx": 0.1, "u": 3.0}, truth) == 1
    assert largest_error({"u_xx": 0.1, "(u^2)_x": 0.5}, truth) == 2
    assert [suffix(noise) for noise in (0.0, 0.01, 0.1)] == ["", "_noise_1", "_noise_10"]


def test_snapshots(real_data):
    """A hump of height one at the start, which falls."""
    data = read(real_data("pysindy-pde/burgers.mat"))
    assert data.values.shape == (101, 256) and data.length == pytest.approx(16)
    assert data.interval == pytest.approx(0.1)
    assert data.values[0].max() == pytest.approx(1, abs=1e-6) and data.values[-1].max() < 0.8
    mass = data.values.sum(axis=1)
    np.testing.assert_allclose(mass, mass[0], rtol=1e-5)


def test_a_tiny_run(tmp_path, real_data, monkeypatch):
    folder = real_data("pysindy-pde/kdv.mat").parent.parent
    monkeypatch.setenv("JAXPBDL_DATA", str(folder))
    config = Config(seeds=1, noises=(0.0, 0.01))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    for name in ("burgers", "kdv"):
        assert metrics[f"{name}.coefficient_error"] < 1e-4
        assert metrics[f"{name}.strong_error"] < 0.01
        assert 0 < metrics[f"{name}_noise_1.coefficient_error"] < 0.01
        assert metrics[f"{name}_noise_1.strong_error"] > metrics[f"{name}.strong_error"]
        assert metrics[f"{name}_noise_1.terms_right"] == 1
    assert (tmp_path / "errors.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match=r"noises\[1\] must be finite and >= 0, got -0.1"):
        Config(noises=(0.0, -0.1))
    with pytest.raises(ValueError, match="seeds must be an integer >= 1, got 0"):
        Config(seeds=0)
