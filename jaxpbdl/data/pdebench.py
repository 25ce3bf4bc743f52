"""The HDF5 layouts of PDEBench (Takamoto et al., NeurIPS 2022, arXiv:2210.07182).

One dataset a variable: `tensor`, or `density`, `Vx`, `pressure`, ..., each
`(trajectories, times, *grid)`, beside `x-coordinate`, `y-coordinate`, `t-coordinate`.
The time axis may have one entry more than the data, the end of the last step; it is dropped.

One group a seed: `0000/data` of shape `(times, *grid, channels)` beside `0000/grid/x`, `t`.
"""

from pathlib import Path

import h5py
import numpy as np

from jaxpbdl.data import hdf5
from jaxpbdl.data.trajectories import AXES, Stored, Trajectories


def is_by_variable(file: h5py.File) -> bool:
    """Whether the file holds one dataset for each variable."""
    return "x-coordinate" in file


def is_by_seed(file: h5py.File) -> bool:
    """Whether the file holds one group for each seed."""
    return any(isinstance(item, h5py.Group) and "data" in item for item in file.values())


def read_by_variable(path: str | Path, zeros: bool = False) -> Trajectories:
    """Read the layout with one dataset for each variable; `zeros` as in `data.read`.

    Raises `DataError` for a damaged file, a missing dataset, or shapes that do not fit.
    """
    with hdf5.opened(path) as file:
        coordinates = [f"{axis}-coordinate" for axis in AXES if f"{axis}-coordinate" in file]
        grid = tuple(hdf5.points(file, name) for name in coordinates)
        rank = len(grid) + 2
        names = sorted(str(name) for name in file if getattr(file[name], "ndim", None) == rank)
        names = ["tensor"] if "tensor" in names else names
        if not names:
            raise ValueError(
                f"no dataset with {rank} axes (trajectories, times, {len(grid)} of the grid); "
                f"found {hdf5.listing(file)}"
            )
        sets = [hdf5.complete(file, name) for name in names]
        shapes = {name: item.shape for name, item in zip(names, sets, strict=True)}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"variables of unequal shape: {shapes}")
        rows, snapshots, *cells = sets[0].shape
        said = hdf5.texts(file, [(name, "channel") for name in names])
        labels = [text[0] if text else name for name, text in zip(names, said, strict=True)]
        dtype = np.result_type(*(item.dtype for item in sets))
        times = np.zeros(1) if snapshots == 1 and "t-coordinate" not in file else None
        times = hdf5.points(file, "t-coordinate") if times is None else times
        times = times[:-1] if len(times) == snapshots + 1 else times
        parameters = hdf5.numbers(file)

        def read(row: slice, snapshot: slice) -> np.ndarray:
            with hdf5.opened(path) as file:
                return np.stack([hdf5.dataset(file, name)[row, snapshot] for name in names], axis=2)

        shape, each = (rows, snapshots, len(names), *cells), (1,) * len(names)
        stored = Stored(str(path), shape, dtype, read, each, zeros)
        return Trajectories(stored, times, grid, tuple(labels), parameters)


def read_by_seed(path: str | Path, zeros: bool = False) -> Trajectories:
    """Read the layout with one group for each seed; `zeros` as in `data.read`.

    Raises `DataError` for a damaged file, or if a seed lacks a part or is on another grid.
    """
    with hdf5.opened(path) as file:
        seeds = sorted(str(name) for name in file if isinstance(file[name], h5py.Group))
        first = hdf5.complete(file, f"{seeds[0]}/data")
        dtype = first.dtype
        axes = [axis for axis in AXES if f"{seeds[0]}/grid/{axis}" in file]
        if first.ndim != len(axes) + 2:
            raise ValueError(
                f"{seeds[0]}/data must have the axes (times, {', '.join(axes)}, channels), "
                f"found shape {first.shape}"
            )
        grid = tuple(hdf5.points(file, f"{seeds[0]}/grid/{axis}") for axis in axes)
        times = hdf5.points(file, f"{seeds[0]}/grid/t")
        for seed in seeds:
            found = hdf5.complete(file, f"{seed}/data").shape
            if found != first.shape:
                raise ValueError(f"{seed}/data must have shape {first.shape}, found {found}")
            for name, expected in zip(("t", *axes), (times, *grid), strict=True):
                if not np.array_equal(hdf5.points(file, f"{seed}/grid/{name}"), expected):
                    raise ValueError(f"{seed}/grid/{name} differs from {seeds[0]}/grid/{name}")
        snapshots, *cells, channels = first.shape

        def read(row: slice, snapshot: slice) -> np.ndarray:
            wanted = (len(seeds[row]), len(range(snapshots)[snapshot]), *cells, channels)
            values = np.empty(wanted, dtype)
            with hdf5.opened(path) as file:
                for into, seed in zip(values, seeds[row], strict=True):
                    into[...] = hdf5.dataset(file, f"{seed}/data")[snapshot]
            return np.moveaxis(values, -1, 2)

        labels = tuple(f"channel {i}" for i in range(channels))
        shape = (len(seeds), snapshots, channels, *cells)
        stored = Stored(str(path), shape, dtype, read, (channels,), zeros)
        return Trajectories(stored, times, grid, labels)


def write_pdebench(path: str | Path, trajectories: Trajectories) -> None:
    """Write one dataset for each channel; a single channel becomes the dataset `tensor`.

    Every dataset carries a Fletcher-32 checksum and the file appears only when complete.
    """
    rows, snapshots, _, *cells = trajectories.values.shape
    channels = trajectories.channels
    with hdf5.created(path) as file:
        names = channels if len(channels) > 1 else ("tensor",)
        for number, (name, channel) in enumerate(zip(names, channels, strict=True)):
            item = hdf5.reserve(file, name, (rows, snapshots, *cells), trajectories.values.dtype)
            item.attrs["channel"] = hdf5.fixed(channel)
            for row in range(rows):
                item[row] = trajectories.values[row, :, number]
        hdf5.write(file, "t-coordinate", trajectories.times)
        for axis, points in zip(AXES, trajectories.coordinates, strict=False):
            hdf5.write(file, f"{axis}-coordinate", points)
        file.attrs.update(trajectories.parameters)
