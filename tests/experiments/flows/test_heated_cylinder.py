"""The warm cylinder: the Nusselt number of known heat, figures beside printed ones, settings."""

import json
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows import heated_cylinder
from jaxpbdl.experiments.flows.heated_cylinder import (
    EXPERIMENT,
    Config,
    Heated,
    cylinder,
    nusselt,
)


def test_nusselt_number_of_conduction():
    """Temperatures that fall by ln(2 r) / ln(8) about the cylinder: heat 2 pi diffusivity / ln(8),
    a Nusselt number of 2 / ln(8)."""
    step = cylinder(Config(far=4.0), 1.0, 12)
    distance = jnp.linalg.norm(step.grid.points - jnp.asarray(heated_cylinder.CENTRE), axis=-1)
    fall = 1 - jnp.log(jnp.maximum(2 * distance, 1.0)) / jnp.log(8.0)
    state = step.start(temperature=fall)
    found = float(jax.jit(lambda state: nusselt(step, state))(state))
    assert found == pytest.approx(2 / np.log(8.0), rel=0.03)


@pytest.mark.stand_ins
def test_figures_beside_printed_ones(tmp_path, monkeypatch):
    asked = []

    def known(config, reynolds, cells):
        asked.append((reynolds, cells))
        values = 2.4 + np.array([0.0, 0.1]) + (0.3 if cells == 8 else 0.0)
        nothing: Any = SimpleNamespace()
        return Heated(nothing, nothing, np.arange(2.0), values)

    monkeypatch.setattr(heated_cylinder, "heated", known)
    monkeypatch.setattr(heated_cylinder, "_picture", lambda flows, folder: None)
    config = Config(reynolds=(20.0, 33.0), cells=16, coarser=8)
    found = heated_cylinder.run(config, tmp_path)
    assert asked == [(20.0, 16), (20.0, 8), (33.0, 16), (33.0, 8)]
    assert found.metrics["re20.nusselt"] == pytest.approx(2.45)
    assert found.metrics["re20.nusselt_range"] == pytest.approx(0.1)
    assert found.metrics["re20.nusselt_grid_error"] == pytest.approx(0.3 / 3)
    assert found.metrics["re20.nusselt_error"] == pytest.approx(1 - 2.45 / 2.4653)
    assert list(found.published) == ["re20.nusselt"] and "re33.nusselt_error" not in found.metrics
    other = heated_cylinder.run(Config(prandtl=0.71, reynolds=(20.0,), coarser=8), tmp_path)
    assert not other.published


def test_settings():
    with pytest.raises(ValueError, match="counted must be below time = 5.0, got 10.0"):
        Config(time=5.0)
    with pytest.raises(ValueError, match="coarser must be below cells = 11, got 11"):
        Config(cells=11)


def test_a_tiny_run(tmp_path):
    """In a small box for a short time: more heat at the higher Reynolds number."""
    config = Config(cells=8, coarser=6, far=4.0, time=6.0, counted=2.0)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert 2.0 < metrics["re20.nusselt"] < 3.5
    assert 1.1 < metrics["re40.nusselt"] / metrics["re20.nusselt"] < 1.6
    assert 0 < metrics["re20.nusselt_grid_error"] < 0.3
    assert (tmp_path / "temperature.png").stat().st_size > 5000
