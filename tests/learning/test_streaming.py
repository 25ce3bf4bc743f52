"""Batches from disk are those of memory, and the memory stays flat."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Linear, mean_square, table

import jaxpbdl as jp
from jaxpbdl.learning import Stream, Windows, WindowsOnDisk, fit, fit_ensemble
from jaxpbdl.networks import ConvNet

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "flow.h5"
    values = np.random.default_rng(0).normal(size=(5, 7, 1, 16)).astype(np.float32)
    times, points = np.arange(7) * 0.5, (np.arange(16) / 16,)
    jp.data.write_pdebench(path, jp.data.Trajectories(values, times, points, ("u",)))
    return path, values


def test_windows_on_disk_are_those_of_the_file(file):
    path, values = file
    source = WindowsOnDisk(jp.data.read(path), steps=2, stride=2)
    assert len(source) == 5 * 3
    np.testing.assert_array_equal(source[np.array([0, 4, 14])][1], values[1, 1:6:2])
    batch = jax.jit(Stream(source, 64))(KEY)
    assert batch.shape == (64, 3, 1, 16)
    every = {window.tobytes() for window in source[np.arange(15)]}
    drawn = {np.asarray(window).tobytes() for window in batch}
    assert drawn <= every and len(drawn) > 10


def test_a_fit_from_disk_is_the_fit_from_memory():
    """The stream gets the very rows that the same key draws in memory."""

    class Rows:
        x, y = table()

        def __len__(self):
            return len(self.x)

        def __getitem__(self, index):
            return self.x[index], self.y[index]

    def memory(key):
        rows = jax.random.randint(key, (8,), 0, len(Rows.x))
        return jnp.asarray(Rows.x)[rows], jnp.asarray(Rows.y)[rows]

    stream, optimiser = Stream(Rows(), 8), optax.adam(0.1)
    found, expected = (
        fit(Linear(KEY), mean_square, batches, optimiser, 30, key=KEY, chunk=10, progress=False)
        for batches in (stream, memory)
    )
    np.testing.assert_allclose(found[1].loss, expected[1].loss, rtol=1e-5)
    keys = jax.random.split(KEY, 3)
    _, several = fit_ensemble(Linear, mean_square, stream, optimiser, 10, keys=keys, progress=False)
    _, same = fit_ensemble(Linear, mean_square, memory, optimiser, 10, keys=keys, progress=False)
    for one, other in zip(several, same, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)


def test_what_cannot_be_streamed_is_refused(file):
    trajectories = jp.data.read(file[0])
    with pytest.raises(ValueError, match="needs 9 of them, the trajectories have 7"):
        WindowsOnDisk(trajectories, 4, 2)
    with pytest.raises(ValueError, match="at least one sample"):
        Stream(np.zeros((0, 3)), 2)
    with pytest.raises(TypeError, match="source must have a length"):
        Stream(3, 2)

    class Damaged(np.ndarray):
        def __getitem__(self, index):
            if len(np.atleast_1d(index)) > 1:
                raise jp.checks.DataError("flow.h5: damaged")
            return super().__getitem__(index)

    with pytest.raises(Exception, match=r"flow\.h5: damaged"):
        jax.block_until_ready(jax.jit(Stream(np.zeros((4, 3)).view(Damaged), 2))(KEY))


def test_double_precision_is_kept_only_where_jax_has_it():
    source = np.arange(6.0).reshape(3, 2)
    assert Stream(source, 2)(KEY).dtype == jnp.float32


def test_the_memory_stays_flat(tmp_path):
    """A fit reads from a file of 400 MB, and the process grows by a tenth of that at most."""
    values = np.random.default_rng(0).normal(size=(100, 16, 1, 256, 256)).astype(np.float32)
    np.save(tmp_path / "flow.npy", values)
    code = f"""
import resource, jax, numpy as np, optax, jaxpbdl as jp
from jaxpbdl.learning import Stream, WindowsOnDisk, fit, one_step, Emulator
def grown(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
values = np.lib.format.open_memmap({str(tmp_path / "flow.npy")!r}, mode="r")
points = (np.arange(256) / 256,) * 2
flow = jp.data.Trajectories(values, np.arange(16.0), points, ("u",))
batches = Stream(WindowsOnDisk(flow, 1), 4)
network = jp.networks.ConvNet(2, 1, 1, width=2, depth=1, key=jax.random.key(0))
model, history = fit(network, one_step, batches, optax.adam(1e-3), 10, key=jax.random.key(0),
                     chunk=10, progress=False)
before = grown()
fit(model, one_step, batches, optax.adam(1e-3), 100, key=jax.random.key(1), chunk=10,
    progress=False)
print(grown() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 420 / 4, done.stdout


def test_windows_of_memory_and_disk_train_alike(file):
    """The loss of a network at its start, over many windows of each."""
    path, values = file
    network = ConvNet(1, 1, 1, width=4, depth=1, key=KEY)
    on_disk = Stream(WindowsOnDisk(jp.data.read(path), 1), 512)(KEY)
    in_memory = Windows(values, 1, 512)(jax.random.key(1))
    losses = [float(jp.learning.one_step(network, windows)) for windows in (on_disk, in_memory)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
