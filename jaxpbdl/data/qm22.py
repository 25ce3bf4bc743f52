"""One molecule in many geometries, of the collection QM-22: methane with gradients (B3LYP) and
hydronium (coupled cluster).

Bowman et al., J. Chem. Phys. 156 (2022) 240901; methane: Nandi, Qu and Bowman, J. Chem. Theory
Comput. 15 (2019) 2826.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpbdl import checks
from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import arrays
from jaxpbdl.data.molecules import ENERGY_UNITS, LENGTH_UNITS

KEYS = ("Z", "E_hartree", "R_angstrom")
GRADIENT = "grad_hartree_per_bohr"
WAVENUMBER = 1.239841984332e-4
"""eV of one cm^-1 (CODATA 2018)."""


@dataclass(frozen=True, eq=False)
class Geometries:
    """A molecule in many geometries.

    Attributes:
        numbers: `(atoms,)`. positions: `(geometries, atoms, 3)`, Angstrom.
        energies: `(geometries,)`, eV above the lowest of them.
        forces: `(geometries, atoms, 3)`, eV/Angstrom, or None where unknown.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray | None

    def __post_init__(self):
        shape = (len(self.energies), len(self.numbers), 3)
        checks.shape("positions", self.positions, shape)
        if self.forces is not None:
            checks.shape("forces", self.forces, shape)


def read_qm22(path: str | Path) -> Geometries:
    """Read an archive with `Z`, `E_hartree`, `R_angstrom` and, if they are known, gradients
    `grad_hartree_per_bohr`.

    Raises `DataError` for a damaged file, a missing array or shapes that do not fit.
    """
    found = arrays(path, KEYS)
    energies = found["E_hartree"] * ENERGY_UNITS["hartree"]
    forces = None
    if GRADIENT in found:
        forces = -found[GRADIENT] * (ENERGY_UNITS["hartree"] / LENGTH_UNITS["bohr"])
    try:
        return Geometries(
            found["Z"].astype(int), found["R_angstrom"], energies - energies.min(), forces
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
