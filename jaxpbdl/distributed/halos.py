"""Stencils of a box that is shared out over devices: each works on its block and what lies next to
it on its neighbours.

Where the code of a whole box joins an array to its own other end (a periodic axis, fluxes through
n + 1 faces), the compiler moves whole blocks: n + 1 entries are no multiple of the parts. Here the
values that stencils reach are exchanged first, those of all arrays in one message to each side; the
same code then works on a block with its halo as on a small periodic box, and what it finds in the
halo, where that box closes on itself, is cut off.
"""

from collections.abc import Callable, Sequence
from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, PyTree

from jaxpbdl.distributed.space import box_spec, check_parts, parts_of

Reach = tuple[int, int]
"""Cells that a stencil reaches below and above its own along an axis."""


class Blocks(eqx.Module):
    """How the blocks of a box lie on devices.

    **Arguments:** `mesh` (`distributed.space_mesh`); `shape`, that of the grid; `width`, the cells
    by which a block grows at both ends of each axis that is split.

    **Raises:** ValueError for a mesh that does not divide the box, or blocks that are thinner than
    their halo or than two cells.
    """

    mesh: Mesh = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __check_init__(self):
        check_parts(self.shape, self.mesh)
        least = max(self.width, 2)
        for axis, _, count in self.split:
            cells = self.shape[axis]
            if cells // count < least:
                raise ValueError(
                    f"axis {axis} has {cells} cells in {count} parts, {cells // count} each, but "
                    f"stencils reach {self.width} beyond: at least {least} each, so at most "
                    f"{cells // least} parts"
                )

    @property
    def split(self) -> list[tuple[int, str, int]]:
        """The axes that are split: each with its name in the mesh and the number of parts."""
        parts = zip(self.mesh.axis_names, parts_of(self.mesh), strict=True)
        return [(axis, name, count) for axis, (name, count) in enumerate(parts) if count > 1]

    def map(
        self,
        function: Callable[..., PyTree],
        fields: Sequence[Array],
        reaches: Sequence[Sequence[Reach]],
        lines: PyTree = None,
        whole: PyTree = None,
        leading: int = 0,
    ) -> PyTree:
        """Arrays in the box, of `function(blocks, lines, whole)`.

        **Arguments:**

        - `function`: gives arrays like the blocks it is given, with their halo.
        - `fields`: in the box, `leading` axes before those of the box; along axes that are split as
          many entries as cells.
        - `reaches`: for each field, how far stencils reach along each axis of the box (what is
          beyond up to `width` is filled up with zeros). Only axes that are split count.
        - `lines`: arrays that each device has whole and of which a block takes its part, such as
          values on a side: of size one along the axes that they do not vary along.
        - `whole`: arrays that a block takes as they are.
        """
        before = box_spec(leading, len(self.shape), self.mesh)

        def on_one_device(fields: tuple[Array, ...], lines: PyTree, whole: PyTree) -> PyTree:
            grown = list(fields)
            for axis, name, count in self.split:
                pairs = [reach[axis] for reach in reaches]
                grown = _with_neighbours(grown, pairs, axis + leading, name, count)
            grown = [
                self._filled(u, reach, leading) for u, reach in zip(grown, reaches, strict=True)
            ]
            found = function(tuple(grown), jax.tree.map(self._part, lines), whole)
            return jax.tree.map(lambda u: self._cut(u, leading), found)

        return jax.shard_map(
            on_one_device,
            mesh=self.mesh,
            in_specs=(before, PartitionSpec(), PartitionSpec()),
            out_specs=before,
            check_vma=False,
        )(tuple(fields), lines, whole)

    def _filled(self, block: Array, reaches: Sequence[Reach], leading: int) -> Array:
        filling = [(0, 0)] * block.ndim
        for axis, _, _ in self.split:
            lower, upper = reaches[axis]
            filling[leading + axis] = (self.width - lower, self.width - upper)
        return jnp.pad(block, filling)

    def _part(self, line: Array) -> Array:
        """Of an array that every device has whole, with its halo."""
        for axis, name, count in self.split:
            if line.ndim and line.shape[axis] > 1:
                here = self.shape[axis] // count
                wrapped = [
                    (self.width, self.width) if a == axis else (0, 0) for a in range(line.ndim)
                ]
                line = jnp.pad(line, wrapped, mode="wrap")
                start = lax.axis_index(name) * here
                line = lax.dynamic_slice_in_dim(line, start, here + 2 * self.width, axis)
        return line

    def _cut(self, block: Array, leading: int) -> Array:
        for axis, _, count in self.split:
            here = self.shape[axis] // count
            place = leading + axis
            block = lax.slice_in_dim(block, self.width, self.width + here, axis=place)
        return block


def _with_neighbours(
    blocks: Sequence[Array], reaches: Sequence[Reach], axis: int, name: str, count: int
) -> list[Array]:
    """Blocks with the ends of those before and after them along an axis of the mesh."""
    sizes = [block.shape[axis] for block in blocks]
    ups = [
        lax.slice_in_dim(block, n - lower, n, axis=axis)
        for block, n, (lower, _) in zip(blocks, sizes, reaches, strict=True)
    ]
    downs = [
        lax.slice_in_dim(block, 0, upper, axis=axis)
        for block, (_, upper) in zip(blocks, reaches, strict=True)
    ]
    below = _sent(ups, name, [(k, (k + 1) % count) for k in range(count)])
    above = _sent(downs, name, [(k, (k - 1) % count) for k in range(count)])
    return [jnp.concatenate(parts, axis) for parts in zip(below, blocks, above, strict=True)]


def _sent(strips: list[Array], name: str, ways: list[tuple[int, int]]) -> list[Array]:
    """The strips of a neighbour, in one message for each type of numbers."""
    received = list(strips)
    for dtype in {strip.dtype for strip in strips if strip.size}:
        chosen = [k for k, strip in enumerate(strips) if strip.dtype == dtype]
        message = jnp.concatenate([strips[k].reshape(-1) for k in chosen])
        message, start = lax.ppermute(message, name, ways), 0
        for k in chosen:
            size = prod(strips[k].shape)
            received[k] = message[start : start + size].reshape(strips[k].shape)
            start += size
    return received
