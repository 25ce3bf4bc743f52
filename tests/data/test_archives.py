"""Archives in which any byte is wrong: the data are right, or a `DataError` names the file."""

import zipfile

import numpy as np
import pytest
from scipy.io import savemat

from jaxpbdl.checks import DataError
from jaxpbdl.data import find, locate, write_npz
from jaxpbdl.data.airfoils import read_airfoils
from jaxpbdl.data.archive import arrays
from jaxpbdl.data.matlab import read_mat
from jaxpbdl.data.wake import KEYS, read_wake
from tests.data.test_layouts import make
from tests.data.test_wake import scattered

NUMBERS = {"x": np.linspace(0, 1, 5), "usol": np.arange(10.0).reshape(5, 2) / 7}


def outline(path):
    angle = np.linspace(0, 2 * np.pi, 25)
    lines = [f"{0.5 + 0.5 * np.cos(a):.4f} {0.1 * np.sin(a):.4f}" for a in angle]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ellipse.dat", "\n".join(["an ellipse", *lines]))
        archive.writestr("thin.dat", "\n".join(["another", *lines[::2]]))


CASES = {
    "airfoils.zip": (outline, read_airfoils),
    "arrays.npz": (lambda path: np.savez_compressed(path, **NUMBERS), lambda p: arrays(p, ("x",))),
    "reference.mat": (
        lambda path: savemat(path, NUMBERS, do_compression=True),
        lambda path: read_mat(path, ("x", "usol")),
    ),
    "wake.mat": (
        lambda path: savemat(path, scattered(), do_compression=True),
        lambda path: vars(read_wake(path)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_byte_inverted(tmp_path, name):
    write, read = CASES[name]
    path, caught = tmp_path / name, 0
    write(path)
    whole, right = path.read_bytes(), read(path)
    for at in range(0, len(whole), 1 + len(whole) // 1500):
        damaged = bytearray(whole)
        damaged[at] ^= 255
        path.write_bytes(damaged)
        try:
            found = read(path)
            for key, values in right.items():
                np.testing.assert_array_equal(found[key], values, f"byte {at}, {key}")
        except DataError as error:
            assert str(path) in str(error)
            caught += 1
    assert caught > 50


@pytest.mark.parametrize("name", CASES)
def test_every_length(tmp_path, name):
    write, read = CASES[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 1 + len(whole) // 300):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            read(path)
    path.unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        read(path)


def test_a_member_that_is_no_array(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, make())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "text")
    with pytest.raises(DataError, match=r"a\.npz: its member 'notes.txt' is no array"):
        arrays(path, ("values",))


def test_an_encrypted_zip(tmp_path):
    path = tmp_path / "a.zip"
    outline(path)
    whole = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + flags] |= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"a\.zip.*encrypted"):
        read_airfoils(path)


def test_matlab_files_of_other_kinds(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, NUMBERS)
    with pytest.raises(DataError, match=r"no array p_star, t; found x, usol|found -"):
        read_mat(path, ("p_star", "t"))
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + bytes(512))
    with pytest.raises(DataError, match="of a version that SciPy does not read"):
        read_wake(path)
    savemat(path, {name: np.full(3, np.nan) for name in KEYS})
    with pytest.raises(DataError, match="X_star is not finite"):
        read_wake(path)


def test_a_file_that_differs_from_the_published_one(tmp_path):
    path = tmp_path / "NLS.mat"
    path.write_bytes(b"something else")
    with pytest.warns(UserWarning, match=r"NLS\.mat is not the published file .*schroedinger"):
        assert find("schroedinger", given=path) == path


def test_published_files_are_known(real_data, recwarn):
    known = {name: source for name, source in locate.SOURCES.items() if source.sha256}
    assert len(known) == 23
    for name, source in known.items():
        find(name, given=real_data(source.files[0]))
    assert not [w for w in recwarn if "published file" in str(w.message)]
