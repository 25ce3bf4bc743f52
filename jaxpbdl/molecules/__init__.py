"""Atoms, their graphs, and the potentials fitted to them; lengths in Angstrom, energies in eV."""

from jaxpbdl.molecules.atoms import (
    Graph,
    Structure,
    atom_counts,
    displacements,
    join,
    merge,
    pad,
    species_index,
    stack,
    strained,
    total,
)
from jaxpbdl.molecules.moving_neighbours import NeighbourSearch, neighbour_search
from jaxpbdl.molecules.neighbours import all_pairs, neighbour_graph
from jaxpbdl.molecules.potentials import (
    EnergyFunction,
    GraphSamples,
    Labelled,
    PotentialLoss,
    energy_and_forces,
    evaluate_in_batches,
    labelled,
    scale_and_shift,
    stress,
    take,
)

__all__ = [
    "EnergyFunction",
    "Graph",
    "GraphSamples",
    "Labelled",
    "NeighbourSearch",
    "PotentialLoss",
    "Structure",
    "all_pairs",
    "atom_counts",
    "displacements",
    "energy_and_forces",
    "evaluate_in_batches",
    "join",
    "labelled",
    "merge",
    "neighbour_graph",
    "neighbour_search",
    "pad",
    "scale_and_shift",
    "species_index",
    "stack",
    "strained",
    "stress",
    "take",
    "total",
]
