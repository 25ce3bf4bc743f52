"""Which layout a file has."""

from pathlib import Path

from jaxpbdl.checks import DataError
from jaxpbdl.data import hdf5
from jaxpbdl.data.archive import read_npz
from jaxpbdl.data.labelled import read_netcdf
from jaxpbdl.data.pdebench import is_by_seed, is_by_variable, read_by_seed, read_by_variable
from jaxpbdl.data.trajectories import Trajectories
from jaxpbdl.data.well import is_well, read_well

LAYOUTS = ((is_well, read_well), (is_by_variable, read_by_variable), (is_by_seed, read_by_seed))
EXPECTED = (
    "expected one dataset a variable beside x-coordinate (PDEBench), one group a seed with data "
    "and grid (PDEBench), t0_fields and dimensions (The Well), or an .npz archive with values"
)


def read(path: str | Path, *, zeros: bool = False) -> Trajectories:
    """Read trajectories of any known layout; HDF5 values stay on disk until they are indexed.

    Args:
        zeros: accept snapshots that are zero everywhere after one that is not, and trajectories of
            zeros beside others. HDF5 reads what was never written as zeros, so that by default
            both count as a file whose writer died.

    Raises `DataError` for a missing or damaged file, or one of another layout; indexing HDF5 values
    raises it for damaged ones.
    """
    path = Path(path)
    if path.suffix == ".mat":
        raise DataError(
            f"{path}: a MATLAB file, whose arrays have no layout of their own. Read them with "
            "scipy.io.loadmat and pass them to jaxpbdl.data.Trajectories; the published cylinder "
            "wake is read by jaxpbdl.data.read_wake"
        )
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix in (".nc", ".nc4"):
        return read_netcdf(path)
    with hdf5.opened(path) as file:
        reader = next((reader for matches, reader in LAYOUTS if matches(file)), None)
        if reader is None:
            raise ValueError(f"unknown layout, found {hdf5.listing(file)}; {EXPECTED}")
    return reader(path, zeros)


def verify(path: str | Path, *, zeros: bool = False) -> None:
    """Read every value once, one trajectory at a time, so that damage shows before a long run.

    Args:
        zeros: as in `read`.

    Raises `DataError` at the first damaged, missing or non-finite value.
    """
    trajectories = read(path, zeros=zeros)
    for row in range(len(trajectories)):
        trajectories.values[row]
