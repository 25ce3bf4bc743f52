"""Laws of a resumed fit: the very numbers of one that was not interrupted, in a new process too."""

import re
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
from jaxpbdl.learning import checkpoint

KEY = jax.random.key(3)
OPTIMISER = optax.adam(optax.cosine_decay_schedule(0.05, 200))


def fitted(
    folder=None, steps=200, loss=mean_square, optimiser=OPTIMISER, *, rows=64, held_out=9,
    order=None, **options
):  # fmt: skip
    batches = Batches(*(jnp.asarray(column[:rows]) for column in table()))
    held = tuple(jnp.asarray(column[:held_out]) for column in table())
    model = Linear(KEY)
    if order is not None:
        model = eqx.tree_at(lambda m: m.order, model, jnp.asarray(order))
    return learning.fit(
        model,
        loss,
        batches,
        optimiser,
        steps,
        validate=lambda model: mean_square(model, held),
        folder=folder,
        progress=False,
        **({"key": KEY, "chunk": 20, "ema": 0.95} | options),
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
def test_fault_20_after_a_signal_a_new_process_goes_on(tmp_path, uninterrupted, number):
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, here, str(tmp_path)], stderr=subprocess.PIPE
    )
    deadline = time.time() + 60
    while not (step := checkpoint.latest(tmp_path)) or step.name == "step-00000000":
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.02)
    with pytest.raises(RunFolderError, match=f"in use by process {process.pid}"):
        fitted(tmp_path)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == {signal.SIGTERM: 128 + 15, signal.SIGINT: -2}[number]
    reached = int(checkpoint.latest(tmp_path).name[5:])
    assert 0 < reached < 200 and reached % 20 == 0
    assert_same(fitted(tmp_path), uninterrupted)


def test_a_damaged_newest_checkpoint_costs_a_warning_and_some_steps(tmp_path, uninterrupted):
    fitted(tmp_path, 100)
    (checkpoint.latest(tmp_path) / "leaf-0000.npy").write_bytes(b"")
    with pytest.warns(UserWarning, match="(?s)leaf-0000.npy.*Falling back to .*step-00000080"):
        assert_same(fitted(tmp_path, 200), uninterrupted)


CHANGES = {
    "loss": {"loss": lambda model, batch: 2 * mean_square(model, batch)},
    "batches": {"rows": 63},
    "optimiser": {"optimiser": optax.adam(optax.cosine_decay_schedule(0.06, 200))},
    "optimiser|nadam": {"optimiser": optax.nadam(optax.cosine_decay_schedule(0.05, 200))},
    "optimiser|sgd": {"optimiser": optax.sgd(0.1)},
    "validate": {"held_out": 10},
    "ema": {"ema": 0.9},
    "chunk": {"chunk": 10},
    "constant .order": {"order": [1, 0, 2]},
}


def test_fault_04_another_fit_is_refused(tmp_path):
    fitted(tmp_path, 20)
    with pytest.raises(CheckpointError, match="holds a fit with the key .*0, 3.* not .*0, 4"):
        fitted(tmp_path, 40, key=jax.random.key(4))
    for name, change in CHANGES.items():
        name = re.escape(name.partition("|")[0])
        with pytest.raises(CheckpointError, match=f"differs from this one in: {name}. Give"):
            fitted(tmp_path, 40, **change)
    with pytest.raises(CheckpointError, match="holds a fit of 20 updates, more than the 10"):
        fitted(tmp_path, 10, chunk=10)
    assert checkpoint.latest(tmp_path).name == "step-00000020"
    assert len(fitted(tmp_path, 40, ema=0.9, allow_changes=True)[1].loss) == 40
    with pytest.raises(CheckpointError, match="differs from this one in: ema"):
        fitted(tmp_path, 60)
    fitted(tmp_path, 60, ema=0.9)


FACTOR = 1.0


def scaled_loss(model, batch):
    return FACTOR * mean_square(model, batch)


def test_fault_04_globals_of_a_loss_count(tmp_path, monkeypatch):
    """As in a notebook, whose data are globals."""
    fitted(tmp_path, 20, loss=scaled_loss)
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    with pytest.raises(CheckpointError, match="differs from this one in: loss"):
        fitted(tmp_path, 40, loss=scaled_loss)


class Drifting(eqx.Module):
    """Batches for a chunk that depend on where the model was when they were drawn."""

    batches: Batches

    def __call__(self, key, model):
        x, y = self.batches(key)
        return x, y + 0.1 * model.weight[0]


@pytest.mark.parametrize("optimiser", [optax.adam(0.05), optax.lbfgs()], ids=["adam", "lbfgs"])
def test_fault_02_a_stop_inside_a_chunk_changes_nothing(tmp_path, optimiser):
    """25 updates end within a chunk of 10: batches of a chunk, the validation and the patience are
    those of 40 updates in one go."""
    drawn = learning.PerChunk(Drifting(Batches(*map(jnp.asarray, table()))))

    def run(folder, steps, chunk=10):
        return learning.fit(
            Linear(KEY), mean_square, drawn, optimiser, steps, key=KEY, chunk=chunk, folder=folder,
            validate=lambda model: mean_square(model, drawn.draw.batches(KEY)), patience=3,
            save_every=3, progress=False,
        )  # fmt: skip

    whole = run(None, 40)
    assert len(run(tmp_path, 25)[1].loss) == 25
    assert_same(run(tmp_path, 40), whole)


def test_fault_02_patience_may_grow(tmp_path):
    """A fit that patience ended goes on with more of it, as if it had had that from the start."""

    def run(folder, patience, steps=200):
        return learning.fit(
            Linear(KEY), mean_square, Batches(*map(jnp.asarray, table())), optax.adam(0.05), steps,
            key=KEY, chunk=10, validate=lambda m: (m.weight[0] - 0.3) ** 2, patience=patience,
            folder=folder, progress=False,
        )  # fmt: skip

    short = run(tmp_path, 2)
    assert len(short[1].loss) < 200
    assert_same(run(tmp_path, 2), short)
    whole = run(None, 5)
    assert len(short[1].loss) < len(whole[1].loss)
    assert_same(run(tmp_path, 5), whole)


def test_fault_02_one_member_that_had_stopped_stays(tmp_path):
    """It has missed updates: another patience cannot bring them back, and that is said."""
    keys = jax.random.split(KEY, 2)
    targets = jnp.asarray([0.3, 1e3])  # the second improves at every step

    def run(patience, steps):
        return learning.fit_ensemble(
            [Aimed(0.0, target) for target in targets],
            lambda model, batch: (model.value - 0.1 * model.target) ** 2,
            lambda key: 0.0,
            optax.adam(0.05),
            steps,
            keys=keys, chunk=5, validate=lambda m: (m.value - 0.05 * m.target) ** 2,
            patience=patience, folder=tmp_path, progress=False,
        )  # fmt: skip

    stopped = run(2, 40)
    with pytest.warns(UserWarning, match=r"members \[0\] had stopped before the others"):
        further = run(5, 60)
    assert [len(h.loss) for h in further[1]] == [len(stopped[1][0].loss), 60]


class Aimed(eqx.Module):
    """One number, and the number it is judged by."""

    value: jax.Array
    target: jax.Array

    trainable_fields = ("value",)

    def __init__(self, value, target):
        self.value, self.target = jnp.asarray(value), target


def test_divergence_leaves_the_checkpoint_before_it(tmp_path):
    def loss(model, batch):
        return jnp.where(jnp.abs(model.weight[0]) < 2, jnp.sum(model.weight**2), jnp.nan)

    growing = optax.sgd(-0.002)
    with pytest.raises(learning.Diverged, match="newest checkpoint is .*step-") as caught:
        fitted(tmp_path, 1000, loss=loss, optimiser=growing)
    bad = caught.value.history.bad_step
    assert bad > 20
    assert checkpoint.latest(tmp_path).name == f"step-{bad // 20 * 20:08d}"
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
import sys, warnings, jax
sys.path.insert(0, sys.argv[1])
jax.config.update("jax_num_cpu_devices", 3)
import jax.numpy as jnp, numpy as np, optax
from jaxpbdl import distributed, learning
from regression import Batches, Linear, mean_square, table

batches = Batches(*map(jnp.asarray, table()))
keys = jax.random.split(jax.random.key(0), 4)

def run(keys, devices, folder=None, steps=30):
    mesh = None if devices is None else distributed.mesh("member", jax.devices()[:devices])
    return learning.fit_ensemble(
        Linear, mean_square, batches, optax.adam(0.05), steps, keys=keys, mesh=mesh,
        validate=lambda m: jnp.sum(m.weight**2), chunk=10, folder=folder, progress=False,
    )

all, first = run(keys, None)
two, second = run(keys, 2)
np.testing.assert_allclose(all.weight, two.weight, rtol=1e-5)
np.testing.assert_allclose(first[3].loss, second[3].loss, rtol=1e-4)
run(keys, 2, sys.argv[2], 10)
np.testing.assert_array_equal(run(keys, 2, sys.argv[2])[0].weight, two.weight)
# Three members on two devices, then the same fit goes on with one.
three, third = run(keys[:3], 2)
np.testing.assert_array_equal(three.weight, two.weight[:3])
assert len(third) == 3 and three.weight.shape == (3, 3)
run(keys[:3], 2, sys.argv[2] + "/three", 10)
resumed = run(keys[:3], 1, sys.argv[2] + "/three")[0].weight
np.testing.assert_allclose(resumed, three.weight, rtol=1e-5)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for members in (1, 2, 3):
        run(keys[:members], None, steps=10)
print([str(w.message) for w in caught if "idle" in str(w.message)])
"""


def test_fault_21_members_do_not_depend_on_the_devices(tmp_path):
    command = [sys.executable, "-c", DEVICES, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "['ensemble: 2 members leave 1 of 3 devices idle']\n", done.stderr
