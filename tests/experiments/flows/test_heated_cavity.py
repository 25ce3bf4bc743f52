"""The heated box: budgets of its figures, a small run."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.flows.heated_cavity import (
    EXPERIMENT,
    Config,
    cavity,
    heat_flows,
    label,
    peak,
)


def test_conduction_alone_has_a_nusselt_number_of_one():
    step = cavity(Config(cells=6), 1e3, 1e-5)
    through = heat_flows(step, step.start(temperature=lambda point: 1 - point[0]))
    np.testing.assert_allclose(through, 1.0, rtol=1e-5)
    colder = heat_flows(step, step.start(temperature=lambda point: 0.9 - point[0]))
    assert colder[0] > 1.1 and colder[1] < 0.9  # more enters, less leaves


def test_the_air_is_pushed_up_where_it_is_warmer_than_the_mean():
    step = cavity(Config(cells=6), 2e3, 1e-5)
    push = step.buoyancy({"temperature": jnp.full((6, 6), 0.6)})
    np.testing.assert_allclose(push[1][:, 1:-1], 2e3 * 0.71 * 0.1, rtol=1e-5)
    assert jnp.all(push[0] == 0)


def test_names_and_peaks():
    assert [label(one) for one in (1e3, 2.5e4, 1e6)] == ["1e3", "2p5e4", "1e6"]
    places = np.array([0.0, 0.3, 0.5, 0.9, 1.0])
    assert peak(places, 2 - (places - 0.6) ** 2) == pytest.approx(2.0)


def test_a_small_run(tmp_path):
    """Coarse cells are within a few percent already."""
    config = Config(rayleigh=(1e3,), cells=12, tolerance=1e-3)
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    for name, value in result["metrics"].items():
        if name in result["published"]:
            assert value == pytest.approx(result["published"][name]["value"], rel=0.05), name
    assert len(result["published"]) == 3 and result["metrics"]["change_1e3"] < 1e-3
    assert (tmp_path / "temperature.png").stat().st_size > 5000


def test_refused():
    with pytest.raises(ValueError, match=r"grading must be in \[0, 1\), got 1"):
        Config(grading=1.0)
