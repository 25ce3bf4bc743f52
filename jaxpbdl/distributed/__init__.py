"""Work over several devices: members of an ensemble, points of a mean, a box."""

from jaxpbdl.distributed.checkpoints import load_state, save_state
from jaxpbdl.distributed.devices import mesh
from jaxpbdl.distributed.members import map_members
from jaxpbdl.distributed.points import sum_points
from jaxpbdl.distributed.space import scatter, space_mesh

__all__ = [
    "load_state",
    "map_members",
    "mesh",
    "save_state",
    "scatter",
    "space_mesh",
    "sum_points",
]
