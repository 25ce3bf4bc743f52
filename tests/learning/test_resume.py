"""Laws of a resumed fit: the very numbers of one that was not interrupted, in a new process too."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from regression import Batches, Linear, mean_square, table

from jaxpbdl import learning
from jaxpbdl.checks import CheckpointError, RunFolderError

KEY = jax.random.key(3)
OPTIMISER = optax.adam(optax.cosine_decay_schedule(0.05, 200))


def fitted(folder=None, steps=200, loss=mean_square, optimiser=OPTIMISER, **options):
    batches = Batches(*map(jnp.asarray, table()))
    return learning.fit(
        Linear(KEY),
        loss,
        batches,
        optimiser,
        steps,
        chunk=20,
        ema=0.95,
        validate=lambda model: mean_square(model, (batches.x[:9], batches.y[:9])),
        folder=folder,
        progress=False,
        **({"key": KEY} | options),
    )


def assert_same(one, other):
    """Bit for bit, the wall time apart."""
    assert bool(eqx.tree_equal(one[0], other[0]))
    assert bool(eqx.tree_equal(one[1]._replace(seconds=0), other[1]._replace(seconds=0)))


@pytest.fixture(scope="module")
def uninterrupted():
    return fitted()


def test_fault_02_half_and_half_is_the_whole(tmp_path, uninterrupted):
    half = fitted(tmp_path, 100)
    assert len(half[1].loss) == 100
    assert_same(fitted(tmp_path, 200), uninterrupted)
    assert_same(fitted(tmp_path, 200), uninterrupted)  # nothing left to do


STOPPED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from jaxpbdl.learning import checkpoint
from test_resume import fitted

save = checkpoint.save

def slow(*arguments, **options):  # not the loss: it would be another program, rounded otherwise
    time.sleep(0.2)
    return save(*arguments, **options)

checkpoint.save = slow
fitted(sys.argv[2])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_20_a_signal_ends_the_chunk_and_a_new_process_goes_on(
    tmp_path, uninterrupted, number
):
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, here, str(tmp_path)], stderr=subprocess.PIPE
    )
    deadline = time.time() + 60
    while not (step := learning.latest(tmp_path)) or step.name == "step-00000000":
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.02)
    with pytest.raises(RunFolderError, match=f"in use by process {process.pid}"):
        fitted(tmp_path)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == {signal.SIGTERM: 128 + 15, signal.SIGINT: -2}[number]
    reached = int(learning.latest(tmp_path).name[5:])
    assert 0 < reached < 200 and reached % 20 == 0
    assert_same(fitted(tmp_path), uninterrupted)


def test_a_damaged_newest_checkpoint_costs_a_warning_and_some_steps(tmp_path, uninterrupted):
    fitted(tmp_path, 100)
    (learning.latest(tmp_path) / "leaf-0000.npy").write_bytes(b"")
    with pytest.warns(UserWarning, match="(?s)leaf-0000.npy.*Falling back to .*step-00000080"):
        assert_same(fitted(tmp_path, 200), uninterrupted)


def test_fault_04_another_fit_is_refused(tmp_path):
    fitted(tmp_path, 20)
    with pytest.raises(CheckpointError, match="holds a fit with the key .*0, 3.* not .*0, 4"):
        fitted(tmp_path, 40, key=jax.random.key(4))
    with pytest.raises(CheckpointError, match="belongs to another model or optimiser"):
        fitted(tmp_path, 40, optimiser=optax.sgd(0.1))
    assert learning.latest(tmp_path).name == "step-00000020"


def test_divergence_leaves_the_checkpoint_before_it(tmp_path):
    def loss(model, batch):
        return jnp.where(jnp.abs(model.weight[0]) < 2, jnp.sum(model.weight**2), jnp.nan)

    growing = optax.sgd(-0.002)
    with pytest.raises(learning.Diverged, match="newest checkpoint is .*step-") as caught:
        fitted(tmp_path, 1000, loss=loss, optimiser=growing)
    bad = caught.value.history.bad_step
    assert bad > 20
    assert learning.latest(tmp_path).name == f"step-{bad // 20 * 20:08d}"
    with pytest.raises(learning.Diverged) as again:
        fitted(tmp_path, 1000, loss=loss, optimiser=growing)
    assert bool(eqx.tree_equal(again.value.model, caught.value.model))
    np.testing.assert_array_equal(again.value.history.loss, caught.value.history.loss)


def test_an_ensemble_resumes(tmp_path):
    batches = Batches(*map(jnp.asarray, table()))
    keys = jax.random.split(KEY, 3)

    def run(folder, steps):
        return learning.fit_ensemble(
            Linear,
            mean_square,
            batches,
            OPTIMISER,
            steps,
            keys=keys,
            folder=folder,
            chunk=10,
            progress=False,
        )

    whole = run(None, 40)
    run(tmp_path, 20)
    resumed = run(tmp_path, 40)
    assert bool(eqx.tree_equal(resumed[0], whole[0]))
    for a, b in zip(resumed[1], whole[1], strict=True):
        np.testing.assert_array_equal(a.loss, b.loss)
    with pytest.raises(CheckpointError, match="holds a fit with the key"):
        keys = keys[:2]
        run(tmp_path, 40)


DEVICES = """
import sys, jax
sys.path.insert(0, sys.argv[1])
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp, numpy as np, optax
from jaxpbdl import learning
from regression import Batches, Linear, mean_square, table

batches = Batches(*map(jnp.asarray, table()))
keys = jax.random.split(jax.random.key(0), 4)

def run(keys, devices, folder=None, steps=30):
    return learning.fit_ensemble(
        Linear, mean_square, batches, optax.adam(0.05), steps, keys=keys, devices=devices,
        validate=lambda m: jnp.sum(m.weight**2), chunk=10, folder=folder, progress=False,
    )

one, first = run(keys, None)
two, second = run(keys, jax.devices())
np.testing.assert_allclose(one.weight, two.weight, rtol=1e-5)
np.testing.assert_allclose(first[3].loss, second[3].loss, rtol=1e-4)
run(keys, jax.devices(), sys.argv[2], 10)
np.testing.assert_array_equal(run(keys, jax.devices(), sys.argv[2])[0].weight, two.weight)
try:
    run(keys[:3], jax.devices())
except ValueError as error:
    assert "2 devices do not divide 3 members" in str(error)
    print("refused")
"""


def test_members_on_two_devices_are_the_same(tmp_path):
    command = [sys.executable, "-c", DEVICES, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
