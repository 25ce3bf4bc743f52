"""The curl of fields on a staggered grid, on one device or on those that share the box."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxpbdl.distributed.halos import Blocks, Reach
from jaxpbdl.grids.spectrum import total
from jaxpbdl.solvers.waves.differences import Difference

Rates = tuple[Array, ...]
"""One array for each component."""


class Derivative(eqx.Module):
    """One term of a curl: a sign, which of the components it takes, and its difference."""

    sign: int = eqx.field(static=True)
    position: int = eqx.field(static=True)
    difference: Difference


Curl = tuple[tuple[Derivative, ...], ...]
"""The terms of each component."""


def curl_of(
    curl: Curl,
    fields: tuple[Array, ...],
    memories: PyTree,
    dt: Array,
    like: tuple[Array, ...],
    blocks: Blocks | None = None,
) -> tuple[Rates, PyTree]:
    """The curl, of the shapes of `like`, and the memory of the absorbing layers one step later;
    on the devices that share the box, each its block, where there are `blocks`."""
    if blocks is not None:
        return _curl_of_blocks(curl, fields, like, blocks), memories
    parts, later = [], []
    for terms, remembered, own in zip(curl, memories, like, strict=True):
        slopes, new = [], []
        for term, memory in zip(terms, remembered, strict=True):
            slope, memory = term.difference(fields[term.position], memory, dt)
            slopes.append(slope if term.sign > 0 else -slope)
            new.append(memory)
        # Along the only axis of a grid nothing changes the component along it.
        parts.append(total(slopes) if slopes else jnp.zeros_like(own))
        later.append(tuple(new))
    return tuple(parts), tuple(later)


def _curl_of_blocks(
    curl: Curl, fields: tuple[Array, ...], like: tuple[Array, ...], blocks: Blocks
) -> Rates:
    """The curl without absorbing layers. A difference reaches one value, to one side."""
    split = {axis for axis, _, _ in blocks.split}
    reaches: list[list[Reach]] = [[(0, 0)] * len(blocks.shape) for _ in fields]
    for term in (term for terms in curl for term in terms):
        one = term.difference
        reaches[term.position][one.axis] = (1, 0) if one.to_nodes else (0, 1)
    # Cells along an axis that is split are equal: one width is that of all.
    short = jax.tree.map(
        lambda one: (
            eqx.tree_at(lambda d: d.inverse_widths, one, one.inverse_widths[:1])
            if one.axis in split
            else one
        ),
        curl,
        is_leaf=lambda leaf: isinstance(leaf, Difference),
    )
    present = [terms for terms in short if terms]
    zero = jnp.zeros(())  # stands for what only layers and components without terms need

    def on_block(fields: tuple[Array, ...], _: None, curl: Curl) -> Rates:
        nothing = tuple((None,) * len(terms) for terms in curl)
        return curl_of(curl, fields, nothing, zero, (zero,) * len(curl))[0]

    found = iter(blocks.map(on_block, fields, reaches, whole=tuple(present)))
    return tuple(
        next(found) if terms else jnp.zeros_like(own) for terms, own in zip(curl, like, strict=True)
    )
