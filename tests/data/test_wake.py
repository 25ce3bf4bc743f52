"""The cylinder wake goes back on its grid, and a missing file says where to get it."""

import numpy as np
import pytest
from scipy.io import savemat

from jaxpbdl.checks import DataError
from jaxpbdl.data import find, read_wake
from jaxpbdl.data.locate import VARIABLE


def scattered(shuffle=True):
    """A small file of the same keys holding solid-body rotation, whose vorticity is 2."""
    x, y, t = np.linspace(1, 8, 7), np.linspace(-2, 2, 5), np.arange(3.0)
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    if shuffle:
        points = np.random.default_rng(0).permutation(points)
    velocity = np.stack([-points[:, 1], points[:, 0]], 1)[:, :, None] + t
    pressure = points[:, :1] + 10 * points[:, 1:] + t
    return {"X_star": points, "t": t[:, None], "U_star": velocity, "p_star": pressure}


@pytest.mark.parametrize("write", [lambda p, d: np.savez(p, **d), savemat])
def test_points_go_back_on_the_grid(tmp_path, write):
    path = tmp_path / f"wake.{'mat' if write is savemat else 'npz'}"
    write(path, scattered())
    wake = read_wake(path)
    assert wake.velocity.shape == (3, 2, 7, 5) and wake.times.shape == (3,)
    np.testing.assert_allclose(wake.vorticity, 2.0)
    x, y = np.meshgrid(wake.x, wake.y, indexing="ij")
    np.testing.assert_allclose(wake.pressure[2], x + 10 * y + 2)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.pop("p_star"), "no array p_star; found"),
        (lambda d: d.update(X_star=d["X_star"] + np.arange(35)[:, None]), "do not form a grid"),
        (lambda d: d.update(t=np.arange(4.0)), "U_star must have shape"),
        (lambda d: d.update(p_star=d["p_star"] * np.nan), "p_star is not finite"),
    ],
)
def test_faults(tmp_path, change, message):
    parts = scattered()
    change(parts)
    np.savez(tmp_path / "wake.npz", **parts)
    with pytest.raises(DataError, match=message):
        read_wake(tmp_path / "wake.npz")


def test_damaged_matlab_file(tmp_path):
    path = tmp_path / "wake.mat"
    savemat(path, scattered())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"wake\.mat"):
        read_wake(path)


def test_find(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataError, match="(?s)maziarraissi.*MIT.*--data FILE.*JAXPBDL_DATA"):
        find("cylinder-wake")
    with pytest.raises(DataError, match="absent"):
        find("cylinder-wake", given=tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="cylinder-wake"):
        find("cylinder")
    given = tmp_path / "mine.npz"
    given.touch()
    assert find("cylinder-wake", given=given) == given
    below = tmp_path / "pinns-raissi" / "cylinder_nektar_wake.mat"
    below.parent.mkdir()
    below.touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find("cylinder-wake") == below


def test_the_published_file(real_data):
    wake = read_wake(real_data("pinns-raissi/cylinder_nektar_wake_f32.npz"))
    assert wake.velocity.shape == (200, 2, 100, 50)
    divergence = np.gradient(wake.velocity[:, 0], wake.x, axis=1) + np.gradient(
        wake.velocity[:, 1], wake.y, axis=2
    )
    inside = np.s_[:, 1:-1, 1:-1]  # one-sided differences at the edges are less accurate
    assert np.std(divergence[inside]) < 0.03 * np.std(wake.vorticity[inside])
