"""Distorted water molecules at two levels of theory, computed on the spot by PySCF."""

from pathlib import Path

import jax
import numpy as np

from jaxpbdl.data.quantum_chemistry import energies
from jaxpbdl.data.two_levels import HARTREE_IN_KCAL, TwoLevels

NUMBERS = np.array([8, 1, 1])
AT_REST = np.array([[0.0, 0.0, 0.0], [0.7572, 0.5865, 0.0], [-0.7572, 0.5865, 0.0]])
"""Angstrom; 0.9578 to both hydrogens, at 104.5 degrees."""
DEVIATION = 0.06
"""Angstrom, of every coordinate of every atom: up to about 50 kcal/mol."""
DEAR, CHEAP = "ccsd(t)", "pbe"


def geometries(count: int) -> np.ndarray:
    """`(count, 3, 3)`, Angstrom; the same for all seeds, rounded so that they are the same on all
    machines."""
    noise = jax.random.normal(jax.random.key(0), (count, *AT_REST.shape), np.float32)
    return np.round(AT_REST + DEVIATION * np.asarray(noise, np.float64), 5)


def files(folder: Path) -> list[Path]:
    """Where `read_or_compute` keeps its energies: the coupled-cluster and the functional's."""
    return [folder / f"{name}.npz" for name in ("ccsdt", "pbe")]


def read_or_compute(folder: Path, count: int, basis: str = "cc-pvdz") -> TwoLevels:
    """Energies kept in `folder`, computed where they are not there: about a second a geometry.

    Raises what `data.quantum_chemistry.energies` raises.
    """
    positions = geometries(count)
    dear, cheap = (
        HARTREE_IN_KCAL * energies(NUMBERS, positions, method, basis, path=path)
        for path, method in zip(files(folder), (DEAR, CHEAP), strict=True)
    )
    return TwoLevels(np.tile(NUMBERS, (count, 1)), positions, dear, cheap, ("CCSD(T)", "PBE"))
