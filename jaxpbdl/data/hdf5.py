"""HDF5 files, with every fault turned into a `DataError` that names the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxpbdl.checks import DataError
from jaxpbdl.files import replacing

CHUNK_BYTES = 2**20


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
    otherwise read as a quiet field.
    """
    item = dataset(parent, name)
    expected = 1
    if item.chunks is None:
        written = int(item.id.get_storage_size() > 0)
    else:
        written = item.id.get_num_chunks()
        expected = int(np.prod([-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True)]))
    if written < expected and item.size:
        raise ValueError(f"dataset {name!r} is incomplete: {written} of {expected} chunks written")
    return item


def points(parent: h5py.Group, name: str) -> np.ndarray:
    """A one-axis dataset, such as times or coordinates."""
    values = np.asarray(complete(parent, name)[()])
    if values.ndim != 1:
        raise ValueError(f"dataset {name!r} must have one axis, found shape {values.shape}")
    return values


def numbers(item: h5py.Group) -> dict[str, float]:
    """The attributes that are single numbers."""
    found = {name: np.asarray(value) for name, value in item.attrs.items()}
    single = {name: v for name, v in found.items() if v.size == 1 and v.dtype.kind in "iuf"}
    return {name: float(v.item()) for name, v in single.items()}


def write(parent: h5py.Group, name: str, values: Any) -> h5py.Dataset:
    """Write a small array with a checksum."""
    values = np.atleast_1d(np.asarray(values))
    return parent.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def reserve(parent: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """An empty dataset `(trajectories, times, ...)` with checksums, in chunks of about 1 MB."""
    frame = int(np.prod(shape[2:])) * np.dtype(dtype).itemsize
    chunks = (1, int(np.clip(CHUNK_BYTES // frame, 1, shape[1])), *shape[2:])
    return parent.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True)


def listing(group: h5py.Group) -> str:
    """What a group holds, for an error message."""
    entries = [
        f"{name} {item.shape}" if isinstance(item, h5py.Dataset) else f"{name}/"
        for name, item in group.items()
    ]
    more = [f"and {len(entries) - 8} more"] if len(entries) > 8 else []
    return ", ".join([*entries[:8], *more]) or "nothing"
