"""What a run leaves behind is complete, valid, and written last."""

import json
import re
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from jaxpbdl import experiments
from jaxpbdl.checks import RunFolderError
from jaxpbdl.experiments import configuration, contract, load
from jaxpbdl.experiments.contract import Experiment, Published, Result, execute
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


def test_figures_to_compare_say_whose_they_are():
    """A network of others that we trained is not published, and a method may need a remark."""
    beside = {"a.error": Published(3, "ours")}
    result = Result({"a.error": 1.0, "b.error": 2.0}, beside, {}, {"b.error": Published(4, "x")})
    rows, columns = contract.rows_by_method(result)
    assert rows == [["a", 1.0], ["b", 2.0], ["a (published)", 3], ["b (trained here)", 4]]
    rows, columns = contract.rows_by_method(replace(result, notes={"b": "smaller"}))
    assert columns == ["method", "error", "note"] and rows[1] == ["b", 2.0, "smaller"]
    whole = Result({"error": 1.0, "other": 1.0}, {"error": Published(2, "a book")}, {},
                   {"other": Published(4, "seed 0")})  # fmt: skip
    rows, _ = contract.rows_by_method(whole)
    assert rows[0][2:] == [2, "published: a book"] and rows[1][2:] == [4, "trained here: seed 0"]
    mixed = replace(whole, metrics={**whole.metrics, "a.error": 1.0})
    assert contract.overall(mixed)[1] == "other = 1   (trained here 4: seed 0)"


def test_what_a_run_was(tmp_path, dummy):
    """Data, time, command, code and losses are in the record."""
    data = tmp_path / "a.npz"
    data.write_bytes(b"abc")
    config = replace(dummy.presets["quick"], data=data, steps=3)
    (tmp_path / "run").mkdir()
    begin = datetime.now(UTC).replace(microsecond=0)
    execute(dummy, "quick", config, tmp_path / "run", "jaxpbdl run dummy")
    report = json.loads((tmp_path / "run" / "result.json").read_text())
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert report["data"] == [{"file": "a.npz", "sha256": abc}]
    assert begin <= datetime.fromisoformat(report["date"]) <= datetime.now(UTC)
    assert report["command"] == "jaxpbdl run dummy"
    assert report["histories"] == {"counting": {"every": 1, "loss": [0, 1, 2]}}
    assert report["commit"] == contract.commit()


def test_the_commit_is_that_of_the_package(tmp_path, monkeypatch):
    """A package that no repository holds has none, even inside the folder of a repository."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "site" / "contract.py"
    file.parent.mkdir()
    file.touch()
    monkeypatch.setattr(contract, "__file__", str(file))
    assert contract.commit() is None
    git("init")
    git("commit", "--allow-empty", "-m", "first")
    assert contract.commit() is None
    git("add", ".")
    git("commit", "-m", "second")
    head = git("rev-parse", "HEAD")
    assert contract.commit() == head
    file.write_text("changed")
    assert contract.commit() == f"{head}-dirty"
    monkeypatch.setenv("PATH", "")
    assert contract.commit() is None


def test_long_histories_are_thinned():
    losses = np.arange(1.0, 1201)
    losses[5] = np.inf
    found = contract.thinned(losses)
    assert found["every"] == 3 and found["loss"][:3] == [3, None, 9] and found["loss"][-1] == 1200
    assert len(contract.thinned(np.ones(1499))["loss"]) == 499
    with pytest.raises(ValueError, match=r"one loss an update, got the shape \(2, 3\)"):
        contract.thinned(np.ones((2, 3)))


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


def test_what_is_listed_is_what_the_experiments_say():
    """Names and summaries are read from the text of the files, each file and name once."""
    entries = experiments.read(Path(experiments.__file__).parent, "jaxpbdl.experiments")
    assert len(entries) == len({name for name, _ in entries}) == len(experiments.EXPERIMENTS) > 20
    modules = {entry.module for _, entry in entries}
    for name, entry in entries:
        experiment = load(name)
        assert (experiment.name, experiment.summary) == (name, entry.summary)
    for path in Path(experiments.__file__).parent.rglob("*.py"):
        module = path.relative_to(Path(experiments.__file__).parents[2]).with_suffix("")
        own = re.search(r"^EXPERIMENT\b", path.read_text(), re.MULTILINE) is not None
        assert own == (".".join(module.parts) in modules), path


def test_a_new_file_is_a_new_experiment(tmp_path):
    text = '"""A test."""\n\nEXPERIMENT = Experiment(\n    name="b-c",\n    summary="new",\n)\n'
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "new.py").write_text(text)
    (tmp_path / "other.py").write_text("EXPERIMENTS = {}\n")
    assert experiments.read(tmp_path, "a") == [("b-c", experiments.Entry("a.below.new", "new"))]


def test_unknown_experiment():
    with pytest.raises(ValueError, match="did you mean .*turbulence-correction"):
        load("turbulence")


def test_table_refuses_ragged_rows():
    with pytest.raises(ValueError, match="2 entries"):
        table([[1, 2], [1]], ["a", "b"])
