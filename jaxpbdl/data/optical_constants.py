"""Measured refractive indices, as the database refractiveindex.info lays them out: YAML with a
table of wavelength in micrometres, n and k."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpbdl.checks import DataError

MARK = "type: tabulated nk"


class Measured(NamedTuple):
    """`wavelength` in micrometres, rising, and the complex `permittivity` (n + i k)^2 there."""

    wavelength: np.ndarray
    permittivity: np.ndarray

    def at(self, wavelengths: np.ndarray) -> np.ndarray:
        """The permittivity at other wavelengths, linear between those measured.

        **Raises:** ValueError outside of what was measured.
        """
        wanted, line = np.asarray(wavelengths, float), self.wavelength
        if wanted.size and not (line[0] <= wanted.min() and wanted.max() <= line[-1]):
            raise ValueError(
                f"wavelengths must be within those measured, {line[0]:.6g}..{line[-1]:.6g} "
                f"micrometres, got {wavelengths}"
            )
        return np.interp(wanted, line, self.permittivity)


def read_measured(path: Path) -> Measured:
    """The table of a file.

    **Raises:** DataError for a file without such a table, or one with a line that is not three
    numbers, with wavelengths that do not rise, or with k below 0.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    _, mark, rest = text.partition(MARK)
    _, block, rest = rest.partition("data: |")
    if not (mark and block):
        raise DataError(f"{path}: there is no table of {MARK!r}")
    rows = []
    for line in rest.strip().splitlines():
        try:
            wavelength, n, k = (float(entry) for entry in line.split())
        except ValueError:
            raise DataError(
                f"{path}: a line of the table must be wavelength, n and k, got {line!r}"
            ) from None
        rows.append((wavelength, n, k))
    table = np.asarray(rows).reshape(-1, 3)
    if len(table) < 2 or not np.all(np.diff(table[:, 0]) > 0) or np.any(table[:, 2] < 0):
        raise DataError(f"{path}: wavelengths must rise, two or more, and k be at least 0")
    return Measured(table[:, 0], (table[:, 1] + 1j * table[:, 2]) ** 2)
