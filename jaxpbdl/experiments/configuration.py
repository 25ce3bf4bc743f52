"""The settings of an experiment: types that know their range, and plain JSON and back, exactly.

A config is a frozen dataclass that inherits `Validated`; a field of type `Positive` refuses zero:

    @dataclass(frozen=True)
    class Config(Validated):
        width: Count = 32
        members: Annotated[int, at_least(2)] = 4
        learning_rates: tuple[Positive, ...] = (1e-3, 1e-2)
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxpbdl import checks
from jaxpbdl.checks import RunFolderError
from jaxpbdl.files import write_text

CONFIG = "config.json"


@dataclass(frozen=True)
class Check:
    """Marks a type by the function that refuses values outside its range."""

    refuse: Callable[[str, Any], object]


def at_least(minimum: int) -> Check:
    """Of an integer."""
    return Check(lambda name, value: checks.count(name, value, minimum))


def _refuse_no_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")


Count = Annotated[int, at_least(1)]
NonNegativeInt = Annotated[int, at_least(0)]
Positive = Annotated[float, Check(checks.positive)]
NonNegative = Annotated[float, Check(checks.non_negative)]
Fraction = Annotated[float, Check(_refuse_no_fraction)]


@dataclass(frozen=True)
class Validated:
    """Base of settings. Raises `ValueError` for a value outside the range of its type."""

    def __post_init__(self):
        hints = get_type_hints(type(self), include_extras=True)
        for item in fields(self):
            validate(item.name, getattr(self, item.name), hints[item.name])


def validate(name: str, value: object, kind: object) -> None:
    """Refuse a value outside the range of its type, entry by entry in a tuple."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *marks = arguments
        validate(name, value, inner)
        for mark in marks:
            if isinstance(mark, Check):
                mark.refuse(name, value)
    elif origin in (Union, UnionType):
        if value is not None:
            validate(name, value, next(each for each in arguments if each is not NoneType))
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise ValueError(f"{name} must be a tuple, got {value!r}")
        same = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = arguments[:1] * len(value) if same else arguments
        if len(value) != len(kinds):
            raise ValueError(f"{name} must have {len(kinds)} entries, got {value}")
        for number, (entry, item) in enumerate(zip(value, kinds, strict=True)):
            validate(f"{name}[{number}]", entry, item)
    elif origin is Literal and value not in arguments:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
    elif isinstance(kind, type) and is_dataclass(kind) and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__}, got {value!r}")


def rising(name: str, values: tuple[int, ...]) -> None:
    """Refuse numbers that do not rise, or none at all."""
    if not values or list(values) != sorted(set(values)):
        raise ValueError(f"{name} must be different numbers in rising order, got {values}")


SCALARS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
    Path: ("text", (str,)),
}
"""What a setting of each type must be in the file."""


def save(folder: Path, name: str, preset: str, config: object) -> None:
    """Write `config.json`.

    Raises `TypeError` if the config would not come back from the file the same.
    """
    values = plain(config)
    try:
        back = restore(type(config), values)
    except RunFolderError as error:
        raise TypeError(f"config of {name} does not survive JSON: {error}") from error
    if back != config:
        raise TypeError(f"config of {name} does not survive JSON: {config}")
    record = {"experiment": name, "preset": preset, "config": values}
    write_text(folder / CONFIG, json.dumps(record, indent=2, allow_nan=False) + "\n")


def load(folder: Path) -> tuple[str, str, dict[str, object]]:
    """Name, preset and plain config of the run in `folder`.

    Raises `RunFolderError` if there is none, or its record is damaged.
    """
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(f"{folder} holds no run: there is no {CONFIG}") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged: {type(error).__name__} {error}") from error
    kinds = {"experiment": str, "preset": str, "config": dict}
    for name, kind in kinds.items():
        if not isinstance(record, dict) or not isinstance(record.get(name), kind):
            found = record.get(name) if isinstance(record, dict) else record
            expected = "an object" if kind is dict else "text"
            raise RunFolderError(f"{path} is damaged: {name} must be {expected}, got {found!r}")
    return record["experiment"], record["preset"], record["config"]


def plain(value: object) -> object:
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


def restore(kind: Any, value: Any, name: str = CONFIG) -> Any:
    """The value of type `kind` that `plain` turned into `value`; `name` is that of the setting.

    Raises `RunFolderError` if a dataclass has other fields than the record, or a setting is of
    another type, and `TypeError` for a type that a config cannot hold.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        _require(isinstance(value, dict), name, "an object", value)
        hints = get_type_hints(kind)
        known = {item.name for item in fields(kind) if item.init}
        if known != set(value):
            difference = ", ".join(sorted(known ^ set(value)))
            raise RunFolderError(
                f"the run was started with other settings than today's: {difference}"
            )
        return kind(
            **{key: restore(hints[key], item, f"{name}: {key}") for key, item in value.items()}
        )
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        inner = next(option for option in arguments if option is not NoneType)
        return restore(inner, value, name)
    if origin is tuple:
        same = len(arguments) == 2 and arguments[1] is Ellipsis
        _require(isinstance(value, list), name, "a list", value)
        kinds = arguments[:1] * len(value) if same else arguments
        _require(len(kinds) == len(value), name, f"a list of {len(kinds)}", value)
        return tuple(restore(item, entry, name) for item, entry in zip(kinds, value, strict=True))
    if origin is Literal:
        _require(value in arguments, name, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if kind not in SCALARS:
        raise TypeError(f"a config holds numbers, text, paths, tuples and dataclasses; got {kind}")
    expected, allowed = SCALARS[kind]
    # A truth value is an integer to Python, and an infinity is text in the file.
    right = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    right = right or (kind is float and value in ("inf", "-inf", "nan"))
    _require(right, name, expected, value)
    return kind(value)


def _require(right: bool, name: str, expected: str, value: object) -> None:
    if not right:
        raise RunFolderError(f"{name} must be {expected}, got {value!r}")
