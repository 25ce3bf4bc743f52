"""What the sides of a box do to electric and magnetic fields: conductors and absorbing layers."""

from collections.abc import Sequence
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxpbdl import checks
from jaxpbdl.grids.cells import Cells


class Side(eqx.Module):
    """One side of the box: `pec`, `pmc` or `absorbing(cells)`.

    **Attributes:**

    - `conducting`: whether the tangential electric field is zero on it; if not, the tangential
      magnetic field is.
    - `cells`: thickness of an absorbing layer before it, 0 for none.
    - `order`, `strength`, `stretch`, `shift`: of that layer, see `absorbing`.
    """

    conducting: bool = eqx.field(static=True, default=True)
    cells: int = eqx.field(static=True, default=0)
    order: float = eqx.field(static=True, default=3.0)
    strength: float = eqx.field(static=True, default=0.8)
    stretch: float = eqx.field(static=True, default=1.0)
    shift: float = eqx.field(static=True, default=0.0)


pec = Side()
"""A perfect electric conductor: no tangential electric field. Also the plane about which a
tangential electric field is odd."""
pmc = Side(conducting=False)
"""A perfect magnetic conductor: no tangential magnetic field. Also the plane about which a
tangential electric field is even."""


def absorbing(
    cells: int = 10,
    *,
    order: float = 3.0,
    strength: float = 0.8,
    stretch: float = 1.0,
    shift: float = 0.02,
) -> Side:
    """A convolutional perfectly matched layer (J. A. Roden and S. D. Gedney, Microw. Opt. Technol.
    Lett. 27 (2000) 334) of some cells before a conductor.

    With rho from 0 at its inner face to 1 at the conductor, and h the width of a cell,

        conductivity(rho) = strength (order + 1) / h * rho^order
        kappa(rho) = 1 + (stretch - 1) rho^order,   alpha(rho) = shift (1 - rho) / h

    **Arguments:** `strength`, 0.8 in vacuum, 0.8 over the refractive index in a medium; `stretch`
    >= 1, more than 1 for evanescent waves; `shift` >= 0, for low frequencies.
    """
    checks.count("cells", cells)
    for name, value in {"order": order, "strength": strength}.items():
        checks.positive(name, value)
    checks.non_negative("shift", shift)
    if stretch < 1:
        raise ValueError(f"stretch must be at least 1, got {stretch}")
    return Side(True, int(cells), float(order), float(strength), float(stretch), float(shift))


class Bloch(eqx.Module):
    """Both sides of a periodic axis, across which the fields turn; created by `bloch`."""

    phase: Array = eqx.field(converter=checks.as_floats)


def bloch(phase: ArrayLike) -> Bloch:
    """Sides of a periodic axis for Bloch's waves of a lattice: with `L` the length of the axis,

        F(x + L) = F(x) exp(i phase)

    so that `phase` is the wavenumber times L. The fields are complex. It may be traced.
    """
    checks.finite("phase", phase)
    checks.shape("phase", phase, ())
    return Bloch(phase)


Sides: TypeAlias = Sequence[None | Bloch | Side | tuple[Side, Side]]
"""One entry per axis: the lower and the upper side, one for both; for a periodic axis None or
`bloch(phase)`."""
Pairs: TypeAlias = tuple[tuple[Side, Side] | None, ...]


def pairs_of(sides: Sides | None, grid: Cells) -> Pairs:
    """The lower and upper side of each axis, perfect electric conductors by default.

    Raises ValueError for another number of axes, a periodic axis with sides, and absorbing layers
    that leave no cell between them.
    """
    given = (None,) * grid.ndim if sides is None else tuple(sides)
    if len(given) != grid.ndim:
        raise ValueError(f"sides must have {grid.ndim} entries, one per axis; got {len(given)}")
    pairs: list[tuple[Side, Side] | None] = []
    for axis, (one, periodic) in enumerate(zip(given, grid.periodic, strict=True)):
        if periodic:
            if not (one is None or isinstance(one, Bloch)):
                raise ValueError(
                    f"axis {axis} is periodic, its entry of sides must be None or bloch(phase)"
                )
            pairs.append(None)
            continue
        if isinstance(one, Bloch):
            raise ValueError(f"axis {axis} must be a periodic one of the grid for bloch(phase)")
        pair = one if isinstance(one, tuple) else (one or pec, one or pec)
        layers = pair[0].cells + pair[1].cells
        if layers >= grid.shape[axis]:
            raise ValueError(
                f"absorbing layers on axis {axis} must take less than its {grid.shape[axis]} "
                f"cells, got {pair[0].cells} + {pair[1].cells}"
            )
        pairs.append(pair)
    return tuple(pairs)


Turns: TypeAlias = tuple[Array | None, ...]
"""For each axis what fields are multiplied by once round it, None where they stay the same."""


def turns_of(sides: Sides | None, grid: Cells) -> Turns:
    """exp(i phase) of each axis with Bloch's sides."""
    given = (None,) * grid.ndim if sides is None else tuple(sides)
    dtype = jnp.result_type(grid.dtype, jnp.complex64)
    return tuple(
        jnp.exp(1j * one.phase).astype(dtype) if isinstance(one, Bloch) else None for one in given
    )


def inner_bounds(pairs: Pairs, grid: Cells) -> tuple[tuple[float, float], ...]:
    """Along each axis, where the part of the box between the absorbing layers starts and ends."""
    bounds = []
    for pair, line in zip(pairs, grid.edges, strict=True):
        lower, upper = (0, 0) if pair is None else (pair[0].cells, pair[1].cells)
        bounds.append((line[lower], line[len(line) - 1 - upper]))
    return tuple(bounds)


def require_inside(name: str, place: Sequence[float], pairs: Pairs, grid: Cells) -> None:
    """Raise ValueError for a place outside of the box or in an absorbing layer."""
    if len(place) != grid.ndim:
        raise ValueError(f"{name} must have {grid.ndim} coordinates, got {tuple(place)}")
    for axis, (x, line, inner) in enumerate(
        zip(place, grid.edges, inner_bounds(pairs, grid), strict=True)
    ):
        slack = 1e-9 * (line[-1] - line[0])
        for limits, where in (((line[0], line[-1]), "the domain"), (inner, "the absorbing layer")):
            if not limits[0] - slack <= x <= limits[1] + slack:
                problem = "outside" if where == "the domain" else "inside"
                raise ValueError(
                    f"{name} {tuple(place)} is {problem} {where}: coordinate {axis} must be within "
                    f"{inner[0]:.6g}..{inner[1]:.6g}"
                )


def wall_lines(pairs: Pairs, grid: Cells, nodal: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
    """Along each axis, 0 at a conducting side and 1 elsewhere, for a component with values on the
    sides of the `nodal` axes; None where it is 1 throughout."""
    lines: list[np.ndarray | None] = []
    for axis, (pair, on_side) in enumerate(zip(pairs, nodal, strict=True)):
        if pair is None or not on_side or not any(side.conducting for side in pair):
            lines.append(None)
            continue
        line = np.ones(grid.shape[axis] + 1)
        line[0], line[-1] = (0.0 if side.conducting else 1.0 for side in pair)
        lines.append(line)
    return tuple(lines)
