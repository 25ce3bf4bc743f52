"""The calculator of ASE against ASE's own Lennard-Jones potential and its differences."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.data.ase_calculator import ase_calculator
from jaxpbdl.molecules.atoms import displacements, total

ase = pytest.importorskip("ase", reason="needs jaxpbdl[chem]")
pytest.importorskip("vesin", reason="needs jaxpbdl[chem]")
pytestmark = pytest.mark.x64
SIGMA, EPSILON, CUTOFF = 2.3, 0.4, 5.0


def lennard_jones(graph):
    squares = jnp.sum(displacements(graph) ** 2, -1)
    sixth = (SIGMA**2 / jnp.where(graph.edge_mask, squares, 1.0)) ** 3
    last = (SIGMA / CUTOFF) ** 6
    pairs = 4 * EPSILON * (sixth**2 - sixth - last**2 + last)
    return total(graph, 0.5 * jnp.sum(jnp.where(graph.edge_mask, pairs, 0.0), -1))


def crystal():
    from ase.build import bulk

    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.02, 0.01], 1)), scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def test_agrees_with_ase():
    from ase.calculators.lj import LennardJones

    ours, theirs = crystal(), crystal()
    ours.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    theirs.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, smooth=False)
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), rel=1e-10)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-9)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-9)
    assert np.abs(ours.get_stress()).min() > 1e-5  # none of the six is zero by symmetry


def test_agrees_with_differences():
    from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

    atoms = crystal()
    atoms.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    numbers = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 3])
    np.testing.assert_allclose(atoms.get_forces()[[0, 3]], numbers, atol=1e-5)
    by_strain = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), by_strain, atol=1e-5)


def test_a_molecule_with_its_references():
    molecule = ase.Atoms("CuCuAg", positions=[[0, 0, 0], [2.5, 0, 0], [0, 2.6, 0]])
    energies = []
    for references in ([0.0, 0.0], [-10.0, -100.0]):
        molecule.calc = ase_calculator(lennard_jones, CUTOFF, (29, 47), references)
        energies.append(molecule.get_potential_energy())
    assert energies[1] - energies[0] == pytest.approx(-120.0)
    np.testing.assert_allclose(molecule.get_forces().sum(0), 0, atol=1e-12)
    with pytest.raises(NotImplementedError, match="periodic along all axes"):
        molecule.get_stress()
    # Compressed, it has more neighbours than there was room for.
    spread = ase.Atoms("Cu9", positions=4.9 * np.arange(9)[:, None] * [1.0, 0, 0])
    spread.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    before = spread.get_potential_energy()
    spread.positions *= 0.47
    assert spread.get_potential_energy() < before


def test_relaxes_with_ase():
    from ase.optimize import BFGS

    pair = ase.Atoms("Cu2", positions=[[0, 0, 0], [2.9, 0, 0]])
    pair.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    BFGS(pair, logfile=None).run(fmax=1e-5, steps=50)
    assert pair.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * SIGMA, abs=1e-4)


def test_bad_input():
    atoms = ase.Atoms("CuO", positions=[[0, 0, 0], [1.9, 0, 0]])
    atoms.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    with pytest.raises(ValueError, match=r"got \[8\]"):
        atoms.get_potential_energy()
    close = ase.Atoms("Cu2", positions=[[0, 0, 0], [1e-3, 0, 0]])
    close.calc = ase_calculator(lennard_jones, CUTOFF, (29,))
    with pytest.raises(ValueError, match="atoms 0 and 1 are 0.001 apart"):
        close.get_forces()
    with pytest.raises(ValueError, match="cutoff must be finite and > 0"):
        ase_calculator(lennard_jones, -1.0, (29,))
