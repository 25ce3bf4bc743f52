"""Work over several devices: members of an ensemble, points of a mean, a box."""

from jaxpbdl.distributed.devices import mesh
from jaxpbdl.distributed.members import map_members
from jaxpbdl.distributed.points import sum_points
from jaxpbdl.distributed.space import scatter, space_mesh

__all__ = ["map_members", "mesh", "scatter", "space_mesh", "sum_points"]
