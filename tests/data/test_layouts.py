"""Every layout gives back what was written, and every damage is reported with the file's name."""

import signal
import subprocess
from dataclasses import replace
from functools import partial

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data import Trajectories, hdf5, read, verify, write_npz, write_pdebench, write_well


def make(grid=(6, 4), channels=("velocity_x", "velocity_y", "pressure"), rows=3, snapshots=5):
    values = np.random.default_rng(0).normal(size=(rows, snapshots, len(channels), *grid))
    return Trajectories(
        values.astype(np.float32),
        np.linspace(0, 1, snapshots),
        tuple((np.arange(n) + 0.5) / n for n in grid),
        channels,
        {"viscosity": 0.01},
    )


def well(path, data):
    write_well(path, data, name="test", boundary=("periodic",) * len(data.coordinates))


def seeds(path, data):
    with h5py.File(path, "w") as file:
        for row in range(len(data)):
            file[f"{row:04}/data"] = np.moveaxis(data.values[row], 1, -1)
            file[f"{row:04}/grid/t"] = data.times
            for axis, points in zip("xyz", data.coordinates, strict=False):
                file[f"{row:04}/grid/{axis}"] = points


def same(found, expected):
    np.testing.assert_array_equal(found.values[:], expected.values)
    assert found.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(found.times, expected.times)
    for a, b in zip(found.coordinates, expected.coordinates, strict=True):
        np.testing.assert_array_equal(a, b)


WRITERS = {"pdebench": write_pdebench, "well": well, "npz": write_npz}


def suffix(name):
    return "npz" if name == "npz" else "hdf5"


@pytest.mark.parametrize("grid", [(7,), (6, 4), (4, 3, 2)])
@pytest.mark.parametrize("channels", [("u",), ("pressure", "velocity_x", "velocity_y")])
@pytest.mark.parametrize("name", WRITERS)
def test_round_trip(tmp_path, name, grid, channels):
    data, path = make(grid, tuple(sorted(channels))), tmp_path / f"data.{suffix(name)}"
    WRITERS[name](path, data)
    found = read(path)
    assert sorted(found.channels) == sorted(data.channels)
    order = [found.channels.index(channel) for channel in data.channels]
    same(replace(found, values=found.values[:][:, :, order], channels=data.channels), data)
    assert found.parameters == pytest.approx(data.parameters)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_one_group_a_seed(tmp_path):
    data = make()
    seeds(tmp_path / "a.h5", data)
    same(read(tmp_path / "a.h5"), data)


def test_well_tensor_and_constant_fields(tmp_path):
    channels = ("s_xx", "s_xy", "s_yx", "s_yy", "u_x", "u_y", "density")
    data, path = make(channels=channels), tmp_path / "a.hdf5"
    well(path, data)
    with h5py.File(path, "a") as file:
        assert file["t2_fields/s"].shape == (3, 5, 6, 4, 2, 2)
        assert file["t1_fields/u"].shape == (3, 5, 6, 4, 2)
        file["t0_fields"].attrs["field_names"] = ["density", "mask"]
        mask = file["t0_fields"].create_dataset("mask", data=np.arange(6, dtype="f4"))
        mask.attrs.update(sample_varying=False, time_varying=False, dim_varying=[True, False])
    found = read(path)
    assert found.channels == ("density", "mask", "u_x", "u_y", "s_xx", "s_xy", "s_yx", "s_yy")
    np.testing.assert_array_equal(found.values[1, 2, 0], data.values[1, 2, 6])
    np.testing.assert_array_equal(found.values[1, 2, 2:4], data.values[1, 2, 4:6])
    np.testing.assert_array_equal(found.values[1, 2, 4:], data.values[1, 2, :4])
    masks = np.broadcast_to(np.arange(6), (2, 2, 6))
    np.testing.assert_array_equal(found.values[0:2, 1:3, 1, :, 3], masks)


def test_pdebench_quirks(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:  # one time too many, as in the published 1D files
        file["tensor"] = np.ones((2, 4, 8), np.float32)
        file["x-coordinate"], file["t-coordinate"] = np.arange(8.0), np.arange(5.0)
        file.attrs["Nu"] = 0.01
    found = read(path)
    assert found.channels == ("tensor",)
    np.testing.assert_array_equal(found.times, np.arange(4.0))  # the last one is dropped
    assert found.parameters == {"Nu": 0.01}


INDICES = [
    np.s_[0], np.s_[-1, 2], np.s_[1:, ::2], np.s_[::-1, 4:1:-1], np.s_[..., 0], np.s_[1, ..., 2],
    np.s_[[2, 0]], np.s_[np.array([1, 1]), 1:3, 0], np.s_[:, -2:, 1], np.s_[5:], np.s_[:, 1, :, 2],
    np.s_[np.array([0, 1]), ..., 0], np.s_[[]], np.s_[:, []], np.s_[:, [4, 0, -2]], np.s_[()],
    np.s_[[2, 0], [1, 4]], np.s_[[[2], [0]], [1, 4], 0], np.s_[np.array(1), np.int32(-1)],
    np.s_[np.array([True, False, True])], np.s_[:, np.arange(5) % 2 == 0], np.s_[1, :, [0, 2]],
    np.s_[np.arange(15).reshape(3, 5) % 4 == 0], np.s_[jnp.array([2, 0]), 1:], np.s_[jnp.int32(2)],
    np.s_[:, :, jnp.array([0, 1])], np.s_[..., jnp.array([True, False, True, False])],
]  # fmt: skip
WRONG = [
    np.s_[3], np.s_[[0, 3]], np.s_[:, -6], np.s_[[0, 1], [0, 1, 2]], np.s_[0.5], np.s_[..., 0, ...],
    np.s_[np.array([True, False])], np.s_[0, 0, 0, 0, 0, 0], np.s_[True], np.s_["a"], np.s_[None],
    np.s_[np.ones((3, 4), bool)],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("write", [write_pdebench, seeds, well])
def test_slicing_agrees_with_numpy(tmp_path, write, index):
    data, path = make(channels=("a", "b", "c")), tmp_path / "a.hdf5"
    write(path, data)
    np.testing.assert_array_equal(read(path).values[index], data.values[index])


@pytest.mark.parametrize("index", WRONG, ids=str)
def test_wrong_indices_are_refused_as_numpy_does(tmp_path, index):
    data, path = make(channels=("a", "b", "c")), tmp_path / "a.hdf5"
    write_pdebench(path, data)
    with pytest.raises(IndexError):
        read(path).values[index]


def test_a_batch_reads_only_its_trajectories(tmp_path):
    data, path = make(channels=("a", "b", "c")), tmp_path / "a.hdf5"
    write_pdebench(path, data)
    stored, wanted = read(path).values, []

    def noted(rows, snapshots):
        wanted.append((rows, snapshots))
        return stored.read(rows, snapshots)

    replace(stored, read=noted)[[2, 0, 2], 1:3]
    assert wanted == [(slice(0, 1), slice(1, 3)), (slice(2, 3), slice(1, 3))]


@pytest.mark.parametrize("name", WRITERS)
def test_every_flipped_bit_is_caught_or_harmless(tmp_path, name):
    data, path = make(), tmp_path / f"data.{suffix(name)}"
    WRITERS[name](path, data)
    whole, random = path.read_bytes(), np.random.default_rng(1)
    start = whole.index(data.values[0, :, 0].tobytes()[:16]) if name == "pdebench" else 0
    caught = 0
    for trial in range(60):
        damaged = bytearray(whole)
        at = start + trial if start and trial < 20 else int(random.integers(len(whole)))
        damaged[at] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            found = read(path)
            np.testing.assert_array_equal(np.sort(found.values[:], axis=2), np.sort(data.values, 2))
            assert not (start and trial < 20), "a flip in the values went unnoticed"
        except DataError as error:
            assert str(path) in str(error)
            caught += 1
    assert caught > 20


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_file(tmp_path, name, part):
    path = tmp_path / f"data.{suffix(name)}"
    WRITERS[name](path, make())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match="data"):
        read(path).values[:]


def test_fault_18_half_written_file_does_not_read_as_zeros(tmp_path):
    path = tmp_path / "a.hdf5"
    for chunks, rows in [((1, 4, 8), 2), (None, 0)]:
        with h5py.File(path, "w") as file:
            item = file.create_dataset("tensor", (3, 4, 8), "f4", chunks=chunks)
            if rows:
                item[:rows] = 1
            file["x-coordinate"], file["t-coordinate"] = np.arange(8.0), np.arange(4.0)
        with pytest.raises(DataError, match="incomplete"):
            read(path)


def unfinished(path, written, names=("tensor",), **options):
    """Three trajectories of four times, of which only those in `written` (a list of indices) were
    stored."""
    with h5py.File(path, "w") as file:
        file["x-coordinate"], file["t-coordinate"] = np.arange(8.0), np.arange(4.0)
        for name in names:
            item = file.create_dataset(name, (3, 4, 8), "f4", **options)
            for index in written:
                item[index] = 1
            written = written[:1] if name == names[0] else written


@pytest.mark.parametrize("written, options, message", [
    ([np.s_[0, 0]], {}, "trajectory 0, time 1, channels 0, where the snapshot before is not"),
    ([np.s_[0]], {}, "trajectory 1, all times, channels 0, where other trajectories are not"),
    ([np.s_[:, :2]], {"chunks": (1, 4, 8)}, "trajectory 0, time 2, channels 0"),
    ([np.s_[:2], np.s_[2, :3]], {}, "trajectory 2, time 3, channels 0"),
    ([np.s_[0, 0], np.s_[0, 2:], np.s_[1:]], {}, "trajectory 0, time 1, channels 0"),
    ([np.s_[0, :0]], {"chunks": (3, 4, 8)}, "all times, channels 0, where the file may hold"),
])  # fmt: skip
def test_fault_18_zeros_that_nobody_wrote_are_refused(tmp_path, written, options, message):
    path = tmp_path / "a.hdf5"
    unfinished(path, written, **options)
    if written == [np.s_[0, :0]]:
        with h5py.File(path, "a") as file:
            file["tensor"][:] = 0
    with pytest.raises(DataError, match=message) as caught:
        verify(path)
    assert str(path) in str(caught.value) and "zeros=True" in str(caught.value)
    verify(path, zeros=True)
    with pytest.raises(DataError, match=message):
        read(path).values[:]
    assert not np.all(read(path, zeros=True).values[:])


def test_fault_18_zeros_are_found_when_they_are_read(tmp_path):
    path = tmp_path / "a.hdf5"
    unfinished(path, [np.s_[0], np.s_[1, :2]])
    found = read(path)
    np.testing.assert_array_equal(found.values[:2, :2], 1)
    for index in (np.s_[1, 3], np.s_[2, 0], np.s_[[0, 2]]):
        with pytest.raises(DataError, match="zero everywhere at trajectory"):
            found.values[index]


def test_one_of_two_variables_was_not_written(tmp_path):
    path = tmp_path / "a.hdf5"
    unfinished(path, [np.s_[:2], np.s_[2]], names=("Vx", "density"))
    with pytest.raises(DataError, match="trajectory 2, all times, channels 1"):
        verify(path)


def test_fault_18_zeros_of_the_physics_pass(tmp_path):
    """A flow that starts at rest, and a component that no trajectory has."""
    path, data = tmp_path / "a.hdf5", make((8,), ("u", "v"))
    values = data.values.copy()
    values[:, 0], values[:, :, 1] = 0, 0
    values[:, :, 0, :4] = 0
    data = replace(data, values=values)
    for write in (write_pdebench, seeds, well):
        write(path, data)
        verify(path)
        np.testing.assert_array_equal(read(path).values[1, 0], 0)


def test_fault_18_external_values_cut_short(tmp_path):
    """Values in a file of their own read as zeros beyond its end."""
    path, raw = tmp_path / "a.hdf5", tmp_path / "raw"
    unfinished(path, [np.s_[:]], external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
    verify(path)
    raw.write_bytes(raw.read_bytes()[:-40])
    with pytest.raises(DataError, match=f"tensor' is incomplete: 40 of its bytes .*{raw}"):
        read(path)
    raw.unlink()
    with pytest.raises(DataError, match="384 of its bytes are not in"):
        read(path)


HEAP = {
    "pdebench": ("tensor", "channel", "vorticity"),
    "well": ("t0_fields", "field_names", ["vorticity"]),
}


@pytest.mark.parametrize("name", HEAP)
def test_fault_18_a_damaged_heap_of_texts_does_not_hang(tmp_path, monkeypatch, name):
    """Files of others hold texts of variable length; behind the name the heap is overwritten."""
    path, (where, attribute, text) = tmp_path / "a.hdf5", HEAP[name]
    WRITERS[name](path, make((8,), ("vorticity",)))
    with h5py.File(path, "a") as file:
        file[where].attrs[attribute] = text
    found = read(path)
    assert found.channels == ("vorticity",)
    whole = bytearray(path.read_bytes())
    heap = whole.index(b"GCOL")
    end = whole.index(b"vorticity", heap) + 9
    whole[end : heap + 512] = bytes(heap + 512 - end)
    path.write_bytes(whole)
    monkeypatch.setattr(hdf5, "SECONDS", 3)
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even one that hangs
    signal.alarm(60)
    try:
        with pytest.raises(DataError, match=f"{path}.*{attribute} could not be read within 3 s"):
            read(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", HEAP)
def test_own_files_have_no_heap(tmp_path, name):
    path = tmp_path / "a.hdf5"
    WRITERS[name](path, make())
    assert b"GCOL" not in path.read_bytes()


def test_names_may_have_any_letters(tmp_path):
    data, path = make((8,), ("Größe",)), tmp_path / "a.hdf5"
    for write in (write_pdebench, well):
        write(path, data)
        assert read(path).channels == ("Größe",)


def test_texts_are_read_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    path, calls = tmp_path / "a.hdf5", []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append(a) or run(*a, **k))
    for text in ("first", "second name"):
        write_pdebench(path, make((8,), ("u",)))
        with h5py.File(path, "a") as file:
            file["tensor"].attrs["channel"] = text
        assert read(path).channels == read(path).channels == (text,)
    assert len(calls) == 2


def test_a_matlab_file_is_named_as_such(tmp_path):
    with pytest.raises(DataError, match=r"a\.mat: a MATLAB file.*Trajectories.*read_wake"):
        read(tmp_path / "a.mat")


def edit(name, new):
    def change(file):
        del file[name]
        if new is not None:
            file[name] = new

    return change


NAN = np.where(np.arange(120).reshape(3, 5, 8) == 57, np.nan, 1.0)
FAULTS = {
    "no times": (edit("t-coordinate", None), "t-coordinate.*expected, found"),
    "no coordinates": (edit("x-coordinate", None), "unknown layout"),
    "no values": (edit("tensor", None), "no dataset with 3 axes"),
    "other shape": (edit("tensor", np.ones((3, 9, 8))), "must have shape .*got"),
    "wrong rank": (edit("tensor", np.ones((3, 8))), "no dataset with 3 axes"),
    "integers": (edit("tensor", np.ones((3, 5, 8), int)), "floating-point"),
    "empty": (edit("tensor", np.ones((0, 5, 8))), "empty"),
    "times go back": (edit("t-coordinate", np.array([0.0, 1, 3, 2, 4])), "times must increase"),
    "nan in coordinates": (edit("x-coordinate", np.full(8, np.nan)), "x must be a finite"),
    "nan in values": (edit("tensor", NAN), "not finite at trajectory 1, time 2, channel 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(tmp_path, fault):
    change, message = FAULTS[fault]
    path = tmp_path / "a.hdf5"
    write_pdebench(path, make((8,), ("u",)))
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        verify(path)
    assert str(path) in str(caught.value)


def test_faults_of_the_other_layouts(tmp_path):
    path = tmp_path / "a.hdf5"
    seeds(path, make())
    with h5py.File(path, "a") as file:
        edit("0001/data", np.ones((5, 6, 4, 2), "f4"))(file)
    with pytest.raises(DataError, match="0001/data must have shape"):
        read(path)
    well(path, make(channels=("u", "v")))
    with h5py.File(path, "a") as file:
        edit("t0_fields/v", np.ones((3, 5, 6, 5)))(file)
    with pytest.raises(DataError, match="t0_fields/v must have shape"):
        read(path)
    path.write_text("not HDF5")
    with pytest.raises(DataError, match="a.hdf5"):
        read(path)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.hdf5")


class Trap:
    def __reduce__(self):
        return (partial(open, "marker", "w"), ())


def test_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", values=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="allow_pickle"):
        read("a.npz")
    assert not (tmp_path / "marker").exists()


def test_failed_write_keeps_the_old_file(tmp_path):
    path, data = tmp_path / "a.hdf5", make()
    write_pdebench(path, data)

    class Broken:
        shape, dtype = data.values.shape, data.values.dtype

        def __getitem__(self, index):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_pdebench(path, replace(data, values=Broken()))
    same(replace(read(path), values=read(path).values[:][:, :, [1, 2, 0]]), data)
    assert len(list(tmp_path.iterdir())) == 1


def test_lengths():
    assert make((8, 4)).lengths == pytest.approx((1, 1))
    with pytest.raises(ValueError, match="evenly"):
        replace(make((4,), ("u",)), coordinates=(np.array([0.0, 1, 2, 9]),)).lengths  # noqa: B018
