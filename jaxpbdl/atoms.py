"""Atoms and who is near whom: a structure, and the graph of it that networks see.

A batch of molecules or cells is ONE graph of several components, so that a network carries no batch
axis: `component` says which molecule an atom belongs to. Arrays may be padded to given sizes; masks
say what is real. Lengths are in Angstrom and energies in eV throughout.

Along an edge goes the vector from the receiver, the atom that is told, to the sender, its neighbour
in the periodic image `shifts`:

    r_e = x[senders] + shifts cells - x[receivers]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxpbdl import checks


@dataclass(frozen=True, eq=False)
class Structure:
    """A molecule or a periodic cell with what is known of it, on the host.

    Attributes:
        numbers: atomic numbers, `(atoms,)`.
        positions: `(atoms, 3)`, Angstrom.
        cell: rows are lattice vectors, `(3, 3)`, or None.
        periodic: along which lattice vectors.
        energy: eV, of the whole structure. forces: `(atoms, 3)`, eV/Angstrom. stress: `(3, 3)`,
            eV/Angstrom^3, positive when stretched. None where unknown.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = (False, False, False)
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None

    def __post_init__(self):
        count = len(self.numbers)
        checks.shape("positions", self.positions, (count, 3))
        checks.finite("positions", self.positions)
        if self.forces is not None:
            checks.shape("forces", self.forces, (count, 3))
            checks.finite("forces", self.forces)
        if self.energy is not None:
            checks.finite("energy", self.energy)
        if self.cell is not None:
            checks.shape("cell", self.cell, (3, 3))
        if any(self.periodic) and (self.cell is None or abs(np.linalg.det(self.cell)) < 1e-6):
            raise ValueError(
                f"a structure periodic along {self.periodic} needs a cell of three independent "
                f"lattice vectors, got {self.cell}"
            )


class Graph(eqx.Module):
    """Atoms, edges between neighbours, and the component each atom belongs to.

    Padding atoms and edges are False in the masks; their other entries are zero. `cells` is zero
    for components that are not periodic.
    """

    positions: Float[Array, "atoms 3"]
    species: Int[Array, " atoms"]
    senders: Int[Array, " edges"]
    receivers: Int[Array, " edges"]
    shifts: Float[Array, "edges 3"]
    cells: Float[Array, "components 3 3"]
    component: Int[Array, " atoms"]
    atom_mask: Bool[Array, " atoms"]
    edge_mask: Bool[Array, " edges"]

    @property
    def components(self) -> int:
        return self.cells.shape[0]

    def at(self, positions: Float[Array, "atoms 3"]) -> "Graph":
        """The same atoms and edges at other positions. The edges must still hold all neighbours:
        those of `all_pairs` always do."""
        checks.shape("positions", positions, self.positions.shape)
        return replace(self, positions=positions)


def displacements(graph: Graph) -> Float[Array, "edges 3"]:
    """The vectors `r_e` along the edges; zero for padding."""
    cells = graph.cells[graph.component[graph.receivers]]
    apart = graph.positions[graph.senders] - graph.positions[graph.receivers]
    apart = apart + jnp.einsum("ea,eab->eb", graph.shifts, cells)
    return jnp.where(graph.edge_mask[:, None], apart, 0.0)


def strained(graph: Graph, strain: Float[Array, "components 3 3"]) -> Graph:
    """Positions and cells under `x -> x (1 + strain)`, component by component."""
    moved = jnp.einsum("na,nab->nb", graph.positions, strain[graph.component])
    stretched = jnp.einsum("cla,cab->clb", graph.cells, strain)
    return replace(graph, positions=graph.positions + moved, cells=graph.cells + stretched)


def total(graph: Graph, values: Float[Array, "atoms *rest"]) -> Float[Array, "components *rest"]:
    """The sum over the real atoms of each component."""
    mask = graph.atom_mask.reshape(-1, *[1] * (values.ndim - 1))
    return jax.ops.segment_sum(jnp.where(mask, values, 0.0), graph.component, graph.components)


def atom_counts(graph: Graph) -> Float[Array, " components"]:
    """The number of real atoms of each component."""
    return total(graph, jnp.ones(len(graph.positions), graph.positions.dtype))


def species_index(numbers: Any, table: Sequence[int]) -> np.ndarray:
    """The place of each atomic number in `table`; raises ValueError for one that is not there."""
    numbers, table = np.asarray(numbers), np.asarray(table)
    unknown = sorted({int(n) for n in numbers} - {int(n) for n in table})
    if unknown:
        raise ValueError(
            f"atomic numbers must be among the known species {table.tolist()}, got {unknown}"
        )
    order = np.argsort(table)
    return order[np.searchsorted(table[order], numbers)]


def pad(graph: Graph, atoms: int, edges: int) -> Graph:
    """The graph with arrays of the given lengths, for programs that must not compile again.

    Raises ValueError if it has more atoms or edges, with the sizes it needs.
    """
    had = (len(graph.positions), len(graph.senders))
    if had[0] > atoms or had[1] > edges:
        raise ValueError(
            f"the graph needs atoms >= {had[0]} and edges >= {had[1]}, but the padding is to "
            f"{atoms} atoms and {edges} edges"
        )
    per_edge = ("senders", "receivers", "shifts", "edge_mask")

    def longer(name: str) -> Array:
        array = getattr(graph, name)
        extra = edges - had[1] if name in per_edge else atoms - had[0]
        return jnp.pad(array, [(0, extra)] + [(0, 0)] * (array.ndim - 1))

    per_atom = ("positions", "species", "component", "atom_mask")
    return replace(graph, **{name: longer(name) for name in (*per_edge, *per_atom)})


def stack(graphs: Sequence[Graph], atoms: int | None = None, edges: int | None = None) -> Graph:
    """Graphs of equally many components, each padded to the given or the largest sizes, as one
    pytree whose arrays have the graphs along axis 0: a data set to draw from. See `merge`."""
    if not graphs:
        raise ValueError("there must be at least one graph to stack, got none")
    counts = {graph.components for graph in graphs}
    if len(counts) > 1:
        raise ValueError(f"graphs to stack must have equally many components, got {sorted(counts)}")
    atoms = max(len(g.positions) for g in graphs) if atoms is None else atoms
    edges = max(len(g.senders) for g in graphs) if edges is None else edges
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(pad(g, atoms, edges) for g in graphs))


def merge(stacked: Graph) -> Graph:
    """Stacked graphs as one of all their components; also inside jit."""
    count, atoms = stacked.species.shape
    components = stacked.cells.shape[1]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), stacked)
    later = jnp.arange(count)[:, None]
    return replace(
        flat,
        senders=(stacked.senders + later * atoms).reshape(-1),
        receivers=(stacked.receivers + later * atoms).reshape(-1),
        component=(stacked.component + later * components).reshape(-1),
    )


def join(graphs: Sequence[Graph], atoms: int | None = None, edges: int | None = None) -> Graph:
    """One graph of the components of several of any sizes, padded to the given ones.

    Raises ValueError if they do not fit.
    """
    if not graphs:
        raise ValueError("there must be at least one graph to join, got none")
    before = np.cumsum([0] + [len(g.positions) for g in graphs])
    earlier = np.cumsum([0] + [g.components for g in graphs])
    moved = [
        replace(g, senders=g.senders + a, receivers=g.receivers + a, component=g.component + c)
        for g, a, c in zip(graphs, before, earlier, strict=False)
    ]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *moved)
    atoms = len(joined.positions) if atoms is None else atoms
    edges = len(joined.senders) if edges is None else edges
    return pad(joined, atoms, edges)
