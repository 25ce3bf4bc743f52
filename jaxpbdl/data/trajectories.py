"""Trajectories: many simulations on one grid, in memory or read from disk slice by slice."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from jaxpbdl.checks import DataError

AXES = ("x", "y", "z")
PROBED = 64
"""Cells of a snapshot that are looked at first: where one is not zero, the snapshot was written."""
LOOKED_AT = 8
"""Trajectories that tell whether a file holds anything but zeros."""


@runtime_checkable
class Values(Protocol):
    """What `Trajectories` holds: a NumPy array, or something that turns into one when sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Trajectories:
    """States of several simulations at common times, on a common grid.

    Attributes:
        values: `(trajectories, times, channels, *grid)`; indexing gives NumPy arrays. Values that
            lie on disk are read, and checked to be finite, at the moment they are indexed.
        times: `(times,)`, increasing.
        coordinates: one increasing array of points for each axis of the grid.
        channels: the name of each channel, such as `"vorticity"`.
        parameters: numbers the file records about its simulations, such as a viscosity.

    Raises `ValueError` if the parts do not fit one another.
    """

    values: Values
    times: np.ndarray
    coordinates: tuple[np.ndarray, ...]
    channels: tuple[str, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        shape = tuple(self.values.shape)
        grid = tuple(len(points) for points in self.coordinates)
        if len(shape) < 4 or shape[1:] != (len(self.times), len(self.channels), *grid):
            raise ValueError(
                f"values must have shape (trajectories, {len(self.times)} times, "
                f"{len(self.channels)} channels, {', '.join(map(str, grid))}), got {shape}"
            )
        if 0 in shape:
            raise ValueError(f"values are empty: their shape is {shape}")
        if not np.issubdtype(self.values.dtype, np.floating):
            raise ValueError(f"values must be real floating-point, got {self.values.dtype}")
        for name, points in zip(("times", *AXES), (self.times, *self.coordinates), strict=False):
            if np.ndim(points) != 1 or not np.all(np.isfinite(points)):
                raise ValueError(f"{name} must be a finite array of one axis")
            if np.any(np.diff(points) <= 0):
                raise ValueError(f"{name} must increase")

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Number of points along each axis."""
        return tuple(len(points) for points in self.coordinates)

    @property
    def lengths(self) -> tuple[float, ...]:
        """Length of each axis, counting one cell for each point: the period of a periodic box.

        Raises `ValueError` on an axis whose points are not evenly spaced, or that has only one.
        """
        return tuple(_length(name, x) for name, x in zip(AXES, self.coordinates, strict=False))

    def load(self) -> "Trajectories":
        """The same trajectories with all values in memory, every one of them checked."""
        return replace(self, values=np.asarray(self.values[:]))


@dataclass(frozen=True, eq=False)
class Stored:
    """Values that stay on disk until they are indexed.

    A file whose writer died may hold zeros where nothing was written, and no mark of it. Values are
    therefore refused where a snapshot is zero everywhere after one that is not, and where a whole
    trajectory is zero and others are not.

    Attributes:
        origin: the file, for errors.
        shape: `(trajectories, times, channels, *grid)`.
        dtype: of the values.
        read: takes two slices of step one, of trajectories and times, and returns their values.
        together: the numbers of channels that one dataset of the file holds, in their order: such
            channels are zero together where nothing was written.
        zeros: whether snapshots of zeros are accepted as they are.
    """

    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[slice, slice], np.ndarray]
    together: tuple[int, ...]
    zeros: bool = False

    def __getitem__(self, index: object) -> np.ndarray:
        """Index as NumPy does; only the first two axes limit what is read from the disk.

        Raises IndexError where NumPy does, and for `np.newaxis`; DataError for damaged values.
        """
        first, second, *rest = _by_axis(index, self.shape)
        rows, row = _chosen(first, self.shape[0])
        snapshots, snapshot = _chosen(second, self.shape[1])
        parts = [np.concatenate([self._part(r, f) for f in snapshots], axis=1) for r in rows]
        return np.concatenate(parts)[(row, snapshot, *rest)]

    def _part(self, rows: slice, snapshots: slice) -> np.ndarray:
        values = self.read(rows, snapshots)
        if not np.all(np.isfinite(values)):
            row, snapshot, channel = np.argwhere(~np.isfinite(values))[0][:3]
            raise DataError(
                f"{self.origin}: not finite at trajectory {rows.start + row}, "
                f"time {snapshots.start + snapshot}, channel {channel}"
            )
        if not self.zeros:
            suspects = np.flatnonzero(np.any(self._blank(values), axis=(1, 2)))
            for row in suspects:
                self._refuse_unwritten(rows.start + int(row))
        return values

    def _blank(self, values: np.ndarray) -> np.ndarray:
        """Where a dataset of the file is zero everywhere: `(trajectories, times, datasets)`."""
        cells = values.reshape(*values.shape[:3], math.prod(values.shape[3:]))
        zero = ~np.any(cells[..., :: max(1, cells.shape[-1] // PROBED)], axis=-1)
        zero[zero] = ~np.any(cells[zero], axis=-1)
        ends = np.cumsum((0, *self.together))
        pairs = zip(ends[:-1], ends[1:], strict=True)
        return np.stack([np.all(zero[:, :, low:high], axis=2) for low, high in pairs], axis=2)

    def _refuse_unwritten(self, row: int) -> None:
        blank = self._blank(self.read(slice(row, row + 1), slice(0, self.shape[1])))[0]
        never = np.all(blank, axis=0)
        first = np.argmin(blank, axis=0)  # the first snapshot that is not zero
        later = blank & (np.arange(len(blank))[:, None] > first) & ~never
        if np.any(later):
            snapshot, part = np.argwhere(later)[0]
            at, other = f"time {snapshot}", "the snapshot before is not"
        elif np.any(never & self._written):
            part = int(np.argmax(never & self._written))
            at, other = "all times", "other trajectories are not"
        elif np.all(never):
            part, at, other = 0, "all times", "the file may hold nothing else"
        else:
            return  # zero in all trajectories, such as a velocity across a flat flow, or at first
        start = sum(self.together[:part])
        channels = ", ".join(map(str, range(start, start + self.together[part])))
        raise DataError(
            f"{self.origin}: zero everywhere at trajectory {row}, {at}, channels {channels}, where "
            f"{other}: the file was probably not written to its end. Pass zeros=True if the zeros "
            "are right"
        )

    @cached_property
    def _written(self) -> np.ndarray:
        """Which datasets are not zero in some trajectory, of up to `LOOKED_AT` over the file."""
        found = np.zeros(len(self.together), bool)
        for row in np.unique(np.linspace(0, self.shape[0] - 1, LOOKED_AT).astype(int)):
            values = self.read(slice(row, row + 1), slice(0, self.shape[1]))
            found |= ~np.all(self._blank(values), axis=(0, 1))
        return found


def _by_axis(index: object, shape: tuple[int, ...]) -> list[slice | np.ndarray]:
    """One entry for each axis of `shape`: an integer, a slice or an array of integers."""
    entries: list[Any] = [
        entry if entry is Ellipsis or isinstance(entry, slice) else _as_array(entry)
        for entry in (index if isinstance(index, tuple) else (index,))
    ]
    at = [number for number, entry in enumerate(entries) if entry is Ellipsis]
    if len(at) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    place = at[0] if at else len(entries)
    used = sum(e.ndim if _is_mask(e) else 1 for e in entries if e is not Ellipsis)
    if used > len(shape):
        raise IndexError(f"too many indices: the values have {len(shape)} axes, got {used}")
    entries[place : place + len(at)] = [slice(None)] * (len(shape) - used)
    found: list[slice | np.ndarray] = []
    for entry in entries:
        if not _is_mask(entry):
            found.append(entry)
        elif entry.shape == shape[len(found) : len(found) + entry.ndim]:
            found.extend(entry.nonzero())
        else:
            raise IndexError(f"a mask of shape {entry.shape} does not fit values of shape {shape}")
    return found


def _as_array(entry: object) -> np.ndarray:
    array = np.asarray(entry) if not isinstance(entry, list) or entry else np.zeros(0, int)
    if entry is None or array.dtype.kind not in "iub" or (_is_mask(array) and array.ndim == 0):
        raise IndexError(
            f"an index must be an integer, a slice, an ellipsis, or an array of integers or truth "
            f"values, got {entry!r}"
        )
    return array


def _is_mask(entry: object) -> TypeGuard[np.ndarray]:
    return isinstance(entry, np.ndarray) and entry.dtype == bool


def _chosen(entry: slice | np.ndarray, size: int) -> tuple[list[slice], slice | np.ndarray | int]:
    """The stretches of an axis to read, one after another, and the index into what they give."""
    if isinstance(entry, slice):
        chosen = range(size)[entry]
        if not chosen:
            return [slice(0, 0)], slice(0, 0)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        start = chosen[0] - low
        stop = chosen[-1] - low + (1 if chosen.step > 0 else -1)
        return [slice(low, high + 1)], slice(start, stop if stop >= 0 else None, chosen.step)
    if np.any((entry < -size) | (entry >= size)):
        wrong = entry[(entry < -size) | (entry >= size)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for an axis of size {size}")
    if entry.size == 0:
        return [slice(0, 0)], entry.astype(int)
    entry = entry.astype(int) % size
    wanted = np.unique(entry)
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
    index = np.searchsorted(wanted, entry)
    stretches = [slice(int(run[0]), int(run[-1]) + 1) for run in runs]
    return stretches, index if entry.ndim else int(index)


def _length(name: str, points: np.ndarray) -> float:
    if len(points) < 2:
        raise ValueError(f"{name} has one point: its length is not known")
    steps = np.diff(points)
    if not np.allclose(steps, steps.mean(), rtol=1e-2):
        raise ValueError(f"{name} is not evenly spaced: steps {steps.min():g} to {steps.max():g}")
    return float(points[-1] - points[0]) * len(points) / (len(points) - 1)
