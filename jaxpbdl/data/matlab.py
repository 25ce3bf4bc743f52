"""Arrays of MATLAB files (.mat up to version 7), with every fault turned into a `DataError`.

Compressed arrays, as MATLAB writes them by default, carry a checksum. Those of an uncompressed file
(`scipy.io.savemat` without `do_compression`) do not: a damaged number in them is not noticed,
unless the file is one that `data.find` knows by its own checksum.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxpbdl.checks import DataError


def read_mat(path: str | Path, expected: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a file, only those of `expected` if any are.

    Raises `DataError` for a missing or damaged file, an absent array of `expected`, or numbers that
    are not finite.
    """
    from scipy.io import loadmat  # slow to load, and not for `import jaxpbdl`

    try:
        with open(path, "rb") as file:
            content = loadmat(file, variable_names=list(expected) or None)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except NotImplementedError as error:
        raise DataError(f"{path}: of a version that SciPy does not read: {error}") from error
    except Exception as error:  # a damaged file raises almost anything
        raise DataError(f"{path}: damaged, or not a MATLAB file: {error}") from error
    found = {name: np.asarray(v) for name, v in content.items() if not name.startswith("__")}
    missing = [name for name in expected if name not in found]
    if missing:
        raise DataError(f"{path}: no array {', '.join(missing)}; found {', '.join(found) or '-'}")
    for name, values in found.items():
        if values.dtype.kind in "fc" and not np.all(np.isfinite(values)):
            raise DataError(f"{path}: {name} is not finite")
    return found
