"""Trajectories in one NumPy `.npz` archive, for data small enough to be read whole.

Keys: `values` of shape `(trajectories, times, channels, *grid)`, `times`, `channels` (names), the
coordinates `x`, `y`, `z` as far as the grid has axes, and `parameter_<name>` for each parameter.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxpbdl.checks import DataError
from jaxpbdl.data.trajectories import AXES, Trajectories
from jaxpbdl.files import replacing

PREFIX = "parameter_"
END = 22
"""Bytes of the last record of a zip, less the comment behind it."""


def arrays(path: str | Path, expected: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All arrays of an archive; the archive's own checksums are verified.

    Raises `DataError` for a missing or damaged file, an absent key of `expected`, pickled objects,
    or numbers that are not finite.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            require_all_members(archive.zip)
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # a damaged archive raises almost anything
        raise DataError(f"{path}: damaged, or not an .npz archive: {error}") from error
    for name, values in found.items():
        if not isinstance(values, np.ndarray):  # NumPy gives the bytes of what is no .npy
            raise DataError(f"{path}: its member {name!r} is no array")
    missing = [name for name in expected if name not in found]
    if missing:
        keys = ", ".join(f"{name} {values.shape}" for name, values in found.items())
        raise DataError(f"{path}: no array {', '.join(missing)}; found {keys or 'nothing'}")
    for name, values in found.items():
        if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
            index = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
            raise DataError(f"{path}: {name} is not finite at {index}")
    return found


def require_all_members(archive: zipfile.ZipFile) -> None:
    """Refuse a zip of whose members some are lost: unlike them, its directory has no checksum.

    Raises `zipfile.BadZipFile`.
    """
    assert archive.fp is not None
    archive.fp.seek(-END - len(archive.comment), os.SEEK_END)
    announced = int.from_bytes(archive.fp.read(END)[10:12], "little")
    found = len(archive.infolist())
    if announced not in (found, 0xFFFF):  # more members than fit this field stand elsewhere
        raise zipfile.BadZipFile(f"{announced} members announced, {found} found")


def write_arrays(path: str | Path, parts: Mapping[str, np.ndarray | np.generic]) -> None:
    """Write an archive of arrays, for `arrays` to read; it appears only when complete."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **parts)


def read_npz(path: str | Path) -> Trajectories:
    """Read an archive with the keys above, into memory.

    Raises `DataError` for a damaged file, a missing key, or shapes that do not fit.
    """
    found = arrays(path, ("values", "times", "channels", "x"))
    coordinates = tuple(found[axis] for axis in AXES if axis in found)
    channels = tuple(str(name) for name in np.atleast_1d(found["channels"]))
    parameters = {
        name.removeprefix(PREFIX): float(value)
        for name, value in found.items()
        if name.startswith(PREFIX)
    }
    try:
        return Trajectories(found["values"], found["times"], coordinates, channels, parameters)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def write_npz(path: str | Path, trajectories: Trajectories) -> None:
    """Write an archive with the keys above; it appears only when complete."""
    parts: dict[str, np.ndarray] = {
        "values": np.asarray(trajectories.values[:]),
        "times": trajectories.times,
        "channels": np.asarray(trajectories.channels),
        **dict(zip(AXES, trajectories.coordinates, strict=False)),
        **{PREFIX + name: np.asarray(v) for name, v in trajectories.parameters.items()},
    }
    write_arrays(path, parts)
