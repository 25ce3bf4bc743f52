"""HDF5 files, with every fault turned into a `DataError` that names the file."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jax.typing import DTypeLike

from jaxpbdl.checks import DataError, Numbers
from jaxpbdl.files import replacing

CHUNK_BYTES = 2**20
SECONDS = 20
"""Time to read the texts of a file, most of it for another Python to start on a busy machine."""
READER = """
import json, sys, h5py, numpy
with h5py.File(sys.argv[1], "r") as file:
    found = [
        [v.decode() if isinstance(v, bytes) else str(v)
         for v in numpy.ravel(numpy.asarray(file[where].attrs[name]))]
        for where, name in json.loads(sys.argv[2])
    ]
print(json.dumps(found))
"""


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """Open for reading; what goes wrong inside the block becomes a `DataError` with the path."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        cause = error.args[0] if error.args else error
        hint = "" if isinstance(error, ValueError) else "damaged or incomplete HDF5 file: "
        raise DataError(f"{path}: {hint}{cause}") from error


@contextmanager
def created(path: str | Path) -> Iterator[h5py.File]:
    """Write a new file that appears at `path` only when complete.

    The newest file format is used because it guards its own structure with checksums.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        yield file


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name`."""
    item = parent[name] if name in parent else None
    if not isinstance(item, h5py.Group):
        raise ValueError(f"group {name!r} expected, found {listing(parent)}")
    return item


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset `name`."""
    item = parent[name] if name in parent else None
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"dataset {name!r} expected, found {listing(parent)}")
    return item


def complete(parent: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset `name`, refused unless all of it was written.

    HDF5 answers zeros for what was never written, so a run that died while writing would
    otherwise read as a quiet field. A dataset in one piece, or half a chunk, bears no mark of it:
    see `trajectories.Stored` for those.
    """
    item = dataset(parent, name)
    if item.dtype.kind == "O":  # of variable length: see `texts` for the danger
        raise ValueError(f"dataset {name!r} must hold numbers, found {item.dtype}")
    _check_external(item)
    expected = 1
    if item.chunks is None:
        written = int(item.id.get_storage_size() > 0)
    else:
        written = item.id.get_num_chunks()
        expected = int(np.prod([-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True)]))
    if written < expected and item.size:
        raise ValueError(f"dataset {name!r} is incomplete: {written} of {expected} chunks written")
    return item


def _check_external(item: h5py.Dataset) -> None:
    """Refuse values in a file of their own that is shorter than they are: the rest reads as
    zeros."""
    missing = int(item.size or 0) * item.dtype.itemsize
    for file, offset, size in item.external or ():
        path = Path(file)
        length = path.stat().st_size if path.is_file() else 0
        missing -= max(0, min(length - offset, size, missing))
    if item.external and missing > 0:
        files = ", ".join(file for file, *_ in item.external)
        raise ValueError(
            f"dataset {item.name!r} is incomplete: {missing} of its bytes are not in {files}"
        )


def points(parent: h5py.Group, name: str) -> np.ndarray:
    """A one-axis dataset, such as times or coordinates."""
    values = np.asarray(complete(parent, name)[()])
    if values.ndim != 1:
        raise ValueError(f"dataset {name!r} must have one axis, found shape {values.shape}")
    return values


def numbers(item: h5py.Group) -> dict[str, float]:
    """The attributes that are single numbers."""
    numeric = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)
    found = {
        name: np.asarray(item.attrs[name])
        for name in item.attrs
        if isinstance(item.attrs.get_id(name).get_type(), numeric)
    }
    single = {name: v for name, v in found.items() if v.size == 1 and v.dtype.kind in "iuf"}
    return {name: float(v.item()) for name, v in single.items()}


def attribute(item: h5py.Group | h5py.Dataset, name: str, default: Any) -> Any:
    """An attribute of fixed length."""
    if name not in item.attrs:
        return default
    if _is_variable(item, name):
        raise ValueError(f"{item.name}: attribute {name!r} must hold numbers, found text")
    return item.attrs[name]


def fixed(text: str | Sequence[str]) -> np.ndarray | np.bytes_:
    """Text as bytes of fixed length, which lie with the attribute and share its checksum; text of
    variable length would lie in a heap that has none."""
    if isinstance(text, str):
        return np.bytes_(text.encode())
    return np.array([part.encode() for part in text], dtype=bytes)


def texts(file: h5py.File, places: Sequence[tuple[str, str]]) -> list[list[str] | None]:
    """Attributes of text, each given by its object and its name; None where there is none.

    The library loops for ever where the heap of texts of variable length is damaged. Such texts
    are read in another process, which has `SECONDS` to do it; once for each file.
    """
    there = [place for place in places if place[1] in file[place[0]].attrs]
    variable = [place for place in there if _is_variable(file[place[0]], place[1])]
    found = {}
    if variable:
        facts = os.stat(file.filename)
        version = (facts.st_mtime_ns, facts.st_size)
        found = dict(
            zip(variable, _read_elsewhere(file.filename, version, tuple(variable)), strict=True)
        )
    for where, name in set(there) - set(variable):
        values = np.ravel(np.asarray(file[where].attrs[name]))
        found[where, name] = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    return [found.get(place) for place in places]


def _is_variable(item: h5py.HLObject, name: str) -> bool:
    """Whether an attribute, or a part of it, lies in the heap."""
    kind = item.attrs.get_id(name).get_type()
    text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    return text or kind.detect_class(h5py.h5t.VLEN) or kind.detect_class(h5py.h5t.REFERENCE)


@lru_cache(maxsize=256)
def _read_elsewhere(
    path: str, version: tuple[int, int], places: tuple[tuple[str, str], ...]
) -> list[list[str]]:
    """`version`, of the file, makes a changed file another one."""
    command = [sys.executable, "-c", READER, path, json.dumps(places)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        names = ", ".join(sorted({name for _, name in places}))
        raise OSError(f"the texts of {names} could not be read within {SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(lines[-1] if lines else f"its reader ended with {done.returncode}")
    return json.loads(done.stdout)


def write(parent: h5py.Group, name: str, values: Numbers) -> h5py.Dataset:
    """Write a small array with a checksum."""
    values = np.atleast_1d(np.asarray(values))
    return parent.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def reserve(
    parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: DTypeLike
) -> h5py.Dataset:
    """An empty dataset `(trajectories, times, ...)` with checksums, in chunks of about 1 MB."""
    snapshot = int(np.prod(shape[2:])) * np.dtype(dtype).itemsize
    chunks = (1, int(np.clip(CHUNK_BYTES // snapshot, 1, shape[1])), *shape[2:])
    return parent.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True)


def listing(group: h5py.Group) -> str:
    """What a group holds, for an error message."""
    entries = [
        f"{name} {item.shape}" if isinstance(item, h5py.Dataset) else f"{name}/"
        for name, item in group.items()
    ]
    more = [f"and {len(entries) - 8} more"] if len(entries) > 8 else []
    return ", ".join([*entries[:8], *more]) or "nothing"
