"""Two processes on one machine: a batch and an ensemble shared, one told to stop, one killed."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl import distributed, learning

LEARNING = Path(__file__).parents[1] / "learning"
sys.path.insert(0, str(LEARNING))
from regression import Batches, Linear, mean_square, table  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="collectives on a CPU need Linux")
PREAMBLE = f"""
import os, signal, sys, time
import jax, jax.numpy as jnp, numpy as np, optax
rank, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{{port}}", 2, rank)
sys.path.insert(0, {str(LEARNING)!r})
from regression import Batches, Linear, mean_square, table
from jaxpbdl import distributed, learning
from jaxpbdl.checks import CheckpointError, RunFolderError
batches = Batches(*map(jnp.asarray, table()))

def together(steps, **more):
    return learning.fit(
        Linear(jax.random.key(0)), mean_square, batches, optax.adam(0.1), steps,
        key=jax.random.key(1), chunk=10, progress=False, folder=folder + "/fit",
        mesh=distributed.mesh("batch", jax.devices()),
        validate=lambda model: mean_square(model, batches(jax.random.key(3))), **more,
    )
"""
SHARED = (
    PREAMBLE
    + """
calls = []
together(20, callback=lambda report: calls.append(report.step))
model, history = together(40)  # goes on from the checkpoint
assert calls == ([10, 20] if rank == 0 else []), calls
keys = jax.random.split(jax.random.key(5), 3)
members, histories = learning.fit_ensemble(
    Linear, mean_square, batches, optax.adam(0.1), 30, keys=keys, chunk=10, progress=False,
    folder=folder + "/ensemble",
)
np.savez(
    f"{folder}/found-{rank}.npz", weight=model.weight, loss=history.loss,
    validation=history.validation, members=members.weight,
    losses=np.stack([h.loss for h in histories]),
)
"""
)
TOLD_TO_STOP = (
    PREAMBLE
    + """
def stop(report):
    if report.step == 20 and rank == 0:
        os.kill(os.getpid(), signal.SIGTERM)  # noted, acted upon after the next chunk
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    together(4000, callback=stop)
except (SystemExit, KeyboardInterrupt) as error:
    print(type(error).__name__, flush=True)
"""
)
KILLED = (
    PREAMBLE
    + """
def note(report):
    if report.step == 20:
        open(folder + "/reached", "w").close()
if rank == 1:
    import threading
    def die():
        while not os.path.exists(folder + "/reached"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=die, daemon=True).start()
try:
    together(10**6, callback=note)
except Exception as error:
    print(type(error).__name__, flush=True)
    os._exit(0)  # the other process is not waited for
"""
)


def both(script, folder):
    """The outputs of two processes that run it."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, rank, port, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_FLAGS": ""},
        )
        for rank in "01"
    ]
    try:
        return [(*one.communicate(timeout=150), one.returncode) for one in started]
    finally:
        for one in started:
            one.kill()


def alone(steps, **more):
    batches = Batches(*map(jnp.asarray, table()))
    return learning.fit(
        Linear(jax.random.key(0)), mean_square, batches, optax.adam(0.1), steps,
        key=jax.random.key(1), chunk=10, progress=False,
        validate=lambda model: mean_square(model, batches(jax.random.key(3))), **more,
    )  # fmt: skip


def test_a_batch_and_an_ensemble_of_two_processes(tmp_path):
    for out, error, code in both(SHARED, tmp_path):
        assert code == 0, out + error
    model, history = alone(40)
    batches, keys = Batches(*map(jnp.asarray, table())), jax.random.split(jax.random.key(5), 3)
    members, histories = learning.fit_ensemble(
        Linear, mean_square, batches, optax.adam(0.1), 30, keys=keys, chunk=10, progress=False
    )
    for rank in (0, 1):
        found = np.load(tmp_path / f"found-{rank}.npz")
        np.testing.assert_allclose(found["weight"], model.weight, rtol=1e-5)
        np.testing.assert_allclose(found["loss"], history.loss, rtol=1e-4)
        np.testing.assert_allclose(found["validation"], history.validation, rtol=1e-4)
        np.testing.assert_allclose(found["members"], members.weight, rtol=1e-5)
        np.testing.assert_allclose(found["losses"], [h.loss for h in histories], rtol=1e-5)
    saved = learning.model_file.load(tmp_path / "ensemble" / "model.jaxpbdl", ("regression",))
    np.testing.assert_allclose(saved.weight, members.weight, rtol=1e-5)


def test_fault_28_all_stop_after_the_same_chunk_and_one_process_goes_on(tmp_path):
    (first, *_), (second, *_) = both(TOLD_TO_STOP, tmp_path)
    assert first.split()[-1] == "SystemExit" and second.split()[-1] == "KeyboardInterrupt"
    resumed, history = alone(60, folder=tmp_path / "fit", allow_changes=True)
    assert len(history.loss) == 60
    np.testing.assert_allclose(resumed.weight, alone(60)[0].weight, rtol=1e-4)


def test_fault_27_a_killed_peer_is_an_error_and_its_fit_goes_on_in_one_process(tmp_path):
    (first, error, _), (_, _, code) = both(KILLED, tmp_path)
    assert code == -signal.SIGKILL and "Error" in first, first + error
    step = learning.checkpoint.read_metadata(tmp_path / "fit")["step"]
    assert step >= 20
    resumed, history = alone(step + 20, folder=tmp_path / "fit", allow_changes=True)
    assert len(history.loss) == step + 20 and np.all(np.isfinite(resumed.weight))


def test_more_processes_than_members_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ValueError, match="4 processes need at least as many members, got 3"):
        distributed.processes.own_members(3)
