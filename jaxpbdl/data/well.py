"""The HDF5 layout of The Well (Ohana et al., NeurIPS 2024, arXiv:2412.00568).

Groups `t0_fields`, `t1_fields`, `t2_fields` hold scalars, vectors and tensors of shape
`(trajectories, times, *grid)` with one or two more axes of components; `dimensions` holds the
times and the coordinates. A field may leave out the axes along which it does not vary.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path

import h5py
import numpy as np

from jaxpbdl.data import hdf5
from jaxpbdl.data.trajectories import AXES, Stored, Trajectories

ORDERS = ("t0_fields", "t1_fields", "t2_fields")
BOUNDARIES = ("periodic", "wall", "open")


def is_well(file: h5py.File) -> bool:
    """Whether the file follows The Well's layout."""
    return "dimensions" in file and any(order in file for order in ORDERS)


def read_well(path: str | Path, zeros: bool = False) -> Trajectories:
    """Read a file of The Well; vector `v` becomes the channels `v_x`, `v_y`, tensor `s` `s_xx`, ...

    `zeros` as in `data.read`.

    Raises `DataError` for a damaged file, a missing part, or shapes that do not fit.
    """
    with hdf5.opened(path) as file:
        dimensions = hdf5.group(file, "dimensions")
        orders = [order for order in ORDERS if order in file]
        for order in orders:
            hdf5.group(file, order)
        axes, *listed = _names(
            file, [("dimensions", "spatial_dims"), *((order, "field_names") for order in orders)]
        )
        grid = tuple(hdf5.points(dimensions, axis) for axis in axes)
        times = _times(dimensions)
        parameters = hdf5.numbers(file)
        rows = int(parameters["n_trajectories"])
        cells = tuple(len(points) for points in grid)
        fields = [
            (f"{order}/{name}", prod((len(axes),) * ORDERS.index(order)))
            for order, names in zip(orders, listed, strict=True)
            for name in names
        ]
        if not fields:
            raise ValueError("no field is listed in t0_fields, t1_fields or t2_fields")
        channels: list[str] = []
        for name, _ in fields:
            _check_shape(file, name, (rows, len(times), *cells), len(axes))
            channels += _components(name, axes)
        dtype = np.result_type(*(hdf5.dataset(file, name).dtype for name, _ in fields))
        known = {"n_trajectories", "n_spatial_dims"}

        def read(row: slice, snapshot: slice) -> np.ndarray:
            size = (len(range(rows)[row]), len(range(len(times))[snapshot]))
            with hdf5.opened(path) as file:
                parts = []
                for name, count in fields:
                    values = _slice(hdf5.dataset(file, name), (row, snapshot), cells, count)
                    values = np.broadcast_to(values, (*size, *cells, count))
                    parts.append(np.moveaxis(values, -1, 2))
                return np.concatenate(parts, axis=2)

        shape = (rows, len(times), len(channels), *cells)
        return Trajectories(
            Stored(str(path), shape, dtype, read, tuple(count for _, count in fields), zeros),
            times,
            grid,
            tuple(channels),
            {name: value for name, value in parameters.items() if name not in known},
        )


def write_well(
    path: str | Path, trajectories: Trajectories, *, name: str, boundary: Sequence[str]
) -> None:
    """Write The Well's layout; channels named `v_x`, `v_y` (for every axis) become one vector `v`.

    Args:
        name: the name of the data set.
        boundary: for each axis one of `"periodic"`, `"wall"`, `"open"`.

    Raises `ValueError` for another boundary or a wrong number of them.
    """
    axes = AXES[: len(trajectories.coordinates)]
    if len(boundary) != len(axes) or set(boundary) - set(BOUNDARIES):
        raise ValueError(f"boundary must give one of {BOUNDARIES} for each of {axes}: {boundary}")
    with hdf5.created(path) as file:
        file.attrs.update(
            dataset_name=hdf5.fixed(name),
            grid_type=hdf5.fixed("cartesian"),
            n_spatial_dims=len(axes),
            n_trajectories=len(trajectories),
            simulation_parameters=hdf5.fixed(list(trajectories.parameters)),
            **trajectories.parameters,
        )
        scalars = file.create_group("scalars")
        scalars.attrs["field_names"] = hdf5.fixed(list(trajectories.parameters))
        for key, value in trajectories.parameters.items():
            _constant(hdf5.write(scalars, key, np.float32(value)))
        _write_dimensions(file, trajectories, axes)
        _write_boundaries(file, trajectories, axes, boundary)
        _write_fields(file, trajectories, axes)


def _write_dimensions(file: h5py.File, trajectories: Trajectories, axes: Sequence[str]) -> None:
    group = file.create_group("dimensions")
    group.attrs["spatial_dims"] = hdf5.fixed(list(axes))
    hdf5.write(group, "time", trajectories.times).attrs["sample_varying"] = False
    for axis, points in zip(axes, trajectories.coordinates, strict=True):
        _constant(hdf5.write(group, axis, points))


def _write_boundaries(
    file: h5py.File, trajectories: Trajectories, axes: Sequence[str], boundary: Sequence[str]
) -> None:
    group = file.create_group("boundary_conditions")
    for axis, kind, points in zip(axes, boundary, trajectories.coordinates, strict=True):
        ends = np.zeros(len(points), bool)
        ends[[0, -1]] = True
        side = group.create_group(f"{axis}_{kind}")
        side.attrs.update(
            associated_dims=hdf5.fixed([axis]), associated_fields=[], bc_type=hdf5.fixed(kind)
        )
        _constant(side)
        hdf5.write(side, "mask", ends)


def _write_fields(file: h5py.File, trajectories: Trajectories, axes: Sequence[str]) -> None:
    rows, snapshots, _, *cells = trajectories.values.shape
    groups = [file.create_group(order) for order in ORDERS]
    listed: list[list[str]] = [[] for _ in ORDERS]
    for rank, name, numbers in _group(trajectories.channels, axes):
        listed[rank].append(name)
        shape = (rows, snapshots, *cells, *(len(axes),) * rank)
        item = hdf5.reserve(groups[rank], name, shape, trajectories.values.dtype)
        item.attrs.update(
            sample_varying=True, time_varying=True, dim_varying=np.ones(len(axes), bool)
        )
        for row in range(rows):
            values = np.moveaxis(trajectories.values[row][:, numbers], 1, -1)
            item[row] = values.reshape(shape[1:])
    for group, names in zip(groups, listed, strict=True):
        group.attrs["field_names"] = hdf5.fixed(names)


def _group(channels: Sequence[str], axes: Sequence[str]) -> list[tuple[int, str, list[int]]]:
    """Rank, name and channel numbers of each field: the inverse of `_components`."""
    fields, at = [], 0
    while at < len(channels):
        for rank in (2, 1, 0):
            name = channels[at].rsplit("_", 1)[0] if rank else channels[at]
            names = _components(f"t{rank}_fields/{name}", axes)
            if list(channels[at : at + len(names)]) == names:
                fields.append((rank, name, list(range(at, at + len(names)))))
                at += len(names)
                break
    return fields


def _components(field: str, axes: Sequence[str]) -> list[str]:
    """Channel names of the field at `t1_fields/velocity`: `velocity_x`, `velocity_y`."""
    order, name = field.split("/", 1)
    rank = ORDERS.index(order)
    return [f"{name}_{''.join(index)}" if rank else name for index in product(axes, repeat=rank)]


def _constant(item: h5py.Group | h5py.Dataset) -> None:
    item.attrs.update(sample_varying=False, time_varying=False)


def _names(file: h5py.File, places: list[tuple[str, str]]) -> list[list[str]]:
    """The texts of attributes, given as pairs of object and name."""
    found = []
    for (where, attribute), names in zip(places, hdf5.texts(file, places), strict=True):
        if names is None:
            raise ValueError(f"{where} lacks the attribute {attribute!r}")
        found.append(names)
    return found


def _times(dimensions: h5py.Group) -> np.ndarray:
    """The times, which must be those of every trajectory."""
    times = np.atleast_2d(hdf5.complete(dimensions, "time")[()])
    if np.any(times != times[0]):
        raise ValueError("dimensions/time differs between trajectories; common times expected")
    return times[0]


def _kept(item: h5py.Dataset, dimensions: int) -> tuple[bool, ...]:
    """Whether the field varies along the axes trajectory, time and those of the grid."""
    varying = np.asarray(hdf5.attribute(item, "dim_varying", np.ones(dimensions, bool)))
    flags = (hdf5.attribute(item, key, True) for key in ("sample_varying", "time_varying"))
    return tuple(bool(flag) for flag in (*flags, *varying))


def _check_shape(file: h5py.File, name: str, full: tuple[int, ...], dimensions: int) -> None:
    item, rank = hdf5.complete(file, name), ORDERS.index(name.split("/")[0])
    kept = _kept(item, dimensions)
    short = tuple(n for n, keep in zip(full, kept, strict=True) if keep)
    # An axis of the grid along which the field is constant is left out, or has length one.
    leading = short[: sum(kept[:2])]
    grids = {short, (*leading, *_ones(full[2:], kept[2:]))}
    ends = {(dimensions,) * rank, (dimensions**rank,)} if rank else {()}
    if item.shape not in {(*grid, *end) for grid in grids for end in ends}:
        expected = (*short, *(dimensions,) * rank)
        raise ValueError(f"{name} must have shape {expected}, found {item.shape}")


def _slice(
    item: h5py.Dataset, spans: tuple[slice, slice], cells: tuple[int, ...], count: int
) -> np.ndarray:
    """Part of a field as `(trajectories, times, *grid, count)`, with 1 where it is constant."""
    kept = _kept(item, len(cells))
    values = item[tuple(span for span, keep in zip(spans, kept, strict=False) if keep)]
    sizes = iter(values.shape)
    leading = [next(sizes) if keep else 1 for keep in kept[:2]]
    return values.reshape(*leading, *_ones(cells, kept[2:]), count)


def _ones(sizes: Sequence[int], kept: Sequence[bool]) -> tuple[int, ...]:
    return tuple(n if keep else 1 for n, keep in zip(sizes, kept, strict=True))
