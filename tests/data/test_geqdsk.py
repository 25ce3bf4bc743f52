"""The G-EQDSK format: files written here, and what is refused."""

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.geqdsk import read_geqdsk


def text(header, *blocks, boundary, limiter):
    """A file in Fortran's fixed fields, five of 16 characters a line and no space between them."""

    def fields(values):
        lines = np.array_split(values, range(5, len(values), 5))
        return "".join("".join(f"{v:16.9E}" for v in line) + "\n" for line in lines)

    sizes = f"{len(boundary):5d}{len(limiter):5d}\n"
    return (
        header
        + "".join(map(fields, (*blocks, sizes)[:-1]))
        + sizes
        + "".join(fields(np.ravel(points)) for points in (boundary, limiter))
    )


def written(folder, header=None, axis_flux=-1.5):
    nr, nz = 3, 4
    whole = [2.0, 3.0, 1.1, 0.5, -0.25, 1.4, -0.05, axis_flux, -0.5, 5.3, -1.2e6] + 9 * [0.0]
    tables = [-10.0 * k - np.arange(nr) for k in range(1, 5)]
    psi = np.arange(nr)[:, None] - 10.0 * np.arange(nz)
    content = text(
        header or f"{'EFIT 2026 of 4 9':<48}{3:4d}{nr:4d}{nz:4d}\n",
        np.array(whole), *tables, psi.T.ravel(), np.array([1.0, 2.0, -3.0]),
        boundary=np.array([[1.0, -1.0], [2.0, -2.0]]), limiter=-np.ones((3, 2)),
    )  # fmt: skip
    path = folder / "one.eqdsk"
    path.write_text(content)
    return path, content, psi


def test_every_part(tmp_path):
    path, content, psi = written(tmp_path)
    assert "E+00-" in content
    found = read_geqdsk(path)
    np.testing.assert_allclose(found.r, [0.5, 1.5, 2.5])
    np.testing.assert_allclose(found.z, [-1.75, -0.75, 0.25, 1.25])
    np.testing.assert_array_equal(found.psi, psi)
    np.testing.assert_array_equal(found.axis, [1.4, -0.05])
    assert (found.axis_flux, found.boundary_flux, found.current) == (-1.5, -0.5, -1.2e6)
    names = ("f", "pressure", "field_slope", "pressure_slope")
    for k, name in enumerate(names, 1):
        np.testing.assert_array_equal(getattr(found, name), -10.0 * k - np.arange(3))
    np.testing.assert_array_equal(found.q, [1, 2, -3])
    np.testing.assert_array_equal(found.boundary, [[1, -1], [2, -2]])
    np.testing.assert_array_equal(found.limiter, -np.ones((3, 2)))


def test_damaged_files(tmp_path):
    path, content, _ = written(tmp_path)
    with pytest.raises(DataError, match="missing: not a readable text file"):
        read_geqdsk(tmp_path / "missing")
    path.write_text(content[:-40])
    with pytest.raises(DataError, match="3 x 4 nodes need 59 numbers, found 5"):
        read_geqdsk(path)
    path.write_text(content[:400])
    with pytest.raises(DataError, match="3 x 4 nodes need"):
        read_geqdsk(path)
    with pytest.raises(DataError, match="no nodes along R and Z after column 48 of 'EFIT 3'"):
        read_geqdsk(written(tmp_path, header="EFIT 3\n")[0])
    with pytest.raises(DataError, match="axis and boundary have one flux, -0.5"):
        read_geqdsk(written(tmp_path, axis_flux=-0.5)[0])
