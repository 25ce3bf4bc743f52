"""Trajectories as labelled arrays and NetCDF files, and back."""

import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.checks import DataError
from jaxpbdl.data.labelled import from_xarray, read_netcdf, to_xarray, write_netcdf

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")


@pytest.fixture
def flow():
    values = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 5)).astype(np.float32)
    axes = (np.arange(4) / 4, np.arange(5.0) * 2)
    return jp.data.Trajectories(values, np.array([0, 0.5, 1.0]), axes, ("u", "p"), {"re": 100.0})


def same(one, other):
    np.testing.assert_array_equal(one.values[:], other.values[:])
    np.testing.assert_array_equal(one.times, other.times)
    for a, b in zip(one.coordinates, other.coordinates, strict=True):
        np.testing.assert_array_equal(a, b)
    return one.channels == other.channels and one.parameters == other.parameters


def test_there_and_back(flow, tmp_path):
    dataset = to_xarray(flow)
    assert float(dataset.p.sel(trajectory=1, time=0.5, x=0.25, y=4.0)) == flow.values[1, 1, 1, 1, 2]
    assert same(from_xarray(dataset), flow)
    write_netcdf(tmp_path / "flow.nc", flow)
    assert same(jp.data.read(tmp_path / "flow.nc"), flow)


def test_other_names_orders_and_directions(flow):
    dataset = to_xarray(flow).rename(time="month", y="latitude", trajectory="member")
    dataset = dataset.transpose("x", "member", "latitude", "month").isel(
        latitude=slice(None, None, -1)
    )
    assert same(from_xarray(dataset, time="month", trajectory="member"), flow)
    one = from_xarray(dataset.isel(member=1, drop=True), ["p"], time="month")
    np.testing.assert_array_equal(one.values[0, :, 0], flow.values[1, :, 1])


def test_dates_are_seconds(flow):
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-04"], "datetime64[ns]")
    found = from_xarray(to_xarray(flow).assign_coords(time=dates))
    np.testing.assert_array_equal(found.times, [0, 86400, 3 * 86400])


def test_what_does_not_fit_is_refused(flow, tmp_path):
    dataset = to_xarray(flow)
    with pytest.raises(ValueError, match="no variable has the dimension 'hour'"):
        from_xarray(dataset, time="hour")
    with pytest.raises(ValueError, match="no variable v; found u, p"):
        from_xarray(dataset, ["v"])
    with pytest.raises(ValueError, match="must share their dimensions"):
        from_xarray(dataset.assign(q=dataset.u.isel(x=0, drop=True)))
    with pytest.raises(ValueError, match="of the values are not finite"):
        from_xarray(dataset.where(dataset.x > 0))
    with pytest.raises(ValueError, match="must be numbers or dates"):
        from_xarray(dataset.assign_coords(x=list("abcd")))
    with pytest.raises(DataError, match="no such file"):
        read_netcdf(tmp_path / "none.nc")
    (tmp_path / "bad.nc").write_bytes(b"CDF nonsense")
    with pytest.raises(DataError, match="bad.nc"):
        jp.data.read(tmp_path / "bad.nc")


def test_measured_winds_are_read():
    try:
        file = jp.data.find("winds")
    except DataError:
        pytest.skip("the data are not there")
    found = jp.data.read(file)
    assert found.channels == ("uwnd",) and found.grid_shape == (73, 144)
    assert found.coordinates[0][0] == -90 and 20 < np.abs(found.values[:]).max() < 150
