"""Neighbours found inside jit, so that dynamics of periodic structures compiles as one loop.

A list holds all pairs within `cutoff + skin`. It stays right until an atom has moved by half the
skin since it was made (Verlet, Phys. Rev. 159 (1967) 98), and only then is made again.

Where the cell holds at least three boxes of this reach along each lattice vector, candidates are
the atoms in the 27 boxes about an atom (Quentrec and Brot, J. Comput. Phys. 13 (1973) 430), a cost
in proportion to the atoms; else all atoms in as many images as are in reach, also of cells smaller
than the cutoff.
"""

from collections.abc import Sequence
from itertools import product
from math import ceil, floor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import Graph, Structure, species_index

Positions = Float[Array, "atoms 3"]
SPARE = 1.25
"""Room in a list over what the first structure needs: densities fluctuate."""


class NeighbourSearch(eqx.Module):
    """Graphs of moving atoms in a fixed cell; created by `neighbour_search`."""

    trainable_fields = ()

    template: Graph
    """Without neighbours: species and cell."""
    reach: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    slots: int = eqx.field(static=True)
    boxes: tuple[int, ...] = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    """Atoms a box has room for; 0 where no boxes are used."""
    images: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)

    def __call__(self, positions: Positions) -> Graph:
        """The graph of all pairs within `cutoff + skin`, also inside jit.

        Positions need not lie inside the cell. **Raises** a runtime error, also inside jit, if an
        atom has more neighbours than `slots`, or a box more atoms than it has room for.
        """
        positions = lax.stop_gradient(positions)
        turns = self._along_periodic(jnp.floor(self._fractions(positions)))
        inside = positions - turns @ self.template.cells[0]
        senders, places, crowded = self._candidates(inside)
        apart = places - inside[:, None]
        itself = (senders == jnp.arange(len(positions))[:, None]) & jnp.all(apart == 0, -1)
        near = (jnp.sum(apart**2, -1) <= self.reach**2) & ~itself
        # The k-th neighbour is where the count of neighbours reaches k: ten times faster than to
        # sort them.
        counted = jnp.cumsum(near.astype(jnp.int32), 1)
        numbers = jnp.arange(1, self.slots + 1)
        first = jax.vmap(lambda row: jnp.searchsorted(row, numbers))(counted)
        first = jnp.minimum(first, near.shape[1] - 1)
        mask = numbers <= counted[:, -1:]
        chosen = jnp.where(mask, jnp.take_along_axis(senders, first, 1), 0)
        image = jnp.take_along_axis(places, first[..., None], 1) - inside[chosen]
        shifts = self._along_periodic(jnp.round(self._fractions(image)))
        # Back to positions that left the cell: r_j - turns_j, seen from r_i - turns_i.
        shifts = shifts - turns[chosen] + turns[:, None]
        chosen = eqx.error_if(
            chosen,
            jnp.any(counted[:, -1] > self.slots),
            f"an atom has more neighbours within {self.reach:g} Angstrom than the {self.slots} "
            "slots there are: give neighbour_search more `slots`",
        )
        chosen = eqx.error_if(
            chosen,
            crowded,
            f"more than {self.capacity} atoms in one of {self.boxes} boxes: the density has grown "
            "far beyond that of the structure the search was made for; make it from a denser one",
        )
        return eqx.tree_at(
            lambda g: (g.positions, g.senders, g.shifts, g.edge_mask),
            self.template,
            (positions, chosen, jnp.where(mask[..., None], shifts, 0.0), mask),
        )

    def updated(self, graph: Graph, positions: Positions) -> Graph:
        """`graph`, or a new one if an atom has moved by half the skin since that was made. The
        positions in the graph stay those at which it was made: `graph.at(positions)` moves it."""
        moved = jnp.sum(lax.stop_gradient(positions - graph.positions) ** 2, -1)
        late = jnp.max(moved) > (self.skin / 2) ** 2
        return lax.cond(late, self.__call__, lambda _: graph, positions)

    def _fractions(self, vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        """In lattice vectors; zero where nothing is periodic."""
        if not any(self.periodic):
            return jnp.zeros_like(vectors)
        return vectors @ jnp.linalg.inv(self.template.cells[0])

    def _along_periodic(self, turns: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        return jnp.where(jnp.asarray(self.periodic), turns, 0.0)

    def _candidates(
        self, inside: Positions
    ) -> tuple[Int[Array, "atoms candidates"], Float[Array, "atoms candidates 3"], Bool[Array, ""]]:
        """Who may be near whom, where, and whether a box was too full."""
        return self._of_boxes(inside) if self.capacity else self._of_images(inside)

    def _of_images(self, inside: Positions) -> tuple[Array, Array, Array]:
        """The nearest image of every atom, and as many about it as are in reach."""
        count, fractions = len(inside), self._fractions(inside)
        nearest = self._along_periodic(jnp.round(fractions[:, None] - fractions))
        further = list(product(*(range(-n, n + 1) for n in self.images)))
        shifts = nearest[:, :, None] + jnp.asarray(further, inside.dtype)
        places = inside[:, None] + shifts @ self.template.cells[0]
        senders = jnp.repeat(jnp.arange(count), len(further))
        wide = (count, count * len(further))
        return jnp.broadcast_to(senders, wide), places.reshape(*wide, 3), jnp.asarray(False)

    def _of_boxes(self, inside: Positions) -> tuple[Array, Array, Array]:
        """The atoms of the 27 boxes about the box of each atom."""
        count, boxes = len(inside), jnp.asarray(self.boxes)
        # Rounding may put an atom at the very end of the cell.
        at = jnp.clip((self._fractions(inside) * boxes).astype(jnp.int32), 0, boxes - 1)
        box = jnp.ravel_multi_index(tuple(at.T), self.boxes, mode="clip")
        order = jnp.argsort(box)
        held = jnp.bincount(box, length=int(np.prod(self.boxes)))
        rank = jnp.arange(count) - (jnp.cumsum(held) - held)[box[order]]
        places = (int(np.prod(self.boxes)), self.capacity)
        atoms = (
            jnp.zeros(places, jnp.int32)
            .at[box[order], rank]
            .set(order.astype(jnp.int32), mode="drop")
        )
        # Where a box has no atom, there is one too far away for any.
        where = jnp.full((*places, 3), jnp.inf, inside.dtype)
        where = where.at[box[order], rank].set(inside[order], mode="drop")
        around = at[:, None] + jnp.asarray(list(product((-1, 0, 1), repeat=3)))
        image = jnp.floor_divide(around, boxes)
        wrapped = tuple(jnp.moveaxis(around - image * boxes, -1, 0))
        names = jnp.ravel_multi_index(wrapped, self.boxes, mode="clip")
        seen = where[names] + (image.astype(inside.dtype) @ self.template.cells[0])[:, :, None]
        return (
            atoms[names].reshape(count, -1),
            seen.reshape(count, -1, 3),
            jnp.max(held) > self.capacity,
        )


def neighbour_search(
    structure: Structure,
    cutoff: float,
    table: Sequence[int],
    *,
    skin: float = 1.0,
    slots: int | None = None,
) -> NeighbourSearch:
    """A search for neighbours that runs inside jit: `search(positions)` is a `Graph`, and
    `search.updated(graph, positions)` makes it again only when it has to.

    **Arguments**

    - `structure`: species, cell and a typical density; the cell stays fixed.
    - `cutoff`: of the potential, Angstrom.
    - `table`: the known atomic numbers; `species` are places in it.
    - `skin`: the reach beyond the cutoff, Angstrom: a wider one makes lists longer and rarer.
    - `slots`: neighbours an atom can have within `cutoff + skin`, by default a quarter more than
      in `structure`, or in a liquid of its density.

    **Raises** ValueError for a cutoff or skin that is not positive, a species not in the table.
    """
    checks.positive("cutoff", cutoff)
    checks.positive("skin", skin)
    reach, count = float(cutoff) + float(skin), len(structure.numbers)
    images, boxes, cell = (0, 0, 0), (1, 1, 1), np.zeros((3, 3))
    if any(structure.periodic):
        cell = np.asarray(structure.cell, float)
        sides = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
        each = list(zip(abs(np.linalg.det(cell)) / sides, structure.periodic, strict=True))
        images = tuple(floor(reach / width + 0.5) if along else 0 for width, along in each)
        boxes = tuple(max(1, int(width / reach)) if along else 1 for width, along in each)
    template = Graph(
        positions=jnp.asarray(structure.positions, dtype=float),
        species=jnp.asarray(species_index(structure.numbers, table)),
        senders=jnp.zeros((count, 0), jnp.int32),
        shifts=jnp.zeros((count, 0, 3)),
        cells=jnp.asarray(cell, dtype=float)[None],
        component=jnp.zeros(count, jnp.int32),
        atom_mask=jnp.ones(count, bool),
        edge_mask=jnp.zeros((count, 0), bool),
    )

    def search(slots: int, capacity: int) -> NeighbourSearch:
        sizes = (slots, boxes, capacity, images)
        periodic = tuple(bool(along) for along in structure.periodic)
        return NeighbourSearch(template, reach, float(skin), *sizes, periodic)

    capacity = 0
    if min(boxes) >= 3:
        fractions = np.asarray(structure.positions) @ np.linalg.inv(cell)
        at = np.floor((fractions % 1.0) * boxes).astype(int) % boxes
        fullest = int(np.bincount(np.ravel_multi_index(tuple(at.T), boxes)).max())
        room = ceil(SPARE * fullest) + 2
        capacity = room if 27 * room < count else 0  # boxes only where they save something
    if slots is None:
        most = search(count * int(np.prod([2 * n + 1 for n in images])), capacity)
        found = jax.jit(lambda x: jnp.max(jnp.sum(most(x).edge_mask, 1)))(template.positions)
        # A crystal may just miss a shell of neighbours that it has once it melts.
        liquid = 0.0
        if all(structure.periodic):
            liquid = 4 / 3 * np.pi * reach**3 * count / abs(np.linalg.det(cell))
        slots = ceil(SPARE * max(int(found), liquid)) + 2
    return search(checks.count("slots", slots), capacity)
