"""Soft clustering of a few events: the error falls with the temperature."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.jets import soft_clustering
from jaxpbdl.experiments.jets.soft_clustering import ANSWERS, EXPERIMENT, Config, nearest


def test_jets_are_matched_as_they_fit():
    exact = np.random.default_rng(0).normal(size=(2, 3, 4))
    turned = exact[:, [2, 0, 1]]
    turned[1, 0] += 0.1
    expected = [0, np.linalg.norm(np.full(4, 0.1)) / np.linalg.norm(exact[1])]
    np.testing.assert_allclose(nearest(turned, exact), expected, rtol=1e-12)


def test_metrics_of_known_errors(tmp_path, monkeypatch):
    """Soft jets are off by the temperature times the number of particles; the largest event is
    left out there, and is the one where an answer of FastJet differs by a tenth."""
    counts, generator = [3, 3, 5, 7], np.random.default_rng(0)
    momenta = generator.normal(size=(sum(counts), 4))
    offsets = np.cumsum([0, *counts])
    np.savez(tmp_path / "events.npz", p4_px_py_pz_E_GeV=momenta, event_offsets=offsets)
    pts = [np.hypot(*momenta[begin : begin + 3, :2].T) for begin in offsets[:-1]]
    pts[3][1] *= 1.1
    config = Config(data=tmp_path / "events.npz", max_particles=5, temperatures=(0.1, 2.5e-4))
    with pytest.raises(DataError, match="no such file; FastJet's answers lie beside the events"):
        EXPERIMENT.files(config)
    (tmp_path / ANSWERS).write_text(
        json.dumps([{"jets": [{"pt": pt} for pt in event]} for event in pts])
    )
    assert [path.name for path in EXPERIMENT.files(config)] == ["events.npz", ANSWERS]

    def exclusive(p, jets, *, mask):
        return SimpleNamespace(momenta=p[:jets])

    def soft_exclusive(p, jets, temperature, *, mask):
        return SimpleNamespace(momenta=p[:jets][::-1] * (1 + temperature * mask.sum()))

    monkeypatch.setattr(soft_clustering, "exclusive", exclusive)
    monkeypatch.setattr(soft_clustering, "soft_exclusive", soft_exclusive)
    monkeypatch.setattr(soft_clustering, "_picture", lambda *_: None)
    found = soft_clustering.run(config, tmp_path).metrics
    assert found["exact.largest_difference_to_fastjet"] == pytest.approx(1 - 1 / 1.1)
    assert found["events"] == 3
    for temperature, near in ((0.1, 0), (2.5e-4, 2 / 3)):
        name = f"temperature {temperature:g}".replace(".", ",")
        assert found[f"{name}.median"] == pytest.approx(3 * temperature)
        assert found[f"{name}.mean"] == pytest.approx(11 / 3 * temperature)
        assert found[f"{name}.within_1e-3"] == pytest.approx(near)


def test_a_tiny_run(tmp_path, real_data):
    path = real_data("jets-fastjet-reference/ee_higgs_events.npz")
    config = Config(data=path, max_particles=34, temperatures=(0.3, 0.01, 0.0001))
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["exact.largest_difference_to_fastjet"] < 1e-9
    hot, cold, coldest = (metrics[f"temperature {t}.median"] for t in ("0,3", "0,01", "0,0001"))
    assert hot > 10 * cold and coldest < 1e-6
    assert (tmp_path / "limit.png").exists()


def test_bad_input():
    with pytest.raises(ValueError, match=r"temperatures\[1\] must be finite and > 0, got 0"):
        Config(temperatures=(0.1, 0))
    with pytest.raises(ValueError, match="max_particles must be an integer >= 3, got 2"):
        Config(max_particles=2)
