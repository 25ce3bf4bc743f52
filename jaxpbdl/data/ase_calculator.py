"""A potential as a calculator of ASE, which relaxes, vibrates and moves structures with it.

ASE: Larsen et al., J. Phys.: Condens. Matter 29 (2017) 273002.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.data.molecules import from_ase
from jaxpbdl.molecules.atoms import Graph, pad, species_index
from jaxpbdl.molecules.neighbours import neighbour_graph
from jaxpbdl.molecules.potentials import EnergyFunction, energy_and_forces, stress

SPARE = 1.25
"""Places for neighbours beyond those of the first structure, so that little compiles twice."""


def ase_calculator(
    potential: EnergyFunction,
    cutoff: float,
    table: Sequence[int],
    references: checks.Numbers = 0.0,
) -> Any:
    """An `ase.calculators.calculator.Calculator` with energy (eV), forces (eV/Angstrom) and, for
    structures periodic along all three axes, stress (eV/Angstrom^3, ASE's sign and Voigt order).

    **Arguments**

    - `potential`: graph -> energy of each component, eV.
    - `cutoff`: Angstrom, beyond which it sees nothing.
    - `table`: the atomic numbers that it knows, in its order.
    - `references`: the energy of each that is added, eV (see `data.reference_energies`).

    **Raises** ModuleNotFoundError without ASE or vesin. A calculation raises ValueError for an
    unknown species and for atoms that coincide.
    """
    try:
        from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a calculator of ASE: pip install 'jaxpbdl[chem]'") from None
    checks.positive("cutoff", cutoff)
    known = np.broadcast_to(np.asarray(references, dtype=np.float64), (len(table),))
    compiled = eqx.filter_jit(energy_and_forces)
    compiled_stress = eqx.filter_jit(_stress)

    class PotentialCalculator(Calculator):
        implemented_properties = ["energy", "free_energy", "forces", "stress"]

        def __init__(self):
            super().__init__()
            self.slots = 0

        def calculate(
            self,
            atoms: Any = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            super().calculate(atoms, list(properties), list(system_changes))
            given: Any = self.atoms
            graph = self.graph(given)
            energies, forces = compiled(potential, graph)
            own = known[species_index(given.numbers, table)].sum()
            energy = float(energies[0]) + float(own)
            self.results = {
                "energy": energy,
                "free_energy": energy,
                "forces": np.asarray(forces, dtype=np.float64)[: len(given)],
            }
            if "stress" in properties:
                if not all(given.pbc):
                    raise PropertyNotImplementedError(
                        f"a stress needs a cell periodic along all axes, got pbc {given.pbc}"
                    )
                full = np.asarray(compiled_stress(potential, graph), dtype=np.float64)
                self.results["stress"] = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

        def graph(self, given: Any) -> Graph:
            """Of the atoms, in as many places as have been needed so far."""
            found = neighbour_graph(from_ase(given), cutoff, table)
            count, needed = found.senders.shape
            if needed > self.slots:
                self.slots = int(SPARE * needed)
            return pad(found, count, self.slots)

    return PotentialCalculator()


def _stress(potential: EnergyFunction, graph: Graph) -> Array:
    # `calculate` has refused atoms without a cell; here its volume is traced.
    return stress(potential, graph)[0]
