"""A model as JSON and a list of arrays, and back: without pickle, without the code that made it.

    array                          {"array": 3, "kind": "jax"}      number 3 in the list
    module, dataclass              {"object": "jaxpbdl.networks:ConvNet", "fields": {..}}
    function, class                {"name": "jax.numpy:tanh"}
    list, tuple, dict, set, enum, dtype, slice, numbers that JSON does not know: likewise

Classes and functions go by the shortest public name that leads to them, so that a file outlives a
move of their source. Decoding imports packages on a list and no others, calls no constructor and no
function of the file, and fills a field that the file does not know, because a later version added
it, with its default.
"""

import enum
import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import import_module
from types import BuiltinFunctionType, ModuleType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxpbdl.checks import CheckpointError

Json: TypeAlias = Any
"""What the package json reads and writes."""

PACKAGES = ("jaxpbdl", "jax", "jaxlib", "numpy", "equinox", "optax", "e3nn_jax", "functools")
"""Whose classes and functions a file may name."""
PUBLIC = ("jax.nn", "jax.numpy", "jax.lax", "jax", "equinox.nn", "equinox", "optax", "numpy")
"""Where libraries show what lies in private modules of theirs."""
PLAIN = (bool, int, str, type(None))
BUILT_IN = {kind.__name__: kind for kind in (bool, int, float, complex, str, tuple, list, dict)}


class Unnamed(ValueError):
    """A part that no name leads to."""


def encode(tree: PyTree) -> tuple[Json, list[np.ndarray | jax.Array]]:
    """The tree as JSON, and its arrays. An array in two places is one.

    **Raises** ValueError naming the part for a function inside another (a lambda, a closure), and
    for objects that are neither containers nor dataclasses.
    """
    arrays: list[np.ndarray | jax.Array] = []
    places: dict[int, int] = {}

    def array(value: np.ndarray | jax.Array) -> Json:
        index = places.setdefault(id(value), len(arrays))
        if index == len(arrays):
            arrays.append(value)
        if not isinstance(value, jax.Array):
            return {"array": index, "kind": "numpy"}
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            kind = str(jax.random.key_impl(value))
            return {"array": index, "kind": "key", "implementation": kind}
        return {"array": index, "kind": "weak" if value.weak_type and not value.ndim else "jax"}

    def walk(value: Any, path: str) -> Json:
        if type(value) in PLAIN:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, (jax.Array, np.ndarray)):
            return array(value)
        if isinstance(value, np.generic):
            return {"scalar": array(np.asarray(value))}
        return _part(value, path, walk)

    return walk(tree, ""), arrays


def _part(value: Any, path: str, walk: Callable[[Any, str], Json]) -> Json:
    """What is no array and no plain value."""

    def each(values: Sequence | Collection) -> list[Json]:
        return [walk(part, f"{path}[{index}]") for index, part in enumerate(values)]

    def named(pairs: Mapping[str, Any]) -> dict[str, Json]:
        return {name: walk(part, f"{path}.{name}") for name, part in pairs.items()}

    kind = type(value)
    if kind in (list, tuple):
        return {kind.__name__: each(value)}
    if kind in (set, frozenset):
        return {kind.__name__: each(sorted(value, key=repr))}
    if kind is dict:
        return {"dict": [[walk(k, path), walk(v, f"{path}[{k!r}]")] for k, v in value.items()]}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind is slice:
        return {"slice": each((value.start, value.stop, value.step))}
    if kind is range:
        return {"range": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    try:
        if isinstance(value, enum.Enum):
            return {"enum": name_of(kind), "member": value.name}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return {"named_tuple": name_of(kind), "fields": named(value._asdict())}  # pyright: ignore
        if isinstance(value, functools.partial):
            parts = {"func": value.func, "args": value.args, "keywords": value.keywords}
            return {"partial": named(parts)}
        if (method := getattr(value, "__func__", None)) is not None:
            owner = getattr(value, "__self__", None)
            return {"method": method.__name__, "of": walk(owner, path)}
        if kind.__module__.startswith("e3nn_jax") and kind.__name__ in ("Irreps", "Irrep"):
            return {kind.__name__: str(value)}
        if is_dataclass(value) and not isinstance(value, type):
            held = {item.name: getattr(value, item.name) for item in _set_fields(value)}
            return {"object": name_of(kind), "fields": named(held)}
        return {"name": name_of(value)}
    except Unnamed as error:
        raise ValueError(f"{path or 'the model'} cannot be saved: {error}") from error


def _set_fields(value: Any) -> list[Field]:
    return [item for item in fields(value) if hasattr(value, item.name)]


def name_of(value: Any) -> str:
    """`package:name` of a class or function; raises Unnamed where none leads back to it."""
    if isinstance(value, type) and BUILT_IN.get(value.__name__) is value:
        return f"builtins:{value.__name__}"
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if name is None or not isinstance(module, str) or isinstance(value, BuiltinFunctionType):
        raise Unnamed(f"{type(value).__name__} {value!r:.60} is neither a dataclass nor named")
    if "<locals>" in name or "<lambda>" in name:
        raise Unnamed(
            f"{name} of {module} is defined inside a function: define it at the top of a module, "
            "or make it an eqx.Module with a __call__"
        )
    parts = module.split(".")
    public = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    for package in (*PUBLIC, *public) if parts[0] != "jaxpbdl" else public:
        if _found(package, name) is value:
            return f"{package}:{name}"
    raise Unnamed(f"{module} has no {name} that leads back to it")


def _found(package: str, name: str) -> Any:
    try:
        found = import_module(package)
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError):
        return None


def decode(tree: Json, arrays: Sequence[np.ndarray], packages: Collection[str] = ()) -> PyTree:
    """The inverse of `encode`.

    **Arguments**

    - `packages`: beside `PACKAGES`, those whose classes and functions may be named.

    **Raises** CheckpointError for a name outside of these packages, one that is not there any more,
    a field without a value, a field that its class does not know, and float64 arrays while JAX
    works in float32.
    """
    allowed = {*PACKAGES, *packages}
    made: dict[int, Any] = {}

    def array(node: Json) -> Any:
        index, kind = node["array"], node["kind"]
        if index not in made:
            made[index] = _array(arrays[index], kind, node.get("implementation"))
        return made[index]

    def walk(node: Json) -> Any:
        if not isinstance(node, dict):
            return node
        if "array" in node:
            return array(node)
        if "scalar" in node:
            return array(node["scalar"])[()]
        if "object" in node:
            return _object(_class(node["object"], allowed), walk_all(node["fields"]))
        if "named_tuple" in node:
            return _class(node["named_tuple"], allowed)(**walk_all(node["fields"]))
        if "partial" in node:
            parts = walk_all(node["partial"])
            return functools.partial(parts["func"], *parts["args"], **parts["keywords"])
        if "method" in node:
            return getattr(walk(node["of"]), node["method"])
        if "enum" in node:
            return _class(node["enum"], allowed)[node["member"]]
        if "name" in node:
            return named(node["name"], allowed)
        return _container(node, walk)

    def walk_all(parts: Mapping[str, Json]) -> dict[str, Any]:
        return {name: walk(part) for name, part in parts.items()}

    return walk(tree)


def _container(node: Mapping[str, Json], walk: Callable[[Json], Any]) -> Any:
    ((kind, content),) = node.items()
    if kind in ("Irreps", "Irrep"):
        return getattr(import_module("e3nn_jax"), kind)(content)
    if kind == "dict":
        return {walk(key): walk(value) for key, value in content}
    simple = {
        "float": float,
        "dtype": jnp.dtype,
        "complex": lambda pair: complex(*pair),
        "slice": lambda ends: slice(*map(walk, ends)),
        "range": lambda ends: range(*ends),
        "ellipsis": lambda _: Ellipsis,
    }
    if kind in simple:
        return simple[kind](content)
    sequences = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
    if kind not in sequences:
        raise CheckpointError(f"the file holds a {kind}, which this version does not know")
    return sequences[kind](walk(part) for part in content)


def _array(value: np.ndarray, kind: str, implementation: str | None) -> Any:
    if kind == "numpy":
        return value
    if kind == "key":
        return jax.random.wrap_key_data(jnp.asarray(value), impl=implementation)
    # A number that was given as Python's own takes the precision of what it meets.
    loaded = jnp.asarray(value.item() if kind == "weak" else value)
    if loaded.dtype != value.dtype:
        raise CheckpointError(
            f"the file holds {value.dtype} numbers, which JAX would round to {loaded.dtype}: "
            'call jax.config.update("jax_enable_x64", True) first'
        )
    return loaded


def named(name: str, allowed: Collection[str]) -> Any:
    """The class or function of `package:name`. Only classes are walked through, so that no name
    leads through a package into another."""
    package, _, path = name.partition(":")
    if package == "builtins" and path in BUILT_IN:
        return BUILT_IN[path]
    root = package.partition(".")[0]
    if root not in allowed:
        raise CheckpointError(
            f"the file names {name}; only {', '.join(sorted(allowed))} are imported: if you trust "
            f'it, give packages=("{root}",)'
        )
    try:
        found: Any = import_module(package)
    except ImportError as error:
        raise CheckpointError(f"the file names {name}, but {error}") from error
    parts = path.split(".")
    for index, part in enumerate(parts):
        walkable = index == 0 or isinstance(found, type)
        found = getattr(found, part, None) if walkable else None
        if found is None or isinstance(found, ModuleType):
            raise CheckpointError(
                f"the file names {name}, which the {root} installed here does not have"
            )
    home = getattr(found, "__module__", None) or root
    if home.partition(".")[0] not in allowed:
        raise CheckpointError(f"the file names {name}, which belongs to {home}, not to {root}")
    return found


def _class(name: str, allowed: Collection[str]) -> Any:
    found = named(name, allowed)
    if not isinstance(found, type):
        raise CheckpointError(f"the file names {name} as a class, which it is not")
    return found


def _object(kind: type, held: dict[str, Any]) -> Any:
    """An instance with these fields, without a call of its constructor."""
    known = {item.name: item for item in fields(kind)}
    if strange := sorted(held.keys() - known.keys()):
        raise CheckpointError(
            f"{kind.__name__} has no field {', '.join(strange)} in this version of its package"
        )
    made = object.__new__(kind)
    for name, item in known.items():
        if name in held:
            value = held[name]
        elif item.default is not MISSING or item.default_factory is not MISSING:
            given = item.default
            value = item.default_factory() if given is MISSING else given  # pyright: ignore
            value = item.metadata.get("converter", lambda same: same)(value)
        else:
            raise CheckpointError(
                f"the file is older than the field {name} of {kind.__name__}, which has no default"
            )
        object.__setattr__(made, name, value)
    return made
