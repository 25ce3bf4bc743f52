"""Where a value lives in a mesh of cells: in a cell, on a face, along an edge, at a node."""

from typing import Literal, NamedTuple


class Location(NamedTuple):
    """A place that every cell of a mesh has; `cell`, `node`, `face(axis)` or `edge(axis)`.

    A face lies across its axis, an edge along it. In three dimensions the electric field of Yee's
    scheme lives on edges, the magnetic field on faces; in incompressible flow the pressure lives in
    cells, the velocity on faces.
    """

    kind: Literal["cell", "node", "face", "edge"]
    axis: int = 0

    def on_boundary(self, ndim: int) -> tuple[bool, ...]:
        """For each axis whether the value lies on the cells' boundaries along it; if not, at their
        centres."""
        if self.kind in ("cell", "node"):
            return (self.kind == "node",) * ndim
        if not 0 <= self.axis < ndim:
            raise ValueError(f"axis of a {self.kind} must be in 0..{ndim - 1}, got {self.axis}")
        return tuple((axis == self.axis) == (self.kind == "face") for axis in range(ndim))


cell = Location("cell")
node = Location("node")


def face(axis: int) -> Location:
    """The face across an axis, on the lower side of the cell."""
    return Location("face", axis)


def edge(axis: int) -> Location:
    """The edge along an axis, on the lower side of the cell."""
    return Location("edge", axis)
