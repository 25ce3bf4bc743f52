"""The command: exit codes, one-line errors, folders, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from jaxpbdl import experiments
from jaxpbdl.cli import main
from jaxpbdl.learning import RunLock

HERE = Path(__file__).parent
START = f"""
import sys
sys.path[:0] = {[str(HERE / "experiments"), str(HERE.parent)]!r}
from jaxpbdl import cli, experiments
experiments.EXPERIMENTS["dummy"] = experiments.Entry("dummy_experiment", "counts")
sys.exit(cli.main())
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(HERE / "experiments"))
    entry = experiments.Entry("dummy_experiment", "counts")
    monkeypatch.setitem(experiments.EXPERIMENTS, "dummy", entry)
    return tmp_path


def report(folder):
    return json.loads((Path(folder) / "result.json").read_text())


def test_run_takes_the_preset_and_every_setting(here):
    arguments = "run dummy --preset full --seed 4 --optimiser.widths 3 5 --out a/b --data x.npz"
    assert main(arguments.split()) == 0
    found = report("a/b")
    assert found["seed"] == 4 and found["metrics"]["dummy.steps"] == 5
    assert found["config"]["optimiser"]["widths"] == [3, 5] and found["config"]["data"] == "x.npz"


def test_default_folder_is_numbered(here, capsys):
    assert [main(["run", "dummy"]) for _ in range(3)] == [0, 0, 0]
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["dummy", "dummy-2", "dummy-3"]
    assert (
        "runs/dummy holds a finished run; this run goes to runs/dummy-2" in capsys.readouterr().out
    )


def test_resume_recreates_the_config(here, capsys):
    assert main(["run", "dummy", "--steps", "4", "--seed", "9", "--out", "r"]) == 0
    os.remove("r/result.json")
    Path("r/count").write_text("3")
    assert main(["run", "dummy", "--out", "r"]) == 2
    assert "jaxpbdl resume r" in capsys.readouterr().err
    assert main(["resume", "r"]) == 0
    assert report("r")["seed"] == 9 and report("r")["metrics"]["dummy.start"] == 3
    assert main(["resume", "r"]) == 2
    assert "finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("run dumy", "did you mean dummy?"),
        ("run dummy --preset huge", "--preset must be one of quick, full"),
        ("run dummy --out file/below", "cannot be written"),
        ("resume absent", "holds no run"),
        ("resume damaged", "config.json is damaged"),
    ],
)
def test_one_line_errors(here, capsys, arguments, message):
    Path("file").touch()
    Path("damaged").mkdir()
    Path("damaged/config.json").write_text('{"experiment": "du')
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("jaxpbdl: ")


def test_a_busy_folder_is_left_alone(here, capsys):
    with RunLock("r"):
        assert main(["run", "dummy", "--out", "r"]) == 2
    assert "run folder r is in use by process" in capsys.readouterr().err
    assert not Path("r/config.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(here, capsys):
    Path("locked").mkdir(mode=0o500)
    assert main(["run", "dummy", "--out", "locked/r"]) == 2
    assert "cannot be written" in capsys.readouterr().err


USAGE = ["run dummy --stepz 3", "run dummy --steps 0", "resume a b", "walk", "run"]


@pytest.mark.parametrize("arguments", USAGE)
def test_usage_errors(here, arguments, capsys):
    try:
        code = main(arguments.split())
    except SystemExit as stop:
        code = stop.code
    assert code == 2


def test_list_and_help_do_not_start_jax(here):
    """So that an experiment can still choose the devices."""
    choose = "import jax; jax.config.update('jax_num_cpu_devices', 2)"
    check = START.replace("sys.exit(cli.main())", f"cli.main(); {choose}")
    for arguments in (["list"], ["run", "--help"], []):
        done = subprocess.run([sys.executable, "-c", check, *arguments], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        assert b"turbulence-correction" in done.stdout or not arguments


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_can_be_resumed(here, sent, code):
    arguments = ["run", "dummy", "--steps", "300", "--pause", "0.1", "--out", "my run"]
    command = [sys.executable, "-c", START, *arguments]
    # A suite that runs in the background of a shell is deaf to SIGINT, and so would be its
    # children.
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, **pipes, preexec_fn=listening) as process:
        while b"step 1" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.2)
        process.send_signal(sent)
        _, error = process.communicate(timeout=20)
    assert process.returncode == code
    assert b"`jaxpbdl resume 'my run'` continues it" in error and b"Traceback" not in error
    assert not Path("my run/result.json").exists()
    Path("my run/count").write_text("300")
    assert main(["resume", "my run"]) == 0
