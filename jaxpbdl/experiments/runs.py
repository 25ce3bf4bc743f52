"""Finished runs, looked at again: their metrics side by side, their losses as a picture, their
models as files.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxpbdl import plotting
from jaxpbdl.checks import DataError, RunFolderError
from jaxpbdl.experiments.contract import RESULT
from jaxpbdl.experiments.report import Cell, table
from jaxpbdl.learning.model_file import SUFFIX, load, read_card, save

MODEL = f"model{SUFFIX}"


def read(folder: str | Path) -> dict[str, Any]:
    """The `result.json` of a run. Raises RunFolderError where there is none, or a damaged one."""
    path = Path(folder) / RESULT
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"{folder} holds no finished run: {error}") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error


def compare(folders: Sequence[str | Path]) -> None:
    """Print the metrics of several runs, a column each, and before them the settings in which they
    differ. Raises ValueError for fewer than two."""
    if len(folders) < 2:
        raise ValueError(f"compare wants at least two run folders, got {len(folders)}")
    reports = [read(folder) for folder in folders]
    about = [{"experiment": r["experiment"], "commit": (r["commit"] or "")[:12]} for r in reports]
    settings = [{**each, **_flat(r["config"])} for each, r in zip(about, reports, strict=True)]
    rows: list[list[Cell]] = []
    for name in _names(settings):
        values = [each.get(name) for each in settings]
        if any(value != values[0] for value in values):
            rows.append([name, *map(_text, values)])
    metrics = [r["metrics"] for r in reports]
    for name in _names(metrics):
        rows.append([name, *(each.get(name) for each in metrics)])
    rows.append(["seconds", *(r["seconds"] for r in reports)])
    table(rows, ["", *(str(folder) for folder in folders)])


def plot(folder: str | Path, file: str | Path | None = None) -> Path:
    """Draw the losses of all fits of a run over their updates; returns the file, by default
    `losses.png` in the folder. Raises RunFolderError for a run without a fit."""
    report = read(folder)
    histories = report["histories"]
    if not histories:
        raise RunFolderError(f"{folder}: {report['experiment']} recorded no losses")
    figure, axes = plotting.figure(1, 1, size=(5.0, 3.2))
    ax = axes[0, 0]
    for name, history in histories.items():
        losses = np.asarray([np.nan if v is None else v for v in history["loss"]])
        ax.plot(history["every"] * np.arange(1, len(losses) + 1), losses, label=name)
    positive = all(v is None or v > 0 for h in histories.values() for v in h["loss"])
    ax.set(xlabel="updates", ylabel="loss", yscale="log" if positive else "linear")
    ax.set_title(f"{report['experiment']} ({report['preset']})")
    ax.legend()
    target = Path(folder) / "losses.png" if file is None else Path(file)
    plotting.save(figure, target)
    return target


def models(folder: str | Path) -> dict[str, Path]:
    """The model files in a run folder, by the names of their fits."""
    root = Path(folder)
    return {str(path.parent.relative_to(root)): path for path in sorted(root.rglob(MODEL))}


def chosen_model(folder: str | Path, fit: str | None = None) -> Path:
    """The model file of a fit, which may be left out where there is one only.

    **Raises** RunFolderError where there is none, ValueError for a name that is not one of them.
    """
    found = models(folder)
    if not found:
        raise RunFolderError(
            f"{folder} holds no {MODEL}: it trains nothing, is not finished, or its models hold "
            "functions without a name"
        )
    short = {name.rpartition("/")[2]: path for name, path in found.items()}
    if fit is None and len(found) == 1:
        return next(iter(found.values()))
    if fit not in short and fit not in found:
        raise ValueError(f"--fit must be one of {', '.join(short)}, got {fit}")
    return found.get(fit or "") or short[fit or ""]


def export_model(folder: str | Path, file: Path, fit: str | None = None) -> Path:
    """Copy the model of a fit to a file of its own, with what `result.json` knows on its card."""
    source, report = chosen_model(folder, fit), read(folder)
    card = read_card(source)
    card.pop("versions")
    known = ("experiment", "preset", "seed", "config", "metrics", "data", "date", "commit")
    return save(load(source), file, {**card, **{name: report[name] for name in known}})


def export_program(
    folder: str | Path,
    file: Path,
    shape: Sequence[int],
    fit: str | None,
    member: int | None,
    form: str = "stablehlo",
) -> Path:
    """Write the model of a fit as StableHLO or ONNX for single-precision inputs of `shape`; of an
    ensemble the program gives all members, or the one asked for.

    **Raises** ValueError for a member that is not there, and for a shape the model does not take.
    """
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from jaxpbdl.learning import ensemble
    from jaxpbdl.learning.exported import export, export_onnx

    source = chosen_model(folder, fit)
    model, members = load(source), read_card(source)["members"]
    if member is not None:
        if members is None or not 0 <= member < members:
            raise ValueError(f"--member must be from 0 to {(members or 1) - 1}, got {member}")
        model = ensemble.member(model, member)
    elif members is not None:
        arrays, static = eqx.partition(model, eqx.is_array)

        def model(inputs: jax.Array) -> Any:
            return jax.vmap(lambda one: eqx.combine(one, static)(inputs))(arrays)

    if not callable(model):
        raise ValueError(f"{source} holds a {type(model).__name__}, which is no function of inputs")
    try:
        write = export_onnx if form == "onnx" else export
        return write(model, jnp.zeros(tuple(shape)), file)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the model of {source} does not take inputs {shape}: {reason}") from error


def unused(path: Path) -> Path:
    """`path`, refused if something is there."""
    if path.exists():
        raise RunFolderError(f"{path} is there already; choose another --out")
    return path


def _names(dictionaries: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in dictionaries for name in each))


def _text(value: Any) -> Cell:
    return "–" if value is None else str(value)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return dict(_pairs(config, prefix))


def _pairs(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
