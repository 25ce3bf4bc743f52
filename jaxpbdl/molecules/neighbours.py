"""Graphs of structures: all pairs of a molecule, or the neighbours within a cutoff.

The search is that of vesin (Fraux et al., https://github.com/Luthaf/vesin), periodic cells smaller
than the cutoff included.
"""

from collections.abc import Sequence
from types import ModuleType

import jax.numpy as jnp
import numpy as np

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import Graph, Structure, species_index

CLOSEST = 0.1
"""Angstrom. Atoms nearer than this are no structure but a mistake: a Bessel basis diverges there.
"""


def neighbour_graph(
    structure: Structure, cutoff: float, table: Sequence[int], *, closest: float = CLOSEST
) -> Graph:
    """The graph of one component whose edges are all pairs at most `cutoff` (Angstrom) apart,
    over all periodic images.

    `table` lists the known atomic numbers: `species` are places in it. Raises ValueError for a
    species not in it, for atoms less than `closest` apart and for a cutoff that is not positive.
    """
    checks.positive("cutoff", cutoff)
    if cutoff <= closest:
        raise ValueError(f"cutoff must be above the closest distance {closest}, got {cutoff}")
    neighbours = _vesin().NeighborList(cutoff=float(cutoff), full_list=True, sorted=True)
    periodic = list(structure.periodic)
    box = structure.cell if any(periodic) else np.zeros((3, 3))
    positions = np.ascontiguousarray(structure.positions, dtype=np.float64)
    receivers, senders, shifts, distances = neighbours.compute(
        positions, np.ascontiguousarray(box, dtype=np.float64), periodic, "ijSd"
    )
    _refuse_coincident(receivers, senders, distances, closest)
    return _graph(structure, table, senders, receivers, shifts)


def all_pairs(structure: Structure, table: Sequence[int], *, closest: float = CLOSEST) -> Graph:
    """The graph of a molecule whose edges are all ordered pairs of atoms: it stays right wherever
    the atoms move, so that dynamics can run on it inside jit. Pairs beyond the cutoff of a network
    contribute exactly nothing. Raises ValueError as `neighbour_graph`, and if it is periodic.
    """
    if any(structure.periodic):
        raise ValueError(
            "all pairs of a periodic structure are infinitely many: use neighbour_graph; "
            f"got periodic {structure.periodic}"
        )
    count = len(structure.numbers)
    receivers, senders = np.nonzero(~np.eye(count, dtype=bool))
    apart = np.asarray(structure.positions)[senders] - np.asarray(structure.positions)[receivers]
    _refuse_coincident(receivers, senders, np.linalg.norm(apart, axis=1), closest)
    return _graph(structure, table, senders, receivers, np.zeros((len(senders), 3)))


def _graph(
    structure: Structure,
    table: Sequence[int],
    senders: np.ndarray,
    receivers: np.ndarray,
    shifts: np.ndarray,
) -> Graph:
    """Pairs sorted by receiver, laid out as slots of the receivers."""
    count = len(structure.numbers)
    each = np.bincount(receivers, minlength=count)
    slots = max(1, int(each.max(initial=0)))
    slot = np.arange(len(receivers)) - np.repeat(np.cumsum(each) - each, each)
    table_of = np.zeros((count, slots), dtype=np.int32)
    images, mask = np.zeros((count, slots, 3)), np.zeros((count, slots), dtype=bool)
    table_of[receivers, slot], images[receivers, slot] = senders, shifts
    mask[receivers, slot] = True
    cell = structure.cell if any(structure.periodic) else np.zeros((3, 3))
    return Graph(
        positions=jnp.asarray(structure.positions, dtype=float),
        species=jnp.asarray(species_index(structure.numbers, table)),
        senders=jnp.asarray(table_of),
        shifts=jnp.asarray(images, dtype=float),
        cells=jnp.asarray(cell, dtype=float)[None],
        component=jnp.zeros(count, dtype=np.int32),
        atom_mask=jnp.ones(count, dtype=bool),
        edge_mask=jnp.asarray(mask),
    )


def _refuse_coincident(
    receivers: np.ndarray, senders: np.ndarray, distances: np.ndarray, closest: float
) -> None:
    if len(distances) and np.min(distances) < closest:
        nearest = int(np.argmin(distances))
        raise ValueError(
            f"atoms must be at least {closest} Angstrom apart, but atoms {receivers[nearest]} and "
            f"{senders[nearest]} are {distances[nearest]:.3g} apart"
        )


def _vesin() -> ModuleType:
    try:
        import vesin
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "neighbours within a cutoff are found by vesin: pip install 'jaxpbdl[chem]' "
            "(all_pairs needs no package)"
        ) from None
    return vesin
