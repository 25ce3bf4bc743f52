"""Forces and stress of a potential, labelled molecules, and the losses they are fitted by.

A potential is any function from a graph to the energy of each of its components.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import (
    Graph,
    Structure,
    atom_counts,
    merge,
    species_index,
    stack,
    strained,
)

EnergyFunction: TypeAlias = Callable[[Graph], Float[Array, " components"]]


def energy_and_forces(
    potential: EnergyFunction, graph: Graph
) -> tuple[Float[Array, " components"], Float[Array, "atoms 3"]]:
    """Energies (eV) and forces `-dE/dx` (eV/Angstrom); zero for padding atoms."""

    def energy(positions: Array) -> tuple[Array, Array]:
        energies = potential(graph.at(positions))
        return jnp.sum(energies), energies

    slope, energies = jax.grad(energy, has_aux=True)(graph.positions)
    return energies, -slope


def stress(potential: EnergyFunction, graph: Graph) -> Float[Array, "components 3 3"]:
    """`dE/d(strain) / volume` (eV/Angstrom^3) of every component, symmetrised, positive when
    stretched. Raises ValueError for a component without a cell."""
    volumes = jnp.abs(jnp.linalg.det(graph.cells))
    if checks.is_concrete(volumes) and not np.all(np.asarray(volumes) > 0):
        missing = np.flatnonzero(np.asarray(volumes) == 0).tolist()
        raise ValueError(f"a stress needs a periodic cell, components {missing} have none")

    def energy(strain: Array) -> Array:
        symmetric = (strain + jnp.swapaxes(strain, -1, -2)) / 2
        return jnp.sum(potential(strained(graph, symmetric)))

    return jax.grad(energy)(jnp.zeros_like(graph.cells)) / volumes[:, None, None]


class Labelled(eqx.Module):
    """Graphs with the energies of their components (eV, relative to the reference energies) and the
    forces on their atoms (eV/Angstrom): one graph, or many along axis 0."""

    graph: Graph
    energies: Float[Array, "*graphs components"]
    forces: Float[Array, "*graphs atoms 3"]


def labelled(
    structures: Sequence[Structure],
    build: Callable[[Structure], Graph],
    table: Sequence[int],
    references: ArrayLike | Sequence[float],
    *,
    forces: bool = True,
    atoms: int | None = None,
    slots: int | None = None,
) -> Labelled:
    """Structures as graphs along axis 0, padded to common sizes, with their labels.

    `build` makes a graph of one (`all_pairs`, or `neighbour_graph` with its cutoff), `table` lists
    the atomic numbers and `references` the energy of each that is taken off, in float64. With
    `forces` False they are zero. Raises ValueError for a structure without energy or forces.
    """
    for name in ("energy", "forces") if forces else ("energy",):
        missing = [i for i, s in enumerate(structures) if getattr(s, name) is None]
        if missing:
            raise ValueError(
                f"structures must have {name} to be fitted, {len(missing)} have none, the first "
                f"is number {missing[0]}" + (" (or pass forces=False)" if name == "forces" else "")
            )
    checks.shape("references", references, (len(table),))
    graphs = stack([build(structure) for structure in structures], atoms, slots)
    known = np.asarray(references, dtype=np.float64)
    energies = np.array([s.energy for s in structures], dtype=np.float64)
    energies -= [np.sum(known[species_index(s.numbers, table)]) for s in structures]
    padded = np.zeros(graphs.positions.shape)
    for row, structure in zip(padded, structures, strict=True):
        if forces:
            row[: len(structure.numbers)] = structure.forces
    return Labelled(graphs, jnp.asarray(energies)[:, None], jnp.asarray(padded))


def take(samples: Labelled, chosen: ArrayLike | slice) -> Labelled:
    """The chosen ones of many labelled graphs as one graph of all their components."""
    some = jax.tree.map(lambda leaf: leaf[chosen], samples)
    return Labelled(merge(some.graph), some.energies.reshape(-1), some.forces.reshape(-1, 3))


class GraphSamples(eqx.Module):
    """Random batches of labelled graphs: `samples(key)` is one graph of `batch` different ones."""

    samples: Labelled
    batch: int = eqx.field(static=True)

    def __init__(self, samples: Labelled, batch: int):
        """Raises ValueError for a batch larger than the data."""
        checks.count("batch", batch)
        if batch > len(samples.energies):
            raise ValueError(f"batch must be at most {len(samples.energies)}, got {batch}")
        self.samples, self.batch = samples, batch

    def __call__(self, key: PRNGKeyArray) -> Labelled:
        count = len(self.samples.energies)
        return take(self.samples, jax.random.choice(key, count, (self.batch,), replace=False))


class PotentialLoss(eqx.Module):
    """`energy mean((dE / atoms)^2) + forces mean(|dF|^2 / 3)`, the weights in 1/eV^2 and
    (Angstrom/eV)^2; what MACE and NequIP are fitted by, up to the weights.

    Where no molecule has forces, `forces = 0` leaves their derivative out.
    """

    energy: float = eqx.field(static=True, default=1.0)
    forces: float = eqx.field(static=True, default=10.0)

    def __post_init__(self):
        checks.non_negative("energy", self.energy)
        checks.non_negative("forces", self.forces)
        if self.energy == self.forces == 0:
            raise ValueError("one of the weights of energy and forces must be > 0, got 0 and 0")

    def __call__(self, potential: EnergyFunction, batch: Labelled) -> Float[Array, ""]:
        counts = atom_counts(batch.graph)
        if self.forces == 0:
            energies, loss = potential(batch.graph), 0.0
        else:
            energies, forces = energy_and_forces(potential, batch.graph)
            # Padding atoms have no force, neither true nor computed.
            square = jnp.sum((forces - batch.forces) ** 2)
            loss = self.forces * square / (3 * jnp.sum(counts))
        return loss + self.energy * jnp.mean(((energies - batch.energies) / counts) ** 2)


def scale_and_shift(
    samples: Labelled, species: int
) -> tuple[np.floating, Float[np.ndarray, " species"]]:
    """For a `Potential`: the root mean square of the forces' components (of the energies a atom
    where there are no forces), and the least squares energy of each species, both in eV."""
    mask = np.asarray(samples.graph.atom_mask)
    one_hot = np.eye(species)[np.asarray(samples.graph.species)] * mask[..., None]
    counts = np.sum(one_hot, axis=-2)
    energies = np.asarray(samples.energies, dtype=np.float64)[:, 0]
    shift = np.linalg.lstsq(counts, energies, rcond=None)[0]
    forces = np.asarray(samples.forces)[mask]
    rest = (energies - counts @ shift) / np.sum(counts, axis=-1)
    scale = np.sqrt(np.mean((forces if np.any(forces) else rest) ** 2))
    return scale, shift


def evaluate_in_batches(
    potential: EnergyFunction, samples: Labelled, batch: int = 50, *, forces: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """Energies `(graphs,)` and forces `(graphs, atoms, 3)` of many graphs of one component each."""
    run = _energy_and_forces if forces else _energies
    found = []
    for start in range(0, len(samples.energies), batch):
        # The last batch takes some twice, so that nothing is compiled for its size.
        chosen = np.arange(start, start + batch) % len(samples.energies)
        found.append(run(potential, take(samples, chosen).graph))
    count, atoms = samples.graph.species.shape
    energies = np.concatenate([energy for energy, _ in found])[:count]
    if not forces:
        return energies, None
    return energies, np.concatenate([f.reshape(batch, atoms, 3) for _, f in found])[:count]


@eqx.filter_jit
def _energy_and_forces(potential: EnergyFunction, graph: Graph) -> tuple[Array, Array]:
    return energy_and_forces(potential, graph)


@eqx.filter_jit
def _energies(potential: EnergyFunction, graph: Graph) -> tuple[Array, None]:
    return potential(graph), None
