"""Trajectories: many simulations on one grid, in memory or read from disk slice by slice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from jaxpbdl.checks import DataError

AXES = ("x", "y", "z")


class Values(Protocol):
    """What `Trajectories` holds: a NumPy array, or something that turns into one when sliced."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

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

    `read(trajectories, times)` takes two slices of step one and returns an array of shape
    `(trajectories, times, channels, *grid)`. `origin` names the file in errors.
    """

    origin: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[slice, slice], np.ndarray]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Index as NumPy does; only the first two axes limit what is read from the disk."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [i for i in index if not isinstance(i, np.ndarray)]:
            at = index.index(Ellipsis)
            fill = (slice(None),) * (len(self.shape) - len(index) + 1)
            index = (*index[:at], *fill, *index[at + 1 :])
        first, second, *rest = (*index, slice(None), slice(None))[: max(2, len(index))]
        if isinstance(first, (list, np.ndarray)):  # a batch of trajectories in any order
            rows = np.arange(self.shape[0])[first]
            return np.stack([self[(row, second, *rest)] for row in rows])
        rows, row = _span(first, self.shape[0])
        frames, frame = _span(second, self.shape[1])
        values = self.read(rows, frames)
        self._check(values, rows.start, frames.start)
        return values[(row, frame, *rest)]

    def _check(self, values: np.ndarray, first_row: int, first_frame: int) -> None:
        if not np.all(np.isfinite(values)):
            row, frame, channel = np.argwhere(~np.isfinite(values))[0][:3]
            raise DataError(
                f"{self.origin}: not finite at trajectory {first_row + row}, "
                f"time {first_frame + frame}, channel {channel}"
            )


def _span(index: Any, size: int) -> tuple[slice, int | slice]:
    """The stretch of an axis to read for `index`, and what to take from that stretch."""
    if isinstance(index, slice):
        chosen = range(size)[index]
        if not chosen:
            return slice(0, 0), slice(0, 0)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        start = chosen[0] - low
        stop = chosen[-1] - low + (1 if chosen.step > 0 else -1)
        return slice(low, high + 1), slice(start, stop if stop >= 0 else None, chosen.step)
    position = range(size)[index]  # raises IndexError as NumPy does
    return slice(position, position + 1), 0


def _length(name: str, points: np.ndarray) -> float:
    if len(points) < 2:
        raise ValueError(f"{name} has one point: its length is not known")
    steps = np.diff(points)
    if not np.allclose(steps, steps.mean(), rtol=1e-2):
        raise ValueError(f"{name} is not evenly spaced: steps {steps.min():g} to {steps.max():g}")
    return float(points[-1] - points[0]) * len(points) / (len(points) - 1)
