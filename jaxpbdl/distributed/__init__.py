"""Work over several devices."""

from jaxpbdl.distributed.members import map_members

__all__ = ["map_members"]
