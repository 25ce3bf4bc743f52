"""Energies of molecules by two methods, a cheap and a dear one: what delta-learning lives on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxpbdl import checks
from jaxpbdl.checks import DataError
from jaxpbdl.data.archive import arrays
from jaxpbdl.data.molecules import ENERGY_UNITS

HARTREE_IN_KCAL = ENERGY_UNITS["hartree"] / ENERGY_UNITS["kcal/mol"]
NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "S": 16}
QM7 = ("Z", "R", "hof_pbe0_kcal_mol", "hof_dftb3_kcal_mol")


@dataclass(frozen=True, eq=False)
class TwoLevels:
    """Molecules and their energies.

    Attributes:
        numbers: `(molecules, atoms)`, padded with zeros. positions: `(molecules, atoms, 3)`,
            Angstrom.
        energies, baseline: `(molecules,)` by the dear and by the cheap method, kcal/mol.
        methods: their names, the dear one first.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    baseline: np.ndarray
    methods: tuple[str, str]

    def __post_init__(self):
        checks.shape("positions", self.positions, (*self.numbers.shape, 3))
        for name in ("energies", "baseline"):
            checks.shape(name, getattr(self, name), (len(self.numbers),))
        for name in ("positions", "energies", "baseline"):
            checks.finite(name, getattr(self, name))

    @property
    def elements(self) -> tuple[int, ...]:
        """Which occur, in ascending order."""
        return tuple(int(z) for z in np.unique(self.numbers) if z)

    def counts(self) -> np.ndarray:
        """How many atoms of each element, `(molecules, elements)`."""
        return np.stack([np.sum(self.numbers == z, 1) for z in self.elements], 1).astype(float)


def without(element: int, data: TwoLevels) -> TwoLevels:
    """The molecules that do not hold an element."""
    keep = ~np.any(data.numbers == element, axis=1)
    arrays = ("numbers", "positions", "energies", "baseline")
    return replace(data, **{name: getattr(data, name)[keep] for name in arrays})


def read_qm7(path: str | Path) -> TwoLevels:
    """Heats of formation of 7,101 molecules of up to seven heavy atoms (QM7) by PBE0 and by DFTB3.

    Raises `DataError` for a damaged file or another layout.
    """
    found = arrays(path, QM7)
    numbers, positions, energies, baseline = (found[name] for name in QM7)
    try:
        return TwoLevels(numbers.astype(int), positions, energies, baseline, ("PBE0", "DFTB3"))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def read_ccsd_mp2(path: str | Path) -> TwoLevels:
    """Total energies by CCSD and MP2 of the molecules of an XYZ file whose comment lines say
    `MP2_energy_Ha=... CCSD_energy_Ha=...`.

    Raises `DataError` for a damaged file, naming the molecule.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    found, at = [], 0
    while at < len(lines):
        try:
            count = int(lines[at])
            said = dict(pair.split("=") for pair in lines[at + 1].split())
            atoms = [line.split() for line in lines[at + 2 : at + 2 + count]]
            if len(atoms) < count:
                raise ValueError(f"{count} atoms announced, {len(atoms)} there")
            found.append(
                (
                    [NUMBERS[atom[0]] for atom in atoms],
                    [[float(x) for x in atom[1:4]] for atom in atoms],
                    float(said["CCSD_energy_Ha"]),
                    float(said["MP2_energy_Ha"]),
                )
            )
        except (ValueError, KeyError, IndexError) as error:
            where = f"{path}, molecule {len(found)}, line {at + 1}"
            raise DataError(f"{where}: damaged: {error}") from error
        at += 2 + count
    if not found:
        raise DataError(f"{path}: no molecules")
    largest = max(len(molecule[0]) for molecule in found)
    numbers = np.zeros((len(found), largest), int)
    positions = np.zeros((len(found), largest, 3))
    for index, (kinds, places, *_) in enumerate(found):
        numbers[index, : len(kinds)], positions[index, : len(kinds)] = kinds, places
    dear, cheap = HARTREE_IN_KCAL * np.array([molecule[2:] for molecule in found]).T
    return TwoLevels(numbers, positions, dear, cheap, ("CCSD", "MP2"))
