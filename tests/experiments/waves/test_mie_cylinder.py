"""Scattering by a cylinder: a small run within its budget, and its settings."""

import json

import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.waves.mie_cylinder import EXPERIMENT, Config, cylinder, efficiency
from jaxpbdl.solvers.waves.media import Medium


def test_a_small_run(tmp_path):
    """Coarse cells are within three percent already."""
    config = Config(cells=10, layer=8)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["q_sca.exact"] == pytest.approx(3.788208, abs=1e-6)
    assert metrics["q_sca"] == pytest.approx(3.788208, rel=0.03)
    assert metrics["far_field_error"] < 0.03
    assert metrics["q_sca_error"] == pytest.approx(abs(metrics["q_sca"] / 3.788208 - 1), abs=1e-6)
    assert (tmp_path / "field.png").stat().st_size > 5000


def test_te_within_one_percent_and_of_second_order(tmp_path):
    config = Config(polarisation="te", radius=0.48, permittivity=2.25, cells=16, coarser=(8,))
    contract.execute(EXPERIMENT, "te", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["te.q_sca_exact"] == pytest.approx(3.403482, abs=1e-6)
    assert metrics["te.q_sca"] == pytest.approx(3.403482, rel=0.004)
    assert metrics["te.q_sca_error"] == pytest.approx(
        abs(metrics["te.q_sca"] / metrics["te.q_sca_exact"] - 1)
    )
    assert metrics["te.far_field_error"] < 0.01
    assert metrics["te.q_sca_error_8"] < 0.015
    expected = np.log2(metrics["te.q_sca_error_8"] / metrics["te.q_sca_error"])
    assert metrics["te.order"] == pytest.approx(expected) and expected > 1.6
    assert (tmp_path / "field.png").stat().st_size > 5000


def test_an_absent_cylinder_scatters_nothing():
    found, field, pattern = efficiency(Config(permittivity=1.0, cells=4, layer=6, periods=8.0))
    assert abs(found) < 1e-4 and np.all(pattern < 1e-4)
    assert abs(field[len(field) // 2, len(field) // 2] - 1) < 1e-4


def test_settings():
    config = Config(radius=0.5, wavelength=2.0, permittivity=4.0, cells=10)
    assert config.size == pytest.approx(1.5707963) and config.width == pytest.approx(0.05)
    frame = config.frame
    domain = frame.domain
    assert (frame.within, frame.total, frame.outside) == (12, 14, 18) and domain == 18 + 10 + 10
    step = cylinder(config)
    assert isinstance(step.medium, Medium)
    eps = step.medium.permittivity[0]
    assert float(eps[domain, domain]) == 4.0 and float(eps[domain, domain + 12]) == 1.0
    assert float(eps[domain + 10, domain]) == pytest.approx(2.5, abs=1e-3)
    assert float(step.dt) < float(step.largest_dt())
    with pytest.raises(ValueError, match="radius must be finite and > 0, got 0"):
        Config(radius=0.0)
