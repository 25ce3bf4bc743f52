"""Measured swings of pendulums of one, two and three arms.

Angles (rad, pi at rest) and angular velocities (rad/s) every millisecond: Kaheman et al., arXiv
2205.06231, the files of MultiArm-Pendulum.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxpbdl.checks import DataError
from jaxpbdl.data.matlab import read_mat

KEYS = ("Y_id", "Y_vad", "dt")

Run = Float[np.ndarray, "_times _state"]


class Swings(NamedTuple):
    """Runs to fit and runs held out, states `(times, angles and velocities)`, and the interval
    between two states in seconds."""

    fitted: tuple[Run, ...]
    held_out: tuple[Run, ...]
    interval: float


def read_swings(path: str | Path) -> Swings:
    """The runs of one file. Raises DataError for a file that is missing or of another layout."""
    found = read_mat(path, KEYS)
    runs = [[np.asarray(run, float).T for run in found[key].ravel()] for key in KEYS[:2]]
    widths = {run.shape[1] if run.ndim == 2 else 0 for group in runs for run in group}
    if len(widths) != 1 or widths.pop() % 2 or not all(runs):
        shapes = ", ".join(str(run.shape) for group in runs for run in group)
        raise DataError(f"{path}: runs of angles and as many velocities expected, got {shapes}")
    for group in runs:
        for run in group:
            if not np.all(np.isfinite(run)):
                raise DataError(f"{path}: a run is not finite")
    return Swings(tuple(runs[0]), tuple(runs[1]), float(found["dt"].item()))
