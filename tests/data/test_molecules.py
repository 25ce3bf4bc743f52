"""Extended XYZ: there and back, units, what is missing; energies of isolated atoms."""

from dataclasses import replace

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data import read_xyz, reference_energies, write_xyz
from jaxpbdl.data.molecules import as_ase, from_ase
from jaxpbdl.molecules.atoms import Structure

CELL = np.array([[4.0, 0.3, 0.0], [0.0, 4.2, 0.1], [0.4, 0.0, 4.5]])


def water(**known):
    positions = np.array([[0.0, 0.0, 0.1], [0.0, 0.8, -0.5], [0.0, -0.8, -0.5]])
    return Structure(np.array([8, 1, 1]), positions, **known)


def test_there_and_back(tmp_path):
    forces = np.random.default_rng(0).standard_normal((3, 3))
    stress = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]])
    full = water(cell=CELL, periodic=(True,) * 3, energy=-1.5, forces=forces, stress=stress)
    write_xyz(tmp_path / "a.xyz", [full, water()])
    first, second = read_xyz(tmp_path / "a.xyz")  # the file says its units
    for name in ("numbers", "positions", "cell", "forces", "stress"):
        np.testing.assert_allclose(getattr(first, name), getattr(full, name), atol=1e-8)
    assert first.energy == -1.5 and first.periodic == (True,) * 3
    assert second.energy is None and second.forces is None and second.cell is None
    again = from_ase(as_ase(full))
    np.testing.assert_allclose(again.stress, stress)


def test_units(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3:force:R:3 E=2.0\nH 1 0 0 0.5 0 0\n")
    with pytest.raises(
        DataError, match="structure 0: energy_unit must be one of eV, .*none is given"
    ):
        read_xyz(path)
    with pytest.raises(DataError, match="length_unit must be one of .*got 'inch'"):
        read_xyz(path, energy_unit="eV", length_unit="inch")
    (atom,) = read_xyz(path, energy_unit="hartree", length_unit="bohr", energy="E", forces="force")
    np.testing.assert_allclose(atom.positions[0, 0], 0.529177, rtol=1e-6)
    np.testing.assert_allclose(atom.energy, 54.42277, rtol=1e-6)
    np.testing.assert_allclose(atom.forces[0, 0], 25.71104, rtol=1e-5)


def test_units_of_a_stress(tmp_path):
    """Energy over volume: hartree/bohr^3 are 29421.02 GPa."""
    path = tmp_path / "a.xyz"
    path.write_text(
        '1\nLattice="8 0 0 0 8 0 0 0 8" pbc="T T T" Properties=species:S:1:pos:R:3 energy=1.0 '
        'stress="1 0 0 0 2 0 0 0 3"\nH 1 0 0\n'
    )
    (cell,) = read_xyz(path, energy_unit="hartree", length_unit="bohr")
    gigapascal = 1 / 160.2176634  # in eV/Angstrom^3
    np.testing.assert_allclose(np.diag(cell.stress) / gigapascal, 29421.02 * np.arange(1, 4), 1e-5)
    np.testing.assert_allclose(cell.cell[0, 0], 8 * 0.529177, rtol=1e-6)


def test_what_is_missing_is_named(tmp_path):
    path = tmp_path / "a.xyz"
    write_xyz(path, [water(energy=1.0, forces=np.ones((3, 3)), cell=CELL), water(energy=1.0)])
    with pytest.raises(DataError, match="structure 1: no forces and no cell"):
        read_xyz(path, require=("energy", "forces", "cell"))
    with pytest.raises(DataError, match="no such file"):
        read_xyz(tmp_path / "b.xyz")
    path.write_text("3\nnothing\nH 0 0\n")
    with pytest.raises(DataError, match="damaged, or not extended XYZ"):
        read_xyz(path, energy_unit="eV", length_unit="Angstrom")


def test_reference_energies():
    hydroxyl = Structure(np.array([8, 1]), np.eye(2, 3), energy=-11.0)
    np.testing.assert_allclose(
        reference_energies([water(energy=-12.0), hydroxyl], (1, 8)), [-1.0, -10.0]
    )
    atoms = [Structure(np.array([n]), np.zeros((1, 3)), energy=-float(n)) for n in (8, 1)]
    np.testing.assert_allclose(reference_energies([], (1, 8), isolated=atoms), [-1, -8])
    with pytest.raises(ValueError, match=r"none found for \[6\]"):
        reference_energies([], (1, 6, 8), isolated=atoms)
    with pytest.raises(ValueError, match="structures with energies"):
        reference_energies([replace(hydroxyl, energy=None)], (1, 8))


def test_the_published_molecules(real_data):
    path = real_data("molecules-acac/train_300K.xyz")
    units = {"energy_unit": "eV", "length_unit": "Angstrom"}
    structures = read_xyz(path, **units, require=("energy", "forces"))
    assert len(structures) == 500 and all(len(s.numbers) == 15 for s in structures)
    isolated = read_xyz(path.with_name("isolated_atoms.xyz"), **units)
    energies = reference_energies(structures, (1, 6, 8), isolated=isolated)
    binding = structures[0].energy - sum(energies[[1, 6, 8].index(n)] for n in
                                         structures[0].numbers)  # fmt: skip
    assert -80 < binding < -50  # thirteen bonds of a few eV
    with pytest.raises(DataError, match="structure 0: no forces"):
        read_xyz(path.with_name("test_dihedral.xyz"), **units, require=("forces",))
