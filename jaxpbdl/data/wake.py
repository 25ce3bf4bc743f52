"""The cylinder wake at Reynolds number 100 of Raissi, Perdikaris and Karniadakis.

J. Comput. Phys. 378 (2019) 686. The file lists scattered points; they form a regular grid in the
wake, one to eight diameters behind the cylinder, and are put back on it here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import arrays
from jaxpbdl.data.matlab import read_mat

KEYS = ("X_star", "t", "U_star", "p_star")
REYNOLDS_NUMBER = 100.0


@dataclass(frozen=True, eq=False)
class Wake:
    """Flow in the wake of a cylinder, in units of its diameter and the free stream.

    Attributes:
        velocity: `(times, 2, nx, ny)`.
        pressure: `(times, nx, ny)`.
        times: `(times,)`.
        x, y: coordinates of the grid; the cylinder stands at the origin.
    """

    velocity: np.ndarray
    pressure: np.ndarray
    times: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def vorticity(self) -> np.ndarray:
        """`dv/dx - du/dy` by central differences, one-sided at the edges; `(times, nx, ny)`."""
        u, v = self.velocity[:, 0], self.velocity[:, 1]
        return np.gradient(v, self.x, axis=1, edge_order=2) - np.gradient(
            u, self.y, axis=2, edge_order=2
        )


def read_wake(path: str | Path) -> Wake:
    """Read the wake from the published `.mat` file or an `.npz` archive with the same keys.

    Raises `DataError` for a damaged file, a missing array, values that are not finite, or points
    that do not form a grid.
    """
    parts = (read_mat if Path(path).suffix == ".mat" else arrays)(path, KEYS)
    points, times = parts["X_star"], np.ravel(parts["t"])
    count, snapshots = len(points), len(times)
    expected = {"X_star": (count, 2), "U_star": (count, 2, snapshots), "p_star": (count, snapshots)}
    for name, shape in expected.items():
        if parts[name].shape != shape:
            raise DataError(f"{path}: {name} must have shape {shape}, found {parts[name].shape}")
    x, y = np.unique(points[:, 0]), np.unique(points[:, 1])
    order = np.lexsort((points[:, 1], points[:, 0]))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    if grid.shape != points.shape or not np.array_equal(points[order], grid):
        raise DataError(f"{path}: the {count} points do not form a grid of {len(x)} x {len(y)}")
    velocity = parts["U_star"][order].reshape(len(x), len(y), 2, snapshots)
    pressure = parts["p_star"][order].reshape(len(x), len(y), snapshots)
    return Wake(
        velocity=np.ascontiguousarray(velocity.transpose(3, 2, 0, 1)),
        pressure=np.ascontiguousarray(pressure.transpose(2, 0, 1)),
        times=times,
        x=x,
        y=y,
    )
