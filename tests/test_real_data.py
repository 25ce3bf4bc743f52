"""Tests on real data cannot vanish: a file that is missing in the data folder is a failure."""

import pytest

from tests.conftest import locate


def test_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXPBDL_DATA", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="a/b.npz is missing in the data folder"):
        locate("a/b.npz")
    (tmp_path / "b.npz").touch()
    assert locate("b.npz") == tmp_path / "b.npz"


def test_no_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXPBDL_DATA", str(tmp_path / "absent"))
    with pytest.raises(pytest.skip.Exception, match="there is no data folder"):
        locate("b.npz")
