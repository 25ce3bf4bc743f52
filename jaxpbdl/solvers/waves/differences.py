"""Differences between nodes and centres along one axis, in absorbing layers by stretched
coordinates.

In a layer d/dx becomes (1/kappa) d/dx + psi, and psi remembers earlier differences,

    psi <- b psi + a dF/dx,   b = exp(-(sigma / kappa + alpha) dt),
    a = sigma (b - 1) / (kappa (sigma + kappa alpha))

(Roden and Gedney 2000, eqs. 14 to 16).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxpbdl.grids.cells import Cells, along
from jaxpbdl.solvers.waves.sides import Pairs, Side


class Layers(eqx.Module):
    """The absorbing layers at both ends of an axis: their cells; 1/kappa along all of it; kappa
    (`stretch`), sigma (`conductivity`) and alpha (`shift`) in the lower and then in the upper
    layer."""

    lower: int = eqx.field(static=True)
    upper: int = eqx.field(static=True)
    inverse_kappa: Array
    stretch: Array
    conductivity: Array
    shift: Array

    def coefficients(self, dt: Array) -> tuple[Array, Array]:
        """b and a."""
        decay = jnp.exp(-(self.conductivity / self.stretch + self.shift) * dt)
        # At the inner face of a layer without a shift both are zero.
        total = self.stretch * (self.conductivity + self.stretch * self.shift)
        gain = self.conductivity * (decay - 1) / jnp.where(total > 0, total, 1.0)
        return decay, gain


class Difference(eqx.Module):
    """The derivative along an axis of values at centres, at the nodes, or the reverse.

    Beyond a side that is no periodic one, values at centres count as zero on the side itself. Once
    round a periodic axis they are `turn` times what they were, the same where that is None.
    """

    axis: int = eqx.field(static=True)
    to_nodes: bool = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)
    inverse_widths: Array
    layers: Layers | None
    turn: Array | None = None

    def memory(self, shape: tuple[int, ...], dtype: np.dtype) -> Array | None:
        """psi at the start, for a result of that shape; None without layers."""
        if self.layers is None:
            return None
        size = list(shape)
        size[self.axis] = self.layers.lower + self.layers.upper
        return jnp.zeros(size, dtype)

    def __call__(
        self, values: Array, memory: Array | None, dt: Array
    ) -> tuple[Array, Array | None]:
        """The derivative, and psi one step later."""
        below, above = neighbours(values, self.axis, self.to_nodes, self.periodic, self.turn)
        slope = (above - below) * laid_along(self.inverse_widths, self.axis, values.ndim)
        if self.layers is None or memory is None:
            return slope, memory
        layers, n, axis = self.layers, slope.shape[self.axis], self.axis
        ends = jnp.concatenate(
            [along(slope, axis, 0, layers.lower), along(slope, axis, n - layers.upper, n)], axis
        )
        decay, gain = (laid_along(line, axis, values.ndim) for line in layers.coefficients(dt))
        memory = decay * memory + gain * ends
        slope = slope * laid_along(layers.inverse_kappa, axis, values.ndim)
        low = along(memory, axis, 0, layers.lower)
        high = along(memory, axis, layers.lower, layers.lower + layers.upper)
        slope = slope + _padded(low, axis, 0, n - layers.lower)
        return slope + _padded(high, axis, n - layers.upper, 0), memory


class Mean(eqx.Module):
    """The mean of two neighbours along an axis, of values at centres at the nodes, or the reverse;
    the one is the transpose of the other. Attributes as in `Difference`."""

    axis: int = eqx.field(static=True)
    to_nodes: bool = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)
    turn: Array | None = None

    def __call__(self, values: Array) -> Array:
        below, above = neighbours(values, self.axis, self.to_nodes, self.periodic, self.turn)
        return (below + above) / 2


def neighbours(
    values: Array, axis: int, to_nodes: bool, periodic: bool, turn: Array | None
) -> tuple[Array, Array]:
    """The values below and above each node, of values at centres, or the reverse."""
    # Shifts by padding: several times faster than jnp.roll on CPU, with its gradient.
    n = values.shape[axis]
    if not periodic:
        if to_nodes:
            return _padded(values, axis, 1, 0), _padded(values, axis, 0, 1)
        return along(values, axis, 0, n - 1), along(values, axis, 1, n)
    if to_nodes:
        last = _padded(along(values, axis, n - 1, n), axis, 0, n - 1)
        return _padded(values, axis, 1, -1) + (last if turn is None else last / turn), values
    first = _padded(along(values, axis, 0, 1), axis, n - 1, 0)
    return values, _padded(values, axis, -1, 1) + (first if turn is None else first * turn)


def difference(
    grid: Cells, pairs: Pairs, axis: int, to_nodes: bool, turn: Array | None = None
) -> Difference:
    """The one along an axis of a grid, with the layers of its sides; `turn` as in `Difference`."""
    periodic = grid.periodic[axis]
    widths = grid.widths[axis]
    if to_nodes:
        widths = grid.gaps[axis][:-1] if periodic else grid.gaps[axis]
    return Difference(
        axis,
        to_nodes,
        periodic,
        jnp.asarray(1 / widths, grid.dtype),
        _layers(grid, pairs[axis], axis, to_nodes),
        turn,
    )


def _layers(
    grid: Cells, pair: tuple[Side, Side] | None, axis: int, to_nodes: bool
) -> Layers | None:
    if pair is None or not any(side.cells for side in pair):
        return None
    nodes, n = np.asarray(grid.edges[axis]), grid.shape[axis]
    line = nodes if to_nodes else grid.centres[axis]
    kappa, parts = np.ones(len(line)), []
    for end, side in enumerate(pair):
        count = side.cells
        if not count:
            continue
        part = slice(0, count) if end == 0 else slice(len(line) - count, len(line))
        face, wall = (nodes[count], nodes[0]) if end == 0 else (nodes[n - count], nodes[n])
        rho = (line[part] - face) / (wall - face)
        width = abs(wall - face) / count
        stretch = 1 + (side.stretch - 1) * rho**side.order
        conductivity = side.strength * (side.order + 1) / width * rho**side.order
        kappa[part] = stretch
        parts.append((stretch, conductivity, side.shift / width * (1 - rho)))
    stretch, conductivity, shift = (
        jnp.asarray(np.concatenate(lines), grid.dtype) for lines in zip(*parts, strict=True)
    )
    return Layers(
        pair[0].cells,
        pair[1].cells,
        jnp.asarray(1 / kappa, grid.dtype),
        stretch,
        conductivity,
        shift,
    )


def laid_along(line: Array, axis: int, ndim: int) -> Array:
    """Shaped so that it broadcasts along an axis."""
    return line.reshape([-1 if a == axis else 1 for a in range(ndim)])


def _padded(values: Array, axis: int, before: int, after: int) -> Array:
    """With zeros before and after along an axis; negative numbers cut off."""
    config = [(before, after, 0) if a == axis else (0, 0, 0) for a in range(values.ndim)]
    return lax.pad(values, jnp.zeros((), values.dtype), config)
