"""The command `jaxpbdl`: list the experiments, run one, resume one, look at finished runs.

JAX is imported only with an experiment, after the devices are chosen: `list`, `--version`, `--help`
and a mistyped name answer without it.
"""

import argparse
import os
import shlex
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from jaxpbdl import __version__
from jaxpbdl.experiments import EXPERIMENTS, launch, load

if TYPE_CHECKING:
    from jaxpbdl.experiments.contract import Experiment

USAGE_ERROR = 2
COMMANDS = ("demo", "list", "run", "resume", "compare", "plot", "export", "devices")


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is."""


class WholeNames(argparse.HelpFormatter):
    """Help that breaks no name at its hyphens, so that it can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 2 for an error of the user, 130, 143."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    _refuse_unknown(parser, arguments)
    options, settings = parser.parse_known_args(arguments)
    command = shlex.join(["jaxpbdl", *arguments])
    if options.command is None or (options.command == "run" and options.name is None):
        (parser if options.command is None else options.parser).print_help()
        return 0 if options.command is None or options.help else USAGE_ERROR
    if options.command == "list":
        return _list()
    if settings and options.command != "run":
        parser.error(f"unknown arguments: {' '.join(settings)}")
    try:
        if options.command in ACTIONS:
            ACTIONS[options.command](options)
            return 0
        if options.processes and options.processes != launch.JOIN:
            return _start_processes(options, arguments)
        if options.command == "resume":
            return _resume(options, command)
        return _run(options, [*settings, *(["--help"] if options.help else [])], command)
    except Exception as error:
        if options.traceback or not _is_of_the_user(error):
            raise
        print(f"jaxpbdl: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxpbdl", description="Physics-based deep learning in JAX.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"jaxpbdl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar=" | ".join(COMMANDS))
    commands.add_parser("list", help="list the experiments", allow_abbrev=False)
    run = commands.add_parser(
        "run",
        help="run an experiment; `jaxpbdl run NAME --help` lists its settings",
        usage="jaxpbdl run NAME [--preset PRESET] [--out DIR] [--devices N] [--processes N] "
        "[--SETTING VALUE ...]",
        epilog="`jaxpbdl run NAME --help` lists the settings of an experiment.",
        formatter_class=WholeNames,
        add_help=False,
        allow_abbrev=False,
    )
    run.add_argument("name", nargs="?", metavar="NAME", help=", ".join(EXPERIMENTS))
    run.add_argument("--preset", default="quick", help="settings to start from (default: quick)")
    run.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/NAME)")
    run.add_argument("-h", "--help", action="store_true", help="show this help")
    run.set_defaults(parser=run)
    resume = commands.add_parser("resume", help="continue the run in a folder", allow_abbrev=False)
    resume.add_argument("folder", type=Path, metavar="DIR")
    resume.add_argument(
        "--allow-changes",
        action="store_true",
        help="go on although the code or the data of a training have changed since",
    )
    for command in (run, resume):
        command.add_argument(
            "--devices", type=int, metavar="N", help="of this process (default: all)"
        )
        command.add_argument(
            "--processes",
            metavar="N",
            help="share ensembles over N processes of this machine, or `join` those of a cluster",
        )
    compare = commands.add_parser("compare", help="metrics of finished runs side by side")
    compare.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    plot = commands.add_parser("plot", help="draw the losses of a finished run")
    plot.add_argument("folder", type=Path, metavar="DIR")
    plot.add_argument("--out", type=Path, metavar="FILE", help="default: DIR/losses.png")
    export = commands.add_parser("export", help="write the trained model of a run to one file")
    export.add_argument("folder", type=Path, metavar="DIR")
    export.add_argument("--to", choices=("model", "stablehlo", "onnx"), default="model")
    export.add_argument("--out", type=Path, metavar="FILE", required=True)
    export.add_argument("--fit", help="which of several fits, such as crps")
    export.add_argument("--member", type=int, help="which of an ensemble (stablehlo, onnx)")
    export.add_argument(
        "--input", metavar="N,N", help="shape of one input, as 1,64 (stablehlo, onnx)"
    )
    demo = commands.add_parser("demo", help="a first flow, its gradient and a picture")
    demo.add_argument("--out", type=Path, metavar="FILE", default=Path("demo.png"))
    devices = commands.add_parser("devices", help="list what JAX computes on")
    for command in (run, resume, compare, plot, export, demo, devices):
        command.add_argument("--traceback", action="store_true", help="show where an error arose")
    return parser


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    """An unknown command, with the one that was meant."""
    command = next((each for each in arguments if not each.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        close = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(COMMANDS)}"
        parser.error(f"unknown command {command!r}; {hint}")


def _compare(options: argparse.Namespace) -> None:
    from jaxpbdl.experiments import runs

    runs.compare(options.folders)


def _plot(options: argparse.Namespace) -> None:
    from jaxpbdl.experiments import runs

    print(runs.plot(options.folder, options.out))


def _export(options: argparse.Namespace) -> None:
    from jaxpbdl.experiments import runs

    file = runs.unused(options.out)
    if options.to == "model":
        print(runs.export_model(options.folder, file, options.fit))
        return
    if options.input is None or not all(n.isdigit() for n in options.input.split(",")):
        raise ValueError(f"--input must be a shape, as 1,64, got {options.input}")
    shape = [int(n) for n in options.input.split(",")]
    fit, member = options.fit, options.member
    print(runs.export_program(options.folder, file, shape, fit, member, options.to))


def _demo(options: argparse.Namespace) -> None:
    from jaxpbdl.experiments.demo import demo

    demo(options.out)


def _devices(options: argparse.Namespace) -> None:
    import jax

    launch.choose_devices(None)
    for device in jax.devices():
        memory = (device.memory_stats() or {}).get("bytes_limit")
        size = "" if memory is None else f"  {memory / 2**30:.1f} GiB"
        print(f"{device.id}  {device.platform}  {device.device_kind}{size}")


ACTIONS = {
    "compare": _compare,
    "demo": _demo,
    "devices": _devices,
    "export": _export,
    "plot": _plot,
}


def _list() -> int:
    width = max(map(len, EXPERIMENTS))
    for name, entry in EXPERIMENTS.items():
        print(f"{name:{width}}  {entry.summary}")
    return 0


def _start_processes(options: argparse.Namespace, arguments: list[str]) -> int:
    """Run the same command several times at once; all of them have to agree on the folder."""
    if not options.processes.isdigit() or int(options.processes) < 1:
        raise ValueError(
            f"--processes must be a number >= 1 or {launch.JOIN}, got {options.processes}"
        )
    same = [*arguments, f"--processes={launch.JOIN}"]  # of two, the last one counts
    if options.command == "run" and options.out is None:
        same += ["--out", str(_free_folder(Path("runs") / options.name))]
    return launch.start(int(options.processes), same)


@contextmanager
def _joined(options: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """The folder of this process. The first of several has the one that was asked for, and the
    others, which only help it, are silent and keep what they need in folders inside."""
    index = launch.join() if options.processes == launch.JOIN else 0
    if index == 0:
        yield folder
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield folder / f"process-{index}"


def _run(options: argparse.Namespace, settings: list[str], command: str) -> int:
    experiment = _load(options, options.name)
    if options.preset not in experiment.presets:
        raise ValueError(f"--preset must be one of {', '.join(experiment.presets)}")
    config = configured(experiment, options.preset, settings)
    if options.out is None and options.processes == launch.JOIN:
        raise ValueError(f"--processes {launch.JOIN} needs --out, a folder that all processes see")
    with _joined(options, options.out or _free_folder(Path("runs") / options.name)) as folder:
        _refuse_if_taken(folder)
        return _execute(experiment, options.preset, config, folder, command, new=True)


def configured(experiment: "Experiment", preset: str, settings: list[str]) -> Any:
    """The settings of a preset, those named on the command line changed."""
    import tyro

    default = experiment.presets[preset]
    return tyro.cli(
        type(default),
        default=default,
        args=settings,
        prog=f"jaxpbdl run {experiment.name}",
        config=(tyro.conf.OmitArgPrefixes,),  # `--updates`, not `--training.updates`
        description=f"{experiment.summary}. Before the settings: --preset "
        f"{'|'.join(experiment.presets)}, --out DIR, --traceback.",
    )


def _resume(options: argparse.Namespace, command: str) -> int:
    from jaxpbdl.checks import RunFolderError
    from jaxpbdl.experiments import configuration, contract

    folder = options.folder
    name, preset, values = configuration.load(folder)
    if (folder / contract.RESULT).exists():
        raise RunFolderError(f"{folder} holds a finished run; its results are in {contract.RESULT}")
    experiment = _load(options, name)
    if preset not in experiment.presets:
        raise RunFolderError(f"{folder} was started from the preset {preset!r}, which is gone")
    kind, file = type(experiment.presets[preset]), folder / configuration.CONFIG
    config = configuration.restore(kind, values, str(file))
    again = {"new": False, "allow_changes": options.allow_changes}
    with _joined(options, folder) as own:
        return _execute(experiment, preset, config, own, command, **again)


def _execute(
    experiment: Any,
    preset: str,
    config: Any,
    folder: Path,
    command: str,
    *,
    new: bool,
    allow_changes: bool = False,
) -> int:
    from jaxpbdl.checks import RunFolderError
    from jaxpbdl.experiments import configuration, contract
    from jaxpbdl.learning.lock import RunLock

    experiment.files(config)  # what is missing is said before a folder is created
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with RunLock(folder):
            if new:
                _refuse_if_taken(folder)  # again, now that nobody else can take it
                configuration.save(folder, experiment.name, preset, config)
            print(f"{experiment.name} ({preset}) in {folder}", flush=True)
            try:
                with _termination_as_interrupt():
                    contract.execute(
                        experiment, preset, config, folder, command, allow_changes=allow_changes
                    )
            except Exception as error:
                if _is_of_the_user(error):
                    _forget_if_empty(folder)
                raise
    except KeyboardInterrupt as stop:
        again = shlex.join(["jaxpbdl", "resume", str(folder)])
        print(f"\nstopped; `{again}` continues it", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error}") from error
    return 0


def _forget_if_empty(folder: Path) -> None:
    """A run that failed before it left anything shall not count as one to be continued."""
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    if left <= {"config.json", "run.lock"}:
        (folder / "config.json").unlink(missing_ok=True)


def _free_folder(folder: Path) -> Path:
    """`folder`, or the first of `folder-2`, `folder-3`, ... that holds no run."""
    free, number = folder, 1
    while _state(free):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    if free != folder:
        print(f"{folder} holds {_state(folder)}; this run goes to {free}")
    return free


def _refuse_if_taken(folder: Path) -> None:
    from jaxpbdl.checks import RunFolderError

    if state := _state(folder):
        raise RunFolderError(f"{folder} holds {state}; choose another --out")


def _state(folder: Path) -> str:
    """A phrase for the run that a folder holds; empty if none."""
    if (folder / "result.json").exists():
        return "a finished run"
    if (folder / "config.json").exists():
        return (
            f"an unfinished run, which `{shlex.join(['jaxpbdl', 'resume', str(folder)])}` continues"
        )
    return ""


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM stop a run the way Ctrl-C does, so that it can be resumed."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _load(options: argparse.Namespace, name: str) -> Any:
    if name in EXPERIMENTS:
        # Before the experiment's module can start JAX.
        launch.choose_devices(options.devices, joins=options.processes == launch.JOIN)
    return load(name)


def _is_of_the_user(error: Exception) -> bool:
    """Whether the message says all there is to say; an ImportError says what to install."""
    if isinstance(error, (ValueError, ImportError)):
        return True
    from jaxpbdl.checks import BlowUp, CheckpointError, RunFolderError

    return isinstance(error, (BlowUp, CheckpointError, RunFolderError))


if __name__ == "__main__":
    sys.exit(main())
