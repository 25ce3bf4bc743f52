"""The command: exit codes, one-line errors, folders, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

from jaxpbdl import experiments
from jaxpbdl.cli import configured, main
from jaxpbdl.experiments import launch
from jaxpbdl.learning import RunLock

HERE = Path(__file__).parent
START = f"""
import sys
sys.path[:0] = {[str(HERE / "experiments"), str(HERE.parent)]!r}
from jaxpbdl import cli, experiments
experiments.EXPERIMENTS["dummy"] = experiments.Entry("dummy_experiment", "counts")
sys.exit(cli.main())
"""

FAILS_IN_THE_SECOND = """
import os, sys, time
if os.environ["JAXPBDL_PROCESS"] == "1":
    sys.exit(3)
time.sleep(60)
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
    Path("x.npz").touch()
    arguments = "run dummy --preset full --seed 4 --widths 3 5 --out a/b --data x.npz"
    assert main(arguments.split()) == 0
    found = report("a/b")
    assert found["seed"] == 4 and found["metrics"]["dummy.steps"] == 5
    assert found["config"]["optimiser"]["widths"] == [3, 5] and found["config"]["data"] == "x.npz"


def test_every_experiment_takes_its_settings(capsys):
    """No two of one experiment have the same name on the command line."""
    for name in experiments.EXPERIMENTS:
        experiment = experiments.load(name)
        assert configured(experiment, "quick", []) == experiment.presets["quick"], name


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
        ("run dumy", "did you mean dummy"),
        ("run dummy --devices 0", "--devices must be at least 1, got 0"),
        ("run dummy --devices 900", "--devices must be at most 2, the devices there are, got 900"),
        ("run dummy --processes 0", "--processes must be a number >= 1 or join, got 0"),
        ("run dummy --processes join", "--processes join needs --out"),
        ("run dummy --preset huge", "--preset must be one of quick, full"),
        ("run dummy --out file/below", "cannot be written"),
        ("resume absent", "holds no run"),
        ("resume damaged", "config.json is damaged"),
        ("run dummy --data absent.npz", "absent.npz: no such file"),
        ("run dummy --fails value", "no such value"),
        ("run dummy --fails package", 'pip install "jaxpbdl[jets]"'),
    ],
)
def test_one_line_errors(here, capsys, arguments, message):
    Path("file").touch()
    Path("damaged").mkdir()
    Path("damaged/config.json").write_text('{"experiment": "du')
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("jaxpbdl: ")
    assert not Path("runs/dummy/config.json").exists()  # no run that could be continued
    assert Path("runs").exists() == ("--fails" in arguments)


WRONG = {
    "seed": (None, "config.json: seed must be an integer, got None"),
    "steps": ([1], r"config.json: steps must be an integer, got [1]"),
    "pause": (True, "config.json: pause must be a number, got True"),
    "limit": ("3", "config.json: limit must be a number, got '3'"),
    "kind": ("c", "config.json: kind must be one of 'a', 'b', got 'c'"),
    "data": (5, "config.json: data must be text, got 5"),
    "fit": (1, "config.json: fit must be true or false, got 1"),
    "optimiser": ([], "config.json: optimiser must be an object, got []"),
    "optimiser.rate": ("x", "config.json: optimiser: rate must be a number, got 'x'"),
    "optimiser.widths": (3, "config.json: optimiser: widths must be a list, got 3"),
}


@pytest.mark.parametrize("setting", WRONG)
def test_settings_of_a_wrong_type(here, capsys, setting):
    value, message = WRONG[setting]
    write_config(lambda record: change(record["config"], setting, value))
    assert main(["resume", "r"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name, value", [
    ("experiment", 5), ("experiment", ["dummy"]), ("preset", ["quick"]), ("config", [1]),
])  # fmt: skip
def test_a_record_of_wrong_types(here, capsys, name, value):
    write_config(lambda record: record.update({name: value}))
    assert main(["resume", "r"]) == 2
    assert f"config.json is damaged: {name} must be" in capsys.readouterr().err


def change(values, name, value):
    *above, last = name.split(".")
    for each in above:
        values = values[each]
    values[last] = value


def write_config(edit):
    """The settings of an unfinished run in the folder `r`, changed."""
    assert main(["run", "dummy", "--out", "r"]) == 0
    os.remove("r/result.json")
    path = Path("r/config.json")
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def test_the_command_is_recorded(here):
    assert main(["run", "dummy", "--out", "my run"]) == 0
    assert report("my run")["command"] == "jaxpbdl run dummy --out 'my run'"


def test_version(here, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"jaxpbdl {version('jaxpbdl')}\n"


def test_a_mistyped_command(here, capsys):
    with pytest.raises(SystemExit):
        main(["rnu", "dummy"])
    assert "unknown command 'rnu'; did you mean run?" in capsys.readouterr().err


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


LIGHT = ["list", "--version", "--help", "run --help", "walk", "run fno-burger", ""]


@pytest.mark.parametrize("arguments", LIGHT)
def test_what_runs_no_experiment_imports_nothing_heavy(here, arguments):
    """So that it answers at once, and an experiment can still choose the devices."""
    check = f"""
import sys
sys.path.insert(0, {str(HERE.parent)!r})
from jaxpbdl import cli
try:
    cli.main()
finally:
    heavy = {{"jax", "numpy", "equinox", "tyro", "matplotlib"}} & set(sys.modules)
    print("heavy:", *heavy)
"""
    command = [sys.executable, "-c", check, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "heavy:", done.stderr
    if arguments in ("list", "run --help"):
        assert "turbulence-correction" in done.stdout


def test_resume_goes_on_with_changes_where_they_are_allowed(here, capsys):
    """The optimiser of the stopped fit is another when it is resumed."""
    run = "run dummy --fit --updates 10 --out r".split()
    assert main([*run, "--rate", "0.1"]) == 0
    os.remove("r/result.json")
    path = Path("r/config.json")
    path.write_text(path.read_text().replace("0.1", "0.2").replace(": 10", ": 20"))
    assert main(["resume", "r"]) == 2
    assert "differs from this one in: optimiser" in capsys.readouterr().err
    assert main(["resume", "r", "--allow-changes"]) == 0
    assert len(report("r")["histories"]["fit"]["loss"]) == 20


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


@pytest.mark.parametrize("sent, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_fit_can_be_resumed(here, sent, code):
    """A fit waits with the signal until its checkpoint is written; then the command has its say."""
    command = [
        sys.executable,
        "-c",
        START,
        "run",
        "dummy",
        "--fit",
        "--updates",
        "100000000",
        "--out",
        "r",
    ]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, **pipes, preexec_fn=listening) as process:
        while not list(Path("r/checkpoints").glob("*0")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(sent)
        _, error = process.communicate(timeout=20)
    assert process.returncode == code
    assert b"`jaxpbdl resume r` continues it" in error and b"Traceback" not in error


def test_several_processes_share_a_run(here, monkeypatch):
    """The first has the folder that was asked for; what fails in one ends all."""
    monkeypatch.setattr(launch, "COMMAND", (sys.executable, "-c", START))
    assert main(["run", "dummy", "--processes", "2", "--out", "r", "--steps", "4"]) == 0
    assert report("r")["metrics"] == report("r/process-1")["metrics"]
    assert main(["run", "dummy", "--processes=2", "--out", "r"]) == 2
    monkeypatch.setattr(launch, "COMMAND", (sys.executable, "-c", FAILS_IN_THE_SECOND))
    begun = time.monotonic()
    assert launch.start(2, []) == 3 and time.monotonic() - begun < 20


def test_the_devices_of_a_run(here):
    """Before JAX starts, so in a process of its own."""
    program = START.replace("sys.exit(cli.main())", "cli.main(); import jax; print(jax.devices())")
    command = [sys.executable, "-c", program, *"run dummy --devices 3 --out r".split()]
    environment = {**os.environ, "XLA_FLAGS": ""}
    del environment["XLA_FLAGS"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.count("CpuDevice(id=") == 3, done.stdout + done.stderr
