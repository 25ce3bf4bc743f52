"""Atoms and who is near whom: a structure, and the graph of it that networks see.

A batch of molecules or cells is ONE graph of several components, so that a network carries no batch
axis: `component` says which molecule an atom belongs to. Lengths are in Angstrom and energies in eV
throughout.

Every atom has the same number of slots for neighbours, and masks say what is real: sums over
neighbours are then sums along an axis, and products with them matrix products. (An edge list with
scattered sums took 1.5 to 2 times as long in a training step.) Along slot `s` of atom `i` goes the
vector from the atom to its neighbour, in the periodic image `shifts`:

    r_is = x[senders_is] + shifts_is cell - x_i
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    """Atoms, the neighbours of each, and the component it belongs to.

    Padding is False in the masks; its other entries are zero. `cells` is zero for components that
    are not periodic.
    """

    positions: Float[Array, "*batch atoms 3"]
    species: Int[Array, "*batch atoms"]
    senders: Int[Array, "*batch atoms slots"]
    shifts: Float[Array, "*batch atoms slots 3"]
    cells: Float[Array, "*batch components 3 3"]
    component: Int[Array, "*batch atoms"]
    atom_mask: Bool[Array, "*batch atoms"]
    edge_mask: Bool[Array, "*batch atoms slots"]

    @property
    def components(self) -> int:
        return self.cells.shape[0]

    def at(self, positions: Float[Array, "atoms 3"]) -> "Graph":
        """The same atoms and edges at other positions. The edges must still hold all neighbours:
        those of `all_pairs` always do."""
        checks.shape("positions", positions, self.positions.shape)
        return replace(self, positions=positions)


def displacements(graph: Graph) -> Float[Array, "atoms slots 3"]:
    """The vectors `r_is` to the neighbours; zero for padding."""
    images = jnp.einsum("nsa,nab->nsb", graph.shifts, graph.cells[graph.component])
    apart = graph.positions[graph.senders] - graph.positions[:, None] + images
    return jnp.where(graph.edge_mask[..., None], apart, 0.0)


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


def species_index(numbers: np.ndarray | Array | Sequence[int], table: Sequence[int]) -> np.ndarray:
    """The place of each atomic number in `table`; raises ValueError for one that is not there."""
    places = {int(number): place for place, number in enumerate(table)}
    unknown = sorted({int(n) for n in numbers} - set(places))
    if unknown:
        raise ValueError(
            f"atomic numbers must be among the known species {list(places)}, got {unknown}"
        )
    return np.array([places[int(number)] for number in numbers], dtype=np.int32)


def pad(graph: Graph, atoms: int, slots: int) -> Graph:
    """The graph with arrays of the given sizes, for programs that must not compile again.

    Raises ValueError if it has more atoms or slots for neighbours, with the sizes it needs.
    """
    had = graph.senders.shape
    if had[0] > atoms or had[1] > slots:
        raise ValueError(
            f"the graph needs atoms >= {had[0]} and slots >= {had[1]}, but the padding is to "
            f"{atoms} atoms of {slots} slots for neighbours"
        )

    def larger(name: str) -> Array:
        array = getattr(graph, name)
        extra = [(0, atoms - had[0]), (0, slots - had[1])][: 1 + (name in per_edge)]
        return jnp.pad(array, extra + [(0, 0)] * (array.ndim - len(extra)))

    per_edge = ("senders", "shifts", "edge_mask")
    per_atom = ("positions", "species", "component", "atom_mask")
    return replace(graph, **{name: larger(name) for name in (*per_edge, *per_atom)})


def stack(graphs: Sequence[Graph], atoms: int | None = None, slots: int | None = None) -> Graph:
    """Graphs of equally many components, each padded to the given or the largest sizes, as one
    pytree whose arrays have the graphs along axis 0: a data set to draw from. See `merge`."""
    counts = {graph.components for graph in graphs}
    if len(counts) != 1:
        raise ValueError(
            "there must be at least one graph to stack, all of equally many components, got "
            f"{sorted(counts)}"
        )
    sizes = _sizes(graphs, atoms, slots, max)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(pad(g, *sizes) for g in graphs))


def merge(stacked: Graph) -> Graph:
    """Stacked graphs as one of all their components; also inside jit."""
    count, atoms, slots = stacked.senders.shape
    components = stacked.cells.shape[1]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), stacked)
    later = jnp.arange(count)
    return replace(
        flat,
        senders=(stacked.senders + later[:, None, None] * atoms).reshape(-1, slots),
        component=(stacked.component + later[:, None] * components).reshape(-1),
    )


def join(graphs: Sequence[Graph], atoms: int | None = None, slots: int | None = None) -> Graph:
    """One graph of the components of several of any sizes, padded to the given ones.

    Raises ValueError if they do not fit.
    """
    if not graphs:
        raise ValueError("there must be at least one graph to join, got none")
    atoms, slots = _sizes(graphs, atoms, slots, sum)
    before = np.cumsum([0, *(len(g.positions) for g in graphs)]).tolist()
    earlier = np.cumsum([0, *(g.components for g in graphs)]).tolist()
    widest = max(slots, *(g.senders.shape[1] for g in graphs))
    moved = [
        replace(padded, senders=padded.senders + a, component=padded.component + c)
        for padded, a, c in zip(
            (pad(g, len(g.positions), widest) for g in graphs), before, earlier, strict=False
        )
    ]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *moved)
    return pad(joined, atoms, slots)


def _sizes(
    graphs: Sequence[Graph], atoms: int | None, slots: int | None, together: Callable[..., int]
) -> tuple[int, int]:
    needed = together(len(g.positions) for g in graphs), max(g.senders.shape[1] for g in graphs)
    return needed[0] if atoms is None else atoms, needed[1] if slots is None else slots
