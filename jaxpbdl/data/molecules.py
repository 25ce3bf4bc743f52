"""Extended XYZ files of molecules and cells, and the energies of isolated atoms.

Files are read and written by ASE (Larsen et al., J. Phys.: Condens. Matter 29 (2017) 273002).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxpbdl.checks import DataError
from jaxpbdl.molecules.atoms import Structure

ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "hartree": 27.211386245988,
    "kcal/mol": 0.0433641042381,
    "kJ/mol": 0.0103642696562,
}
"""In eV (CODATA 2018)."""
LENGTH_UNITS = {"Angstrom": 1.0, "bohr": 0.529177210903, "nm": 10.0}
"""In Angstrom."""


def read_xyz(
    path: str | Path,
    *,
    energy_unit: str | None = None,
    length_unit: str | None = None,
    energy: str = "energy",
    forces: str = "forces",
    require: Sequence[str] = (),
) -> list[Structure]:
    """The structures of an extended XYZ file, in eV and Angstrom.

    **Arguments**

    - `energy_unit`, `length_unit`: those of the file, unless its structures say so by keys of the
      same names; forces are in one by the other.
    - `energy`, `forces`: what the file calls them. A structure without them has None.
    - `require`: of "energy", "forces", "cell", "stress": what every structure must have.

    **Raises** `DataError` for a damaged file, a unit neither given nor known, and a structure that
    lacks what is required, with its number.
    """
    io = _ase("ase.io")
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        found = io.read(path, index=":", format="extxyz")
    except Exception as error:  # noqa: BLE001 - ASE raises what its line of the file led to
        raise DataError(f"{path}: damaged, or not extended XYZ: {error}") from error
    units = {"energy_unit": energy_unit, "length_unit": length_unit}
    structures = [
        _structure(atoms, units, energy, forces, f"{path}, structure {index}")
        for index, atoms in enumerate(found)
    ]
    for index, structure in enumerate(structures):
        missing = [name for name in require if getattr(structure, name) is None]
        if missing:
            raise DataError(f"{path}, structure {index}: no {' and no '.join(missing)}")
    return structures


def write_xyz(path: str | Path, structures: Iterable[Structure]) -> None:
    """Write structures with all that is known of them, and their units, as extended XYZ."""
    io = _ase("ase.io")
    io.write(path, [as_ase(structure, units=True) for structure in structures], format="extxyz")


def as_ase(structure: Structure, *, units: bool = False) -> Any:
    """The `ase.Atoms` of a structure; what is known of it is in a single-point calculator."""
    atoms = _ase("ase").Atoms(
        numbers=structure.numbers,
        positions=structure.positions,
        cell=structure.cell,
        pbc=structure.periodic,
        info={"energy_unit": "eV", "length_unit": "Angstrom"} if units else None,
    )
    known = {"energy": structure.energy, "forces": structure.forces, "stress": structure.stress}
    known = {name: value for name, value in known.items() if value is not None}
    if known:
        calculator = _ase("ase.calculators.singlepoint").SinglePointCalculator
        atoms.calc = calculator(atoms, **known)
    return atoms


def from_ase(atoms: Any) -> Structure:
    """The structure of an `ase.Atoms`, with the results that its calculator already holds."""
    results = {} if atoms.calc is None else atoms.calc.results
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (6,):
        stress = np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]  # Voigt: xx yy zz yz xz xy
    return Structure(
        numbers=np.asarray(atoms.numbers),
        positions=np.array(atoms.positions),
        cell=np.array(atoms.cell) if np.any(atoms.cell) else None,
        periodic=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
        energy=None if results.get("energy") is None else float(results["energy"]),
        forces=None if results.get("forces") is None else np.array(results["forces"]),
        stress=stress,
    )


def reference_energies(
    structures: Sequence[Structure], table: Sequence[int], *, isolated: Sequence[Structure] = ()
) -> np.ndarray:
    """The energy of each species of `table` that is taken off total energies, eV.

    Those of the `isolated` atoms (structures of one atom) where there are any; else the
    least-squares solution of smallest norm of `energy = sum over atoms` on the structures.

    Raises ValueError for a species without an isolated atom where others have one, and for
    structures without energies.
    """
    if isolated:
        known = {int(s.numbers[0]): s.energy for s in isolated if len(s.numbers) == 1}
        missing = [number for number in table if known.get(int(number)) is None]
        if missing:
            raise ValueError(
                f"there must be an isolated atom with its energy for all of {list(table)}, "
                f"none found for {missing}"
            )
        return np.array([known[int(number)] for number in table])
    if any(s.energy is None for s in structures):
        raise ValueError("reference energies need structures with energies, some have none")
    counts = np.array([[np.sum(s.numbers == number) for number in table] for s in structures])
    return np.linalg.lstsq(counts, np.array([s.energy for s in structures]), rcond=None)[0]


def _structure(
    atoms: Any, units: Mapping[str, str | None], energy: str, forces: str, where: str
) -> Structure:
    scale = {}
    for name, known in (("energy_unit", ENERGY_UNITS), ("length_unit", LENGTH_UNITS)):
        unit = atoms.info.get(name) or units[name]
        if unit not in known:
            said = "none is given, nor in the file" if unit is None else f"got {unit!r}"
            raise DataError(f"{where}: {name} must be one of {', '.join(known)}; {said}")
        scale[name] = known[unit]
    by_energy, by_length = scale["energy_unit"], scale["length_unit"]
    results = {} if atoms.calc is None else atoms.calc.results
    found = {
        "energy": results.get(energy, atoms.info.get(energy)),
        "forces": results.get(forces, atoms.arrays.get(forces)),
        "stress": results.get("stress"),
    }
    structure = from_ase(atoms)
    try:
        return Structure(
            numbers=structure.numbers,
            positions=structure.positions * by_length,
            cell=None if structure.cell is None else structure.cell * by_length,
            periodic=structure.periodic,
            energy=None if found["energy"] is None else float(found["energy"]) * by_energy,
            forces=None
            if found["forces"] is None
            else np.array(found["forces"]) * (by_energy / by_length),
            stress=None
            if found["stress"] is None
            else structure.stress * (by_energy / by_length**3),
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _ase(module: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "extended XYZ files are read and written by ASE: pip install 'jaxpbdl[chem]'"
        ) from None
