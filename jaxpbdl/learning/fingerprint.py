"""What a fit depends on besides its state, as short digests that two processes agree on: data,
loss, optimiser, frozen arrays.

A function counts by its name, its defaults and everything it closes over; one that is not of an
installed library also by its code and by the globals that it reads, since in a notebook data and
helpers are globals. Devices and paths do not count: where a thing runs changes nothing.
"""

import dis
import enum
import functools
import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import PyTree

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice, range)
INSTALLED = tuple(
    {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
)
OURS = __name__.partition(".")[0]

AnyArray: TypeAlias = np.ndarray | np.generic | jax.Array


class Entry(NamedTuple):
    """One fact about a value: where it stands, and what is there."""

    path: str
    text: str
    is_code: bool = False


def digest(value: object) -> dict[str, str]:
    """SHA-256 of the values that `value` consists of and of the code in it, apart: code compares
    within one version of Python only."""
    sums = {"values": hashlib.sha256(), "code": hashlib.sha256()}
    for entry in entries(value):
        sums["code" if entry.is_code else "values"].update(f"{entry[:2]}\n".encode())
    return {name: found.hexdigest() for name, found in sums.items()}


def array_digests(tree: PyTree) -> dict[str, str]:
    """A digest of each array of a tree, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path) or "(root)": _array(leaf) for path, leaf in leaves}


def structure(tree: PyTree) -> str:
    """A tree without the numbers in its arrays, as text: classes, static fields, names of
    functions."""
    return "\n".join(
        f"{path} {text}" for path, text, is_code in entries(tree, _signature) if not is_code
    )


def python() -> str:
    """The version of Python whose code the digests hold."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def entries(value: object, array: Callable[[AnyArray], str] | None = None) -> Iterator[Entry]:
    """All facts about a value, in an order that does not depend on the process. `array` says what
    counts of an array, by default its numbers."""
    return _walk(value, "", {}, _array if array is None else array)


def _walk(
    value: object, path: str, seen: dict[int, object], array: Callable[[AnyArray], str]
) -> Iterator[Entry]:
    if type(value) is int and abs(value) < 2**53:
        value = float(value)  # libraries turn 200 into 200.0 at the first use of a closure
    if isinstance(value, (*PLAIN, enum.Enum)):
        yield Entry(path, repr(value))
        return
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        yield Entry(path, array(value))
        return
    if isinstance(value, (os.PathLike, jax.Device, jax.sharding.Mesh, jax.sharding.Sharding)):
        return
    if isinstance(value, (type, ModuleType, np.dtype, BuiltinFunctionType)):
        yield Entry(path, _name(value))
        return
    if id(value) in seen:
        yield Entry(path, "as before")
        return
    seen[id(value)] = value
    yield from _parts(value, path, seen, array)
    if not isinstance(value, FunctionType):
        del seen[id(value)]  # the same part in two places counts as two; only cycles are cut


def _parts(
    value: Any, path: str, seen: dict[int, object], array: Callable[[AnyArray], str]
) -> Iterator[Entry]:
    def into(parts: Mapping[str, object] | Sequence[tuple[str, object]]) -> Iterator[Entry]:
        pairs = parts.items() if isinstance(parts, Mapping) else parts
        for name, part in pairs:
            yield from _walk(part, f"{path}{name}", seen, array)

    if isinstance(value, MethodType):
        yield from into({".__func__": value.__func__, ".__self__": value.__self__})
    elif isinstance(value, FunctionType):
        yield Entry(path, _name(value))
        yield from into(_captured(value))
        if not _is_installed(value):
            yield Entry(path, _code(value.__code__), is_code=True)
            yield from into(_globals_of(value))
    elif isinstance(value, functools.partial):
        yield Entry(path, type(value).__name__)
        yield from into({".func": value.func, ".args": value.args, ".keywords": value.keywords})
    elif isinstance(value, Mapping):
        yield Entry(path, type(value).__name__)
        yield from into(sorted((f"[{key!r}]", part) for key, part in value.items()))
    elif isinstance(value, Set):
        parts = [[e[:2] for e in _walk(part, "", dict(seen), array)] for part in value]
        yield Entry(path, f"{type(value).__name__} {sorted(map(repr, parts))}")
    elif isinstance(value, tuple) and all(isinstance(part, jax.Device) for part in value):
        yield Entry(path, "tuple")
    elif isinstance(value, (tuple, list)):
        yield Entry(path, type(value).__name__)
        yield from into([(f"[{index}]", part) for index, part in enumerate(value)])
    elif is_dataclass(value):
        yield Entry(path, _name(type(value)))
        names = [item.name for item in fields(value) if hasattr(value, item.name)]
        yield from into({f".{name}": getattr(value, name) for name in names})
    elif hasattr(value, "__wrapped__"):  # compiled or otherwise decorated
        yield from into({".__wrapped__": value.__wrapped__})
    elif hasattr(value, "__qualname__"):  # something of a library that is called like a function
        yield Entry(path, _name(value))
    else:
        yield Entry(path, _name(type(value)))
        state = getattr(value, "__dict__", {})
        yield from into({f".{name}": state[name] for name in sorted(state)})


def _array(value: AnyArray) -> str:
    octets = np.ascontiguousarray(_numbers(value)).reshape(-1).view(np.uint8)
    return f"{_signature(value)} {hashlib.sha256(octets.data).hexdigest()}"


def _signature(value: AnyArray) -> str:
    return f"{value.dtype}{list(value.shape)}"


def _numbers(value: AnyArray) -> np.ndarray:
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(value))
    return np.asarray(value)


def _name(value: object) -> str:
    module = getattr(value, "__module__", None) or ""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or repr(value)
    return re.sub(r" at 0x[0-9a-f]+", "", f"{module}.{name}")


def _captured(function: FunctionType) -> list[tuple[str, object]]:
    """The defaults of a function and what it closes over."""
    found: list[tuple[str, object]] = [
        (f".default[{i}]", part) for i, part in enumerate(function.__defaults__ or ())
    ]
    found += [(f".default[{k}]", part) for k, part in (function.__kwdefaults__ or {}).items()]
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        with_value = [(f".{name}", cell.cell_contents)] if _is_filled(cell) else []
        found += with_value
    return found


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # a name that is not assigned yet
        return False
    return True


def _is_installed(function: FunctionType) -> bool:
    """Whether it belongs to this package or an installed one, whose versions may differ."""
    if (function.__module__ or "").partition(".")[0] == OURS:
        return True
    return os.path.realpath(function.__code__.co_filename).startswith(INSTALLED)


def _globals_of(function: FunctionType) -> list[tuple[str, object]]:
    names = sorted(set(_global_names(function.__code__)))
    return [
        (f".{name}", function.__globals__[name]) for name in names if name in function.__globals__
    ]


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _code(code: CodeType) -> str:
    constants = [_constant(c) for c in code.co_consts]
    text = f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"
    return hashlib.sha256(text.encode()).hexdigest()


def _constant(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code(constant)
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
