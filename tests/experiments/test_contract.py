"""What a run leaves behind is complete, valid, and written last."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jaxpbdl.checks import RunFolderError
from jaxpbdl.experiments import configuration, load
from jaxpbdl.experiments.contract import Experiment, Result, execute
from jaxpbdl.experiments.report import table


@pytest.fixture
def dummy(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from dummy_experiment import EXPERIMENT

    return EXPERIMENT


def test_result_file(tmp_path, dummy):
    execute(dummy, "full", replace(dummy.presets["full"], seed=7), tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    report = json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    assert (report["experiment"], report["preset"], report["seed"]) == ("dummy", "full", 7)
    assert report["metrics"] == {"dummy.steps": 5, "dummy.start": 0, "other.error": None}
    assert report["nonfinite"] == {"other.error": "nan"}
    assert report["published"] == {"dummy.steps": {"value": 3, "source": "a book"}}
    assert report["config"]["limit"] == "inf" and report["seconds"] >= 0
    wanted = {"python", "jax", "jaxlib", "equinox", "optax", "numpy", "jaxpbdl", "device"}
    assert set(report["versions"]) == wanted
    text = (tmp_path / "table.md").read_text()
    assert "| dummy (published) | 3 |" in text and "| dummy | 5 | 0 |" in text


def test_a_run_that_fails_leaves_no_result(tmp_path, dummy):
    def fail(config, folder):
        raise FloatingPointError("blew up")

    with pytest.raises(FloatingPointError):
        execute(Experiment("x", "", {}, fail), "quick", dummy.presets["quick"], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".error", "method.", "a.b.c"])
def test_metric_names(name):
    with pytest.raises(ValueError, match=r"method\.metric"):
        Result({name: 1.0})


def test_config_survives_the_file(tmp_path, dummy):
    config = dummy.presets["quick"]
    config = replace(config, data=Path("a/b.npz"), pause=0.1 + 0.2, kind="b")
    config = replace(config, optimiser=replace(config.optimiser, rate=1 / 3, widths=(1, 2, 3)))
    configuration.save(tmp_path, "dummy", "quick", config)
    name, preset, values = configuration.load(tmp_path)
    assert (name, preset) == ("dummy", "quick")
    assert configuration.restore(type(config), values) == config
    with pytest.raises(RunFolderError, match="other settings.*steps"):
        configuration.restore(type(config), {k: v for k, v in values.items() if k != "steps"})


def test_a_config_that_would_not_come_back_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Config:
        chosen: frozenset = frozenset({1})

    with pytest.raises(TypeError, match="config holds"):
        configuration.save(tmp_path, "x", "quick", Config())


def test_unknown_experiment():
    with pytest.raises(ValueError, match="did you mean turbulence-correction"):
        load("turbulence")


def test_table_refuses_ragged_rows():
    with pytest.raises(ValueError, match="2 entries"):
        table([[1, 2], [1]], ["a", "b"])
