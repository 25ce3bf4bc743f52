"""A config dataclass as plain JSON and back, exactly."""

import json
import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxpbdl.checks import RunFolderError
from jaxpbdl.files import write_text

CONFIG = "config.json"


def save(folder: Path, name: str, preset: str, config: Any) -> None:
    """Write `config.json`.

    Raises `TypeError` if the config would not come back from the file the same.
    """
    values = plain(config)
    if restore(type(config), values) != config:
        raise TypeError(f"config of {name} does not survive JSON: {config}")
    record = {"experiment": name, "preset": preset, "config": values}
    write_text(folder / CONFIG, json.dumps(record, indent=2, allow_nan=False) + "\n")


def load(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """Name, preset and plain config of the run in `folder`.

    Raises `RunFolderError` if there is none, or its record is damaged.
    """
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record["experiment"], record["preset"], dict(record["config"])
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no run: there is no {CONFIG}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged: {type(error).__name__} {error}") from error


def plain(value: Any) -> Any:
    """What JSON can hold: dataclasses become objects, paths text, infinities and NaN text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value) if item.init}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (NoneType, bool, int, float, str)):
        return value
    raise TypeError(f"a config holds numbers, text, paths, tuples and dataclasses; got {value!r}")


def restore(kind: Any, value: Any) -> Any:
    """The value of type `kind` that `plain` turned into `value`.

    Raises `RunFolderError` if a dataclass has other fields than the record, and `ValueError` or
    `TypeError` for a value of another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {item.name for item in fields(kind) if item.init}
        if known != set(value):
            difference = ", ".join(sorted(known ^ set(value)))
            raise RunFolderError(
                f"the run was started with other settings than today's: {difference}"
            )
        return kind(**{name: restore(hints[name], item) for name, item in value.items()})
    if origin in (Union, UnionType):
        if value is None:
            return None
        return restore(next(option for option in arguments if option is not NoneType), value)
    if origin is tuple:
        same = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = arguments[:1] * len(value) if same else arguments
        return tuple(restore(item, entry) for item, entry in zip(kinds, value, strict=True))
    if origin is Literal:
        return value
    return kind(value)
