"""Data sets: where they lie, readers of published layouts, writers of the same layouts."""

from jaxpbdl.data.archive import write_npz
from jaxpbdl.data.detect import read, verify
from jaxpbdl.data.locate import find
from jaxpbdl.data.molecules import (
    as_ase,
    from_ase,
    read_xyz,
    reference_energies,
    write_xyz,
)
from jaxpbdl.data.pdebench import write_pdebench
from jaxpbdl.data.trajectories import Trajectories
from jaxpbdl.data.wake import Wake, read_wake
from jaxpbdl.data.well import write_well

__all__ = [
    "Trajectories",
    "Wake",
    "as_ase",
    "find",
    "from_ase",
    "read",
    "read_wake",
    "read_xyz",
    "reference_energies",
    "verify",
    "write_npz",
    "write_pdebench",
    "write_well",
    "write_xyz",
]
