"""Work over several devices: members of an ensemble, points of a mean."""

from jaxpbdl.distributed.devices import mesh
from jaxpbdl.distributed.members import map_members
from jaxpbdl.distributed.points import sum_points

__all__ = ["map_members", "mesh", "sum_points"]
