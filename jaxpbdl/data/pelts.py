"""Furs of predators and prey: the Hudson's Bay Company's counts of lynx and hare."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxpbdl.checks import DataError

COLUMNS = ["Year", "Lynx", "Hare"]


def read_pelts(
    path: str | Path,
) -> tuple[Float[np.ndarray, " years"], Float[np.ndarray, "years 2"]]:
    """Years, and thousands of pelts of hare and lynx in each. Raises DataError for a file that is
    missing or of another layout."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    header, *rows = (line.split(",") for line in lines if line.strip() and line[0] != "#")
    if [name.strip() for name in header] != COLUMNS:
        raise DataError(f"{path}: columns {', '.join(COLUMNS)} expected, got {header}")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if table.ndim != 2 or table.shape[1] != 3 or not np.all(table[:, 1:] > 0):
        raise DataError(f"{path}: positive counts in 3 columns expected, got {table.shape}")
    return table[:, 0], table[:, [2, 1]]
