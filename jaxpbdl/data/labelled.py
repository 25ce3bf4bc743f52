"""Trajectories as labelled arrays of xarray and as NetCDF files, and back.

A variable is a channel, a dimension `time` the time, one `trajectory` the simulations; the others,
in the order of the first variable, are the axes of the grid. Times that are dates become seconds
since the first; an axis that decreases, as latitudes often do, is turned round.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxpbdl.checks import DataError
from jaxpbdl.data.trajectories import AXES, Trajectories

if TYPE_CHECKING:
    from xarray import Dataset

TRAJECTORY, TIME = "trajectory", "time"


def to_xarray(trajectories: Trajectories) -> "Dataset":
    """All values as an `xarray.Dataset` with the dimensions trajectory, time, x, y, z, a variable
    for each channel and the parameters as attributes. Raises ImportError without xarray."""
    xarray = _xarray()
    names = (TRAJECTORY, TIME, *AXES[: len(trajectories.coordinates)])
    values = np.asarray(trajectories.values[:])
    variables = {
        channel: (names, values[:, :, i]) for i, channel in enumerate(trajectories.channels)
    }
    axes = dict(zip(names[2:], trajectories.coordinates, strict=True))
    coordinates = {TRAJECTORY: np.arange(len(trajectories)), TIME: trajectories.times, **axes}
    return xarray.Dataset(variables, coordinates, dict(trajectories.parameters))


def from_xarray(
    dataset: "Dataset",
    channels: Sequence[str] | None = None,
    *,
    time: str = TIME,
    trajectory: str = TRAJECTORY,
) -> Trajectories:
    """The variables of a dataset that have a time as `Trajectories`, in memory.

    **Arguments**

    - `channels`: the variables to take; by default all that have the dimension `time`.
    - `time`, `trajectory`: the names of these dimensions; without the second there is one
      trajectory.

    **Raises** ValueError for no such variable, variables of different dimensions, a dimension
    without numbers, and values that are not finite (a masked sea or land: fill or cut it first).
    """
    names = [str(n) for n in dataset.data_vars if time in dataset[n].dims]
    names = names if channels is None else list(channels)
    if not names:
        raise ValueError(
            f"no variable has the dimension {time!r}; found "
            + ", ".join(f"{n} {dataset[n].dims}" for n in dataset.data_vars)
        )
    if missing := [name for name in names if name not in dataset.data_vars]:
        raise ValueError(
            f"no variable {', '.join(missing)}; found {', '.join(map(str, dataset.data_vars))}"
        )
    dims = [d for d in dataset[names[0]].dims if d not in (time, trajectory)]
    for name in names:
        if {*dataset[name].dims} - {trajectory} != {time, *dims}:
            raise ValueError(
                f"variables must share their dimensions, {names[0]} has {dataset[names[0]].dims}, "
                f"{name} has {dataset[name].dims}"
            )
    if trajectory not in dataset.dims:
        dataset = dataset.expand_dims(trajectory)
    dataset = dataset[names].transpose(trajectory, time, *dims, missing_dims="ignore")
    axes = [_numbers(dataset, str(dim)) for dim in dims]
    for dim, points in zip(dims, axes, strict=True):
        if len(points) > 1 and points[1] < points[0]:
            dataset = dataset.isel({dim: slice(None, None, -1)})
    values = np.stack([np.asarray(dataset[name]) for name in names], axis=2)
    if not np.all(np.isfinite(values)):
        share = float(np.mean(~np.isfinite(values)))
        raise ValueError(f"{share:.1%} of the values are not finite: fill or cut what is masked")
    moments = _numbers(dataset, time)
    axes = [points if len(points) < 2 or points[1] > points[0] else points[::-1] for points in axes]
    parameters = {
        str(n): float(v)
        for n, v in dataset.attrs.items()
        if isinstance(v, (int, float, np.number)) and not isinstance(v, bool)
    }
    return Trajectories(values, moments, tuple(axes), tuple(names), parameters)


def read_netcdf(path: str | Path, **names: Any) -> Trajectories:
    """The trajectories of a NetCDF file, by `from_xarray`, whose keyword arguments it takes.

    **Raises** DataError for a missing or damaged file, or one that does not fit; ImportError
    without xarray.
    """
    xarray = _xarray()
    try:
        with xarray.open_dataset(path) as dataset:
            return from_xarray(dataset.load(), **names)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises almost anything
        raise DataError(f"{path}: damaged, or not a NetCDF file: {error}") from error


def write_netcdf(path: str | Path, trajectories: Trajectories) -> None:
    """Write trajectories as a NetCDF file that `read_netcdf`, `read` and other tools open."""
    from jaxpbdl.files import replacing

    dataset = to_xarray(trajectories)
    with replacing(path) as part:
        dataset.to_netcdf(part, engine="h5netcdf")


def _numbers(dataset: "Dataset", dim: str) -> np.ndarray:
    """The coordinates of a dimension; dates as seconds since the first."""
    if dim not in dataset.coords:
        return np.arange(dataset.sizes[dim], dtype=float)
    points = np.asarray(dataset[dim])
    if np.issubdtype(points.dtype, np.datetime64):
        return (points - points[0]) / np.timedelta64(1, "s")
    if not np.issubdtype(points.dtype, np.number):
        raise ValueError(f"the coordinates of {dim} must be numbers or dates, got {points.dtype}")
    return points.astype(float)


def _xarray() -> Any:
    try:
        import h5netcdf  # noqa: F401  # pyright: ignore
        import xarray
    except ImportError as error:
        raise ImportError(
            'labelled arrays and NetCDF need xarray: pip install "jaxpbdl[xarray]"'
        ) from error
    return xarray
