"""Data sets: where they lie, readers of published layouts, writers of the same layouts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxpbdl.data.archive import write_npz
from jaxpbdl.data.locate import find
from jaxpbdl.data.molecules import (
    as_ase,
    from_ase,
    read_xyz,
    reference_energies,
    write_xyz,
)
from jaxpbdl.data.trajectories import Trajectories
from jaxpbdl.data.wake import Wake, read_wake

if TYPE_CHECKING:
    from jaxpbdl.data.detect import read, verify
    from jaxpbdl.data.labelled import from_xarray, read_netcdf, to_xarray, write_netcdf
    from jaxpbdl.data.matlab import read_mat
    from jaxpbdl.data.pdebench import write_pdebench
    from jaxpbdl.data.well import write_well

__all__ = [
    "Trajectories",
    "Wake",
    "as_ase",
    "find",
    "from_ase",
    "from_xarray",
    "read",
    "read_mat",
    "read_netcdf",
    "read_wake",
    "read_xyz",
    "reference_energies",
    "to_xarray",
    "verify",
    "write_netcdf",
    "write_npz",
    "write_pdebench",
    "write_well",
    "write_xyz",
]

# These modules load h5py, xarray or scipy; they wait for the first use.
_MODULES = {
    "from_xarray": "labelled", "read_netcdf": "labelled", "to_xarray": "labelled",
    "write_netcdf": "labelled", "read": "detect", "verify": "detect",
    "read_mat": "matlab",
    "write_pdebench": "pdebench", "write_well": "well",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
