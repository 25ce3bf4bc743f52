"""Sod's shock tube: a small run beside figures, the picture, the settings."""

import json

import jax
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.gas import shock_tube
from jaxpbdl.experiments.gas.shock_tube import EXPERIMENT, TABLE, Config, exact_density, plane


def test_a_small_run(tmp_path, monkeypatch):
    kept = {name: shock_tube.SCHEMES[name] for name in ("first_order", "minmod", "weno")}
    monkeypatch.setattr(shock_tube, "SCHEMES", kept)
    contract.execute(EXPERIMENT, "quick", Config(cells=(100,), plane=0), tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    for name in ("first_order", "minmod"):
        assert metrics[f"{name}.l1_100"] == pytest.approx(TABLE[name][100], rel=0.03)
    assert metrics["weno.l1_100"] < 3.55e-3
    assert (tmp_path / "density.png").stat().st_size > 5000


def test_four_shocks_are_symmetric():
    """About the diagonal; the gas of the upper right corner is not reached at its far end."""
    with jax.enable_x64(True):
        found = plane(Config(plane=12))
    assert np.abs(found - found.T).max() < 1e-9
    assert found.min() > 0.1 and found[-1, -1] == pytest.approx(1.5, rel=0.01)
    assert 1.5 < found.max() < 2.0


def test_exact_means_hold_the_mass():
    with jax.enable_x64(True):
        assert exact_density(50).mean() == pytest.approx((1 + 0.125) / 2, abs=1e-5)


def test_settings():
    with pytest.raises(ValueError, match="courant must be finite and > 0, got 0"):
        Config(courant=0.0)
    with pytest.raises(ValueError, match=r"cells\[1\] must be an integer >= 1, got 0"):
        Config(cells=(100, 0))
