"""Which components of the electric and magnetic fields there are, and where each one lives.

Coordinates are x, y, z = 0, 1, 2 whatever the dimension of the grid; nothing depends on those that
the grid does not have. An electric component lives on the edges along its axis, a magnetic one on
the faces across it (K. S. Yee, IEEE Trans. Antennas Propag. 14 (1966) 302).
"""

from typing import NamedTuple

from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.location import Location, cell, edge, face, node

NAMES = "xyz"


class Components(NamedTuple):
    """The axes of the electric and of the magnetic components that are computed."""

    electric: tuple[int, ...]
    magnetic: tuple[int, ...]


full = Components((0, 1, 2), (0, 1, 2))
"""All six; the only choice in three dimensions."""
tm = Components((2,), (0, 1))
"""E_z, H_x and H_y, in two dimensions: the electric field along the axis that is left out."""
te = Components((0, 1), (2,))
"""E_x, E_y and H_z, in two dimensions: the magnetic field along the axis that is left out."""
ez_hy = Components((2,), (1,))
"""In one dimension, polarised along z."""
ey_hz = Components((1,), (2,))
"""In one dimension, polarised along y."""


class CurlTerm(NamedTuple):
    """One derivative in a component of a curl: `sign * d(component)/d(axis)`."""

    sign: int
    axis: int
    component: int


def permutation_sign(a: int, b: int, c: int) -> int:
    """Of (a, b, c) as an order of (0, 1, 2); zero if one of them occurs twice."""
    return (a - b) * (b - c) * (c - a) // 2


def curl_terms(component: int, ndim: int) -> tuple[CurlTerm, ...]:
    """Of the component of a curl on a grid of `ndim` axes."""
    found = []
    for axis in range(ndim):
        if axis != component:
            other = 3 - axis - component
            found.append(CurlTerm(permutation_sign(component, axis, other), axis, other))
    return tuple(found)


def electric_location(component: int, ndim: int) -> Location:
    """The edge along the component's axis; a node where the grid does not have that axis."""
    return edge(component) if component < ndim else node


def magnetic_location(component: int, ndim: int) -> Location:
    """The face across the component's axis; the cell where the grid does not have that axis."""
    return face(component) if component < ndim else cell


def checked(components: Components | None, grid: Cells) -> Components:
    """The components, all six by default in three dimensions. Raises ValueError for none in one or
    two dimensions, and for a choice whose curls need a component that it leaves out."""
    if grid.ndim > 3:
        raise ValueError(f"the grid must have 1 to 3 axes, got shape {grid.shape}")
    if components is None:
        if grid.ndim == 3:
            return full
        choice = "ez_hy, ey_hz" if grid.ndim == 1 else "tm, te"
        raise ValueError(
            f"components must be given on a grid of {grid.ndim} axes: one of {choice}, full"
        )
    for kind, axes, others in (
        ("E", components.electric, components.magnetic),
        ("H", components.magnetic, components.electric),
    ):
        if not axes or sorted(set(axes)) != list(axes) or not set(axes) <= {0, 1, 2}:
            raise ValueError(f"axes of components must rise within 0..2, got {components}")
        other = "H" if kind == "E" else "E"
        for component in axes:
            for term in curl_terms(component, grid.ndim):
                if term.component not in others:
                    raise ValueError(
                        f"components have {kind}_{NAMES[component]}, which needs "
                        f"{other}_{NAMES[term.component]} on a grid of {grid.ndim} axes; "
                        f"got {components}"
                    )
    return components
