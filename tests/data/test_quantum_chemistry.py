"""Energies by PySCF: published total energies, files that go on, bad input."""

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.quantum_chemistry import energies

pytest.importorskip("pyscf", reason="needs jaxpbdl[chem]")
BOHR = 0.529177210903
WATER = np.array([8, 1, 1])
PLACES = BOHR * np.array(
    [
        [0.0, -0.143225816552, 0.0],
        [1.638036840407, 1.136548822547, 0.0],
        [-1.638036840407, 1.136548822547, 0.0],
    ]
)
HARTREE_FOCK = -74.942079928192
"""This and what follows: T. D. Crawford's programming projects 3 to 6, water in STO-3G."""


@pytest.mark.parametrize(
    "method, beyond",
    [
        ("hf", 0.0),
        ("mp2", -0.049149636120),
        ("ccsd", -0.070680088376),
        ("ccsd(t)", -0.070680088376 - 0.000099877272),
    ],
)
def test_published_energies_of_water(method, beyond):
    (found,) = energies(WATER, PLACES[None], method, "sto-3g")
    assert found == pytest.approx(HARTREE_FOCK + beyond, abs=2e-7)


def test_a_file_goes_on(tmp_path):
    path = tmp_path / "hf.npz"
    geometries = np.stack([PLACES, 1.02 * PLACES, 0.98 * PLACES])
    all_three = energies(WATER, geometries, "hf", "sto-3g", path=path)
    assert len(set(all_three.round(6))) == 3
    # As if it had been stopped after two, of which the second is marked.
    with np.load(path) as kept:
        parts = dict(kept)
    parts["energies"] = np.array([all_three[0], -1.0])
    np.savez(path, **parts)
    again = energies(WATER, geometries, "hf", "sto-3g", path=path)
    np.testing.assert_allclose(again, [all_three[0], -1.0, all_three[2]])
    with pytest.raises(DataError, match="basis is 'sto-3g', wanted '6-31g'"):
        energies(WATER, geometries, "hf", "6-31g", path=path)
    with pytest.raises(DataError, match="its 3 geometries are not the wanted ones"):
        energies(WATER, geometries[::-1], "hf", "sto-3g", path=path)
    with pytest.raises(DataError, match="another molecule"):
        energies(np.array([8, 1, 9]), geometries, "hf", "sto-3g", path=path)


def test_a_density_functional():
    near = energies(WATER, np.stack([PLACES, PLACES + 2.0]), "lda,vwn", "sto-3g")
    assert near[0] == pytest.approx(near[1], abs=1e-5) and -76 < near[0] < -74


def test_bad_input():
    with pytest.raises(ValueError, match="even number of electrons, got 9"):
        energies(WATER, PLACES[None], "hf", charge=1)
    with pytest.raises(ValueError, match="or a density functional, got 'magic'"):
        energies(WATER, PLACES[None], "magic", "sto-3g")
    with pytest.raises(ValueError, match="basis must be known .* got 'tiny'"):
        energies(WATER, PLACES[None], "hf", "tiny")
    with pytest.raises(ValueError, match=r"positions must have shape \(1, 3, 3\)"):
        energies(WATER, PLACES[None, :2], "hf")
