"""Soft clustering of a few events: the error falls with the temperature."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.jets.soft_clustering import EXPERIMENT, Config, nearest


def test_jets_are_matched_as_they_fit():
    exact = np.random.default_rng(0).normal(size=(2, 3, 4))
    turned = exact[:, [2, 0, 1]]
    turned[1, 0] += 0.1
    expected = [0, np.linalg.norm(np.full(4, 0.1)) / np.linalg.norm(exact[1])]
    np.testing.assert_allclose(nearest(turned, exact), expected, rtol=1e-12)


def test_a_tiny_run(tmp_path, real_data):
    path = real_data("jets-fastjet-reference/ee_higgs_events.npz")
    config = Config(data=path, most=34, temperatures=(0.3, 0.01, 0.0001))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["exact.largest_difference_to_fastjet"] < 1e-9
    hot, cold, coldest = (metrics[f"temperature {t}.median"] for t in ("0,3", "0,01", "0,0001"))
    assert hot > 10 * cold and coldest < 1e-6
    assert (tmp_path / "limit.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match="temperatures must be finite and > 0, got 0"):
        Config(temperatures=(0.1, 0))
    with pytest.raises(ValueError, match="most must be an integer >= 3, got 2"):
        Config(most=2)
