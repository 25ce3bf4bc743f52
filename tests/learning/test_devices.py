"""Fits with several devices and several processes, and one trace for each shape."""

import socket
import subprocess
import sys

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Batches, Linear, mean_square, table

from jaxpbdl import distributed, learning
from jaxpbdl.checks import RunFolderError


def ensemble(folder, steps, mesh):
    keys = jax.random.split(jax.random.key(0), 2)
    return learning.fit_ensemble(
        Linear, mean_square, Batches(*map(jnp.asarray, table())), optax.adam(0.05), steps,
        keys=keys, mesh=mesh, chunk=5, folder=folder, progress=False,
    )[0]  # fmt: skip


def test_fault_21_a_fit_goes_on_with_another_number_of_devices(tmp_path):
    both, first = (distributed.mesh("member", jax.devices()[:count]) for count in (2, 1))
    assert both.size == 2  # see conftest
    whole = ensemble(tmp_path / "whole", 10, both)
    for before, after in ((both, first), (first, both)):
        folder = tmp_path / f"{before.size} then {after.size}"
        ensemble(folder, 5, before)
        np.testing.assert_allclose(ensemble(folder, 10, after).weight, whole.weight, rtol=1e-5)


@pytest.mark.parametrize("per_chunk", (False, True))
def test_a_batch_is_shared_by_devices(tmp_path, per_chunk):
    """The numbers of one device; each works on its part; a checkpoint serves any number."""
    data, parts = Batches(*map(jnp.asarray, table())), []

    def loss(model, batch):
        jax.debug.inspect_array_sharding(batch[0], callback=parts.append)
        return mean_square(model, batch)

    def fitted(steps, mesh, folder):
        batches = learning.PerChunk(lambda key, model: data(key)) if per_chunk else data
        return learning.fit(
            Linear(jax.random.key(0)), loss, batches, optax.adam(0.05), steps,
            key=jax.random.key(1), chunk=5, progress=False, mesh=mesh, folder=tmp_path / folder,
        )[0]  # fmt: skip

    both = distributed.mesh("batch")
    alone = fitted(10, None, "alone")
    parts.clear()
    fitted(5, both, "shared")
    assert {len(part.device_set) for part in parts} == {2}
    assert not any(part.is_fully_replicated for part in parts)
    np.testing.assert_allclose(fitted(10, None, "shared").weight, alone.weight, rtol=1e-5)
    with pytest.raises(ValueError, match="mesh must have the axis 'batch'"):
        fitted(1, distributed.mesh("member"), "other")


def test_a_batch_that_devices_do_not_divide():
    with pytest.raises(ValueError, match="2 devices must divide a first axis .* got .3"):
        learning.fit(
            Linear(jax.random.key(0)), lambda model, batch: jnp.sum(model.weight**2 * batch),
            lambda key: jnp.ones(3)[:, None, None], optax.sgd(0.1), 1,
            key=jax.random.key(1), progress=False, mesh=distributed.mesh("batch"),
        )  # fmt: skip


def test_gradients_are_accumulated_by_optax(batches):
    """Two batches are one of twice the size: `optax.MultiSteps` around any optimiser."""
    start, key = Linear(jax.random.key(0)), jax.random.key(1)
    optimiser = optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation()
    once, twice = (
        learning.fit(start, mean_square, batches, optimiser, steps, key=key, progress=False)[0]
        for steps in (1, 2)
    )
    np.testing.assert_array_equal(once.weight, start.weight)
    keys = [jax.random.split(jax.random.fold_in(key, i))[0] for i in range(2)]
    slopes = [eqx.filter_grad(mean_square)(start, batches(key)).weight for key in keys]
    np.testing.assert_allclose(twice.weight, start.weight - 0.1 * sum(slopes) / 2, rtol=1e-5)


def test_fault_23_one_trace_a_shape():
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def loss(model, batch):
        return mean_square(model, batch)

    learning.fit(
        Linear(jax.random.key(0)), loss, Batches(*map(jnp.asarray, table())), optax.adam(0.1), 20,
        key=jax.random.key(1), chunk=5, progress=False,
    )  # fmt: skip


HOLDER = """
import sys, time
from jaxpbdl.learning import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_fault_07_a_folder_held_by_a_live_process_is_refused_until_it_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {holder.pid} on"):
            learning.RunLock(tmp_path).__enter__()
    finally:
        holder.kill()
        holder.wait()
    with learning.RunLock(tmp_path):  # what a killed process leaves does not hold it
        pass


PEER = """
import os, sys, jax, numpy as np
rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", 2, rank)
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxpbdl import learning

mesh = Mesh(np.array(jax.devices()), ("process",))
split, whole = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in (["process"], []))
parts = jax.make_array_from_callback((2,), split, lambda _: np.ones(1, np.float32))
total = jax.jit(lambda x: x.sum(), out_shardings=whole)
for step in range(1000):
    if rank == 1 and step == 3:
        os._exit(9)
    try:
        state = float(total(parts))
    except Exception as error:
        learning.checkpoint.save(folder, {"total": np.asarray(state, np.float32)}, {"step": step})
        print(type(error).__name__, "at step", step, flush=True)
        os._exit(0)  # the other process is not waited for
"""


@pytest.mark.skipif(sys.platform != "linux", reason="collectives on a CPU need Linux")
def test_fault_27_a_dead_peer_is_an_error_after_which_one_can_save(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    commands = [[sys.executable, "-c", PEER, rank, port, str(tmp_path)] for rank in "01"]
    dying = subprocess.Popen(commands[1], stderr=subprocess.DEVNULL)
    try:
        done = subprocess.run(commands[0], capture_output=True, text=True, timeout=100)
    finally:
        dying.kill()
        dying.wait()
    assert "Error at step" in done.stdout, done.stderr
    tree, info = learning.checkpoint.load(tmp_path, {"total": jnp.zeros((), jnp.float32)})
    assert tree["total"] == 2 and info["step"] >= 3
