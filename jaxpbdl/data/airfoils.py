"""Outlines of airfoils from coordinate files as the UIUC collection has them.

Each file holds a title and pairs `x y` along the outline: trailing edge, upper side, leading edge,
lower side; some hold remarks between them.
"""

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import require_all_members

CORNERS = 160
"""Of every outline."""
STATIONS = np.linspace(0.01, 0.99, 99)
"""Where along the chord two outlines are compared."""


def read_airfoils(path: Path) -> dict[str, Float[np.ndarray, "corners 2"]]:
    """Outlines of chord one along x, from the origin, by their names in a zip of coordinate files
    (trailing edge, upper side, leading edge, lower side); what is not two numbers is skipped.

    Raises `DataError` for a missing, damaged or encrypted file, or what is no such zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            require_all_members(archive)
            # All of them: a member whose name is damaged is noticed when it is read.
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # a damaged archive raises almost anything
        raise DataError(f"{path}: no zip of airfoil coordinates: {error}") from error
    found = {}
    for name, content in members.items():
        if not name.endswith(".dat"):
            continue
        listed = _pairs(content.decode("latin1"))
        if len(listed) >= 10 and np.ptp(listed[:, 0]) > 0:
            found[name.removesuffix(".dat")] = _evenly(listed)
    if not found:
        raise DataError(f"{path}: holds no file .dat with the coordinates of an airfoil")
    return found


def _pairs(text: str) -> np.ndarray:
    listed = []
    for line in text.splitlines():
        try:
            x, y = map(float, line.split())
        except ValueError:
            continue  # a title or a remark
        if np.isfinite(x) and np.isfinite(y):
            listed.append((x, y))
    return np.asarray(listed).reshape(-1, 2)


def _evenly(listed: np.ndarray) -> np.ndarray:
    """As many corners for every airfoil, evenly along its closed outline."""
    first = listed.min(axis=0)[0]
    scaled = (listed - [first, 0.0]) / np.ptp(listed[:, 0])
    closed = np.concatenate([scaled, scaled[:1]])
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    places = way[-1] * np.arange(CORNERS) / CORNERS
    return np.stack([np.interp(places, way, line) for line in closed.T], axis=1)


def thickness(corners: Float[np.ndarray, "corners 2"]) -> float:
    """The largest between the upper and the lower side, across the chord."""
    upper, lower = _sides(corners, np.linspace(0.05, 0.95, 50))
    return float(np.max(np.abs(upper - lower)))


def shape_of(corners: Float[np.ndarray, "corners 2"]) -> Float[np.ndarray, "2 stations"]:
    """Heights of the upper and the lower side, in chords, at `STATIONS` along the chord, less the
    straight line that fits the camber line best: what is left of an outline once its height and
    its angle in the file, which a flow replaces by its own, are taken off."""
    sides = _sides(corners, STATIONS)
    return sides - np.polyval(np.polyfit(STATIONS, sides.mean(axis=0), 1), STATIONS)


def distances(
    shape: Float[np.ndarray, "2 stations"], shapes: Float[np.ndarray, "n 2 stations"]
) -> Float[np.ndarray, " n"]:
    """Of an outline to others, in chords: the largest difference in height of a side. An outline
    upside down counts as the same, for its flow is the same upside down.

    Arguments:
        shape: one outline, as `shape_of` gives it.
        shapes: the others.
    """
    flipped = -shapes[:, ::-1]
    either = [np.abs(shape - other).max(axis=(1, 2)) for other in (shapes, flipped)]
    return np.minimum(*either)


def _sides(corners: np.ndarray, stations: np.ndarray) -> np.ndarray:
    """Heights of the upper and the lower side at places along the chord."""
    nose = int(np.argmin(corners[:, 0]))
    upper, lower = corners[: nose + 1][::-1], corners[nose:]
    return np.stack([np.interp(stations, side[:, 0], side[:, 1]) for side in (upper, lower)])
