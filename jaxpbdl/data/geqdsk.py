"""Equilibria of a tokamak in the format of EFIT, G-EQDSK (L. L. Lao et al., Nucl. Fusion 25 (1985)
1611; the layout: General Atomics, G EQDSK format).

A line with a title and the nodes along R and Z, then numbers in fields of 16 characters: twenty of
the whole plasma, tables of F, p, F F' and p' at equal steps of the flux from the axis to the
boundary, the flux on the nodes with R running fastest, the table of q, and the points of boundary
and limiter. Signs and factors of 2 pi are those of the file (O. Sauter and S. Y. Medvedev, Comput.
Phys. Commun. 184 (2013) 293).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxpbdl.checks import DataError

NUMBER = re.compile(r"[-+]?\d+\.\d*(?:[Ee][-+]?\d+)?|[-+]?\d+")
"""Also of fields that leave no space between them."""
TITLE, HEADER = 48, 20
"""Characters of the title, behind which stand an unused number and the nodes; numbers before the
tables."""


@dataclass(frozen=True, eq=False)
class FluxFile:
    """An equilibrium as a file holds it, in its own signs.

    Attributes:
        r, z: coordinates of the nodes in m.
        psi: flux on them; per radian unless the file's convention is another.
        axis: its place in m.
        axis_flux, boundary_flux: flux there.
        current: of the plasma in A.
        f, pressure, field_slope, pressure_slope, q: tables of R B_phi, p, F F', p' and the safety
            factor at equal steps from the axis to the boundary; derivatives by the flux.
        boundary, limiter: their points `(n, 2)` in m.
    """

    r: Float[np.ndarray, " nr"]
    z: Float[np.ndarray, " nz"]
    psi: Float[np.ndarray, "nr nz"]
    axis: Float[np.ndarray, "2"]
    axis_flux: float
    boundary_flux: float
    current: float
    f: Float[np.ndarray, " nr"]
    pressure: Float[np.ndarray, " nr"]
    field_slope: Float[np.ndarray, " nr"]
    pressure_slope: Float[np.ndarray, " nr"]
    q: Float[np.ndarray, " nr"]
    boundary: Float[np.ndarray, "n 2"]
    limiter: Float[np.ndarray, "m 2"]


def read_geqdsk(path: str | Path) -> FluxFile:
    """Read a file in the G-EQDSK format.

    Raises `DataError` for a file that is not there, a first line without the numbers of nodes,
    fewer or more numbers than these call for, and axis and boundary of one flux.
    """
    try:
        title, _, rest = Path(path).read_text(encoding="ascii").partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file: {error}") from error
    sizes = re.match(r"\s*-?\d+\s+(\d+)\s+(\d+)", title[TITLE:])
    if sizes is None:
        raise DataError(f"{path}: no nodes along R and Z after column {TITLE} of {title!r}")
    nr, nz = int(sizes[1]), int(sizes[2])
    values = np.array([float(one) for one in NUMBER.findall(rest)])
    fixed = HEADER + 5 * nr + nr * nz
    count = values[fixed : fixed + 2].astype(int)
    needed = fixed + 2 + 2 * int(count.sum())
    if len(count) < 2 or len(values) < needed:
        raise DataError(f"{path}: {nr} x {nz} nodes need {needed} numbers, found {len(values)}")
    width, height, _, left, middle, axis_r, axis_z, axis_flux, boundary_flux, _, current = values[
        :11
    ]
    if axis_flux == boundary_flux:
        raise DataError(f"{path}: axis and boundary have one flux, {axis_flux}")
    f, pressure, field_slope, pressure_slope = values[HEADER : HEADER + 4 * nr].reshape(4, nr)
    psi = values[HEADER + 4 * nr : fixed - nr].reshape(nz, nr).T
    boundary, limiter = np.split(values[fixed + 2 : needed].reshape(-1, 2), [count[0]])
    return FluxFile(
        np.linspace(left, left + width, nr),
        np.linspace(middle - height / 2, middle + height / 2, nz),
        psi,
        np.array([axis_r, axis_z]),
        float(axis_flux),
        float(boundary_flux),
        float(current),
        f,
        pressure,
        field_slope,
        pressure_slope,
        values[fixed - nr : fixed],
        boundary,
        limiter,
    )
