"""An eddy viscosity whose factor a network gives."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.solvers.flow.closures import EddyViscosity, Strain, in_cells, root

OfOneCell: TypeAlias = Callable[[Float[Array, "4"]], Float[Array, "1"]]
LARGEST = 4.0
"""The largest factor over that of Smagorinsky's closure."""


class LearnedViscosity(EddyViscosity):
    """Smagorinsky's closure with a factor of its own in each cell,

        nu_t = g (C delta)^2 |S|,   0 < g < 4,

    that a network on one cell tells from numbers which depend on no unit and no direction: with S
    the rate of strain, W that of turning, and a bar for the mean over 3^dim cells,

        1. |W|^2 / (|S|^2 + |W|^2)
        2. sqrt(6) tr(S^3) / tr(S^2)^(3/2), between -1 and 1; 0 in two dimensions
        3. w.S.w / (|w|^2 tr(S^2)^(1/2)), w the vorticity; 0 in two dimensions
        4. tr(S_bar^2) / tr(S^2)_bar: 1 where the cells resolve the flow, 0 for noise

    So it can be trained on one grid and used on another, and like every eddy viscosity it keeps
    momentum and gives no energy. `fit` trains the network of a step with this closure.

    **Arguments:** `network`: from these four numbers to one, of which g is a sigmoid: where it is
    0, g is 1, as before the training of `networks.Dense([4, 16, 16, 1], zero_last=True, key=key)`.
    `constant`: C, as of `Smagorinsky`.

    **Raises:** ValueError for a constant that is negative, not finite or no single number.
    """

    trainable_fields = ("network",)

    network: OfOneCell
    constant: Array

    def __init__(self, network: OfOneCell, constant: ArrayLike = 0.17):
        checks.shape("constant", constant, ())
        checks.non_negative("constant", constant)
        self.network, self.constant = network, jnp.asarray(constant, float)

    def factor(self, strain: Strain, grid: Cells) -> Float[Array, "*cells"]:
        seen = invariants(strain, grid)
        network = self.network
        for _ in range(grid.ndim):
            network = jax.vmap(network, in_axes=-1, out_axes=-1)
        share = jax.nn.sigmoid(network(seen)[0] - jnp.log(LARGEST - 1))
        return LARGEST * share * self.constant**2


def invariants(strain: Strain, grid: Cells) -> Float[Array, "features *cells"]:
    """The four numbers of `LearnedViscosity` in each cell, between -1 and 1."""
    ndim = grid.ndim
    none = jnp.zeros_like(strain.normal[0])
    rows = [[strain.normal[a] if a == b else none for b in range(ndim)] for a in range(ndim)]
    turn = [[none] * ndim for _ in range(ndim)]
    for (a, b), shear in strain.shear.items():
        rows[a][b] = rows[b][a] = in_cells(in_cells(shear, a), b)
        turn[a][b] = in_cells(in_cells(strain.turn[a, b], a), b)
        turn[b][a] = -turn[a][b]
    s = jnp.stack([jnp.stack(row) for row in rows])
    w = jnp.stack([jnp.stack(row) for row in turn])
    strained, turned = jnp.sum(s**2, (0, 1)), jnp.sum(w**2, (0, 1))
    features = [_ratio(turned, strained + turned)]
    if ndim == 3:
        cubes = jnp.einsum("ab...,bc...,ca...->...", s, s, s)
        vorticity = jnp.stack([w[1, 2], w[2, 0], w[0, 1]])
        stretching = jnp.einsum("a...,ab...,b...->...", vorticity, s, vorticity)
        size = root(strained)
        features += [
            jnp.sqrt(6.0) * _ratio(cubes, size * strained),
            _ratio(stretching, jnp.sum(vorticity**2, 0) * size),
        ]
    else:
        features += [jnp.zeros_like(strained)] * 2
    smooth = jnp.sum(_smoothed(s, grid) ** 2, (0, 1))
    features.append(_ratio(smooth, _smoothed(strained[None, None], grid)[0, 0]))
    return jnp.stack(features)


def _ratio(part: Array, whole: Array) -> Array:
    """Zero, with slope zero, where there is nothing to divide by."""
    none = whole == 0
    return jnp.where(none, 0.0, part / jnp.where(none, 1.0, whole))


def _smoothed(values: Float[Array, "a b *cells"], grid: Cells) -> Float[Array, "a b *cells"]:
    """The mean over each cell and its neighbours; beyond a side the last cell counts twice."""
    for axis, periodic in enumerate(grid.periodic):
        place = 2 + axis
        n = values.shape[place]
        first, last = along(values, place, 0, 1), along(values, place, n - 1, n)
        before, after = (last, first) if periodic else (first, last)
        padded = jnp.concatenate([before, values, after], place)
        values = (along(padded, place, 0, n) + values + along(padded, place, 2, n + 2)) / 3
    return values
