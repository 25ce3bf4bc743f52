"""From means of cells to the states on both sides of each face.

A reconstruction gives the value at the upper edge of a cell from the means of cells about it, all
of one width; the value at the lower edge is that of the same cells in the opposite order. Variables
say of what: `primitive` or `characteristic`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.equations.conservation_law import ConservationLaw
from jaxpbdl.grids.cells import along

Limiter: TypeAlias = Callable[[Array, Array], Array]
"""From the differences to the cells before and after to the difference across the cell."""


class Reconstruction(eqx.Module):
    """A callable from the means of `2 reach + 1` cells, upwards, to the value at the upper edge of
    the middle one. One with a network inside may train it: see `jaxpbdl.trainable`.
    """

    reach: eqx.AbstractVar[int]

    def __call__(self, *cells: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} must define __call__")


class FirstOrder(Reconstruction):
    """The mean itself."""

    reach: int = eqx.field(static=True, default=0)

    def __call__(self, *cells: Array) -> Array:
        return cells[0]


class Muscl(Reconstruction):
    """A line in each cell, its slope limited (van Leer, J. Comput. Phys. 32 (1979) 101)."""

    limiter: Limiter
    reach: int = eqx.field(static=True, default=1)

    def difference(self, *cells: Array) -> Array:
        """Across the middle cell, twice that from its mean to its upper edge."""
        before, here, after = cells
        return self.limiter(here - before, after - here)

    def __call__(self, *cells: Array) -> Array:
        return cells[self.reach] + self.difference(*cells) / 2


class Weno5(Reconstruction):
    """Three parabolas, weighted by how smooth each is: order 5 where all are (WENO-Z of Borges et
    al., J. Comput. Phys. 227 (2008) 3191).

    **Arguments**

    - `power`: of the ratio that lowers the weight of what is not smooth: 1 keeps fronts sharper, 2
      damps more.
    - `smooth`: differences between cells below this share of a value (of one, where the value is
      smaller: choose units in which the gas has values of about one) pass for smooth. A value is
      what is reconstructed: with `characteristic` an amplitude of a wave. At 0 the order is lost
      about extrema, where each parabola sees another slope; at 3e-3 a vortex has order 5, and the
      error of Sod's tube grows by 3 % on 100 cells, 9 % on 800 (Don and Borges, J. Comput. Phys.
      250 (2013) 347). Take it for shear layers too, across which the amplitudes of sound have a
      minimum at every face.

    Rounding passes for smooth in any case: weights of noise would be noise, and its gradient
    without bounds.

    **Raises** ValueError for a `smooth` below 0.
    """

    power: int = eqx.field(static=True, default=1)
    smooth: float = eqx.field(static=True, default=0.0)
    reach: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        checks.count("power", self.power)
        checks.non_negative("smooth", self.smooth)

    def __call__(self, *cells: Array) -> Array:
        a, b, c, d, e = cells
        parabolas = (
            (2 * a - 7 * b + 11 * c) / 6,
            (-b + 5 * c + 2 * d) / 6,
            (2 * c + 5 * d - e) / 6,
        )
        rough = (
            13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4,
            13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4,
            13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4,
        )
        share_of_value = max(1e3 * float(jnp.finfo(c.dtype).eps), self.smooth)
        least = 1e-10 * (rough[0] + rough[1] + rough[2]) + share_of_value**2 * (1 + c**2)
        overall = jnp.abs(rough[0] - rough[2])
        weights = [
            share * (1 + (overall / (each + least)) ** self.power)
            for share, each in zip((0.1, 0.6, 0.3), rough, strict=True)
        ]
        total = sum(weights[1:], start=weights[0])
        parts = [weight * each for weight, each in zip(weights, parabolas, strict=True)]
        return sum(parts[1:], start=parts[0]) / total


first_order = FirstOrder()
"""Constant in each cell."""
weno5 = Weno5()
"""WENO5-Z with the first power of the ratio; `Weno5(power=2)` has the square."""


def minmod(before: Float[Array, "..."], after: Float[Array, "..."]) -> Float[Array, "..."]:
    """The smaller of both differences, zero at an extremum: the most careful limiter."""
    same = before * after > 0
    smaller = jnp.where(jnp.abs(before) < jnp.abs(after), before, after)
    return jnp.where(same, smaller, 0.0)


def van_leer(before: Float[Array, "..."], after: Float[Array, "..."]) -> Float[Array, "..."]:
    """The harmonic mean of both differences, zero at an extremum."""
    product = before * after
    same = product > 0
    return jnp.where(same, 2 * product / jnp.where(same, before + after, 1.0), 0.0)


def monotonised_central(
    before: Float[Array, "..."], after: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The mean of both differences, at most twice the smaller, zero at an extremum (van Leer, J.
    Comput. Phys. 23 (1977) 276)."""
    smaller = minmod(before, after)
    return jnp.sign(smaller) * jnp.minimum(2 * jnp.abs(smaller), jnp.abs(before + after) / 2)


def superbee(before: Float[Array, "..."], after: Float[Array, "..."]) -> Float[Array, "..."]:
    """The larger of both differences, at most twice the smaller, zero at an extremum: it sharpens
    contacts, and makes steps of smooth slopes (P. L. Roe, Lect. Appl. Math. 22 (1985) 163)."""
    smaller = minmod(before, after)
    larger = jnp.maximum(jnp.abs(before), jnp.abs(after))
    return jnp.sign(smaller) * jnp.minimum(2 * jnp.abs(smaller), larger)


def muscl(limiter: Limiter) -> Muscl:
    """Second order away from extrema with a limiter: `minmod`, `van_leer`, `monotonised_central`,
    `superbee` or one of your own."""
    return Muscl(limiter=limiter)


Variables: TypeAlias = Callable[[Any, Array, int, Reconstruction], Array]
"""From an equation, states with ghost cells along an axis, that axis, and a reconstruction to the
conserved states `(value, 2, *faces)` below and above each face."""


def primitive(
    equation: ConservationLaw,
    state: Float[Array, "value *cells"],
    axis: int,
    reconstruction: Reconstruction,
) -> Float[Array, "value 2 *faces"]:
    """Reconstruct the primitive variables. Their means are taken to be those of the mean state:
    second order where the flow is smooth, and fewer oscillations at contacts."""
    cells = shifted(equation.primitive(state), axis, 2 * reconstruction.reach + 2)
    return equation.conserved(_both_edges(cells, reconstruction))


def primitive_lines(
    equation: ConservationLaw,
    state: Float[Array, "value *cells"],
    axis: int,
    reconstruction: Reconstruction,
) -> Float[Array, "value 2 *faces"]:
    """`primitive` for a line in each cell, which is limited once a cell and not once an edge: the
    states of `muscl(..)` at less cost.

    **Raises:** TypeError for a reconstruction without a `difference` across the cell.
    """
    difference = getattr(reconstruction, "difference", None)
    if difference is None:
        raise TypeError(
            "primitive_lines takes a reconstruction with a difference across each cell, such as "
            f"muscl(van_leer); got {type(reconstruction).__name__}"
        )
    values, place, count = equation.primitive(state), 1 + axis, 2 * reconstruction.reach + 1
    n = values.shape[place] - count + 1
    cells = [along(values, place, first, first + n) for first in range(count)]
    here, half = cells[reconstruction.reach], difference(*cells) / 2
    edges = along(here + half, place, 0, n - 1), along(here - half, place, 1, n)
    return equation.conserved(jnp.stack(edges, axis=1))


def characteristic(
    equation: ConservationLaw,
    state: Float[Array, "value *cells"],
    axis: int,
    reconstruction: Reconstruction,
) -> Float[Array, "value 2 *faces"]:
    """Reconstruct the amplitudes of the waves about the mean of the states on both sides of each
    face: the full order of the reconstruction, and the fewest oscillations where waves meet."""
    reach = reconstruction.reach
    cells = shifted(state, axis, 2 * reach + 2)
    mean = (cells[:, reach] + cells[:, reach + 1])[:, None] / 2
    waves = equation.to_waves(cells, mean, axis)
    return equation.from_waves(_both_edges(waves, reconstruction), mean, axis)


def _both_edges(cells: Array, reconstruction: Reconstruction) -> Array:
    """Of the cells `(value, count, *faces)` about each face, the values below and above it."""
    count = cells.shape[1]
    pairs = (jnp.stack([cells[:, k], cells[:, count - 1 - k]], axis=1) for k in range(count - 1))
    return reconstruction(*pairs)


def shifted(
    values: Float[Array, "value *cells"], axis: int, count: int
) -> Float[Array, "value count *faces"]:
    """`count` neighbours along an axis of space, over the faces between the middle ones."""
    faces = values.shape[1 + axis] - count + 1
    parts = [along(values, 1 + axis, first, first + faces) for first in range(count)]
    return jnp.stack(parts, axis=1)


FLOOR = 1e-3
"""Share that is kept of what has to be positive."""


def positivity(
    equation: ConservationLaw,
    wanted: Float[Array, "value *cells"],
    safe: Float[Array, "value *cells"],
) -> Float[Array, "*cells"]:
    """The share, 1 where nothing has to be done, up to which one may go from an admissible state
    towards a wanted one before what has to be positive (density, pressure) falls below a thousandth
    of that in the admissible state (X. Zhang and C.-W. Shu, J. Comput. Phys. 229 (2010) 8918)."""
    total = jnp.ones_like(safe[0])
    for name, held in equation.positive(safe).items():
        found = equation.positive(wanted)[name]
        low = found < FLOOR * held
        share = jnp.where(low, (1 - FLOOR) * held / jnp.where(low, held - found, 1.0), 1.0)
        wanted = jnp.where(low, safe + share * (wanted - safe), wanted)
        total = total * share
    return total
