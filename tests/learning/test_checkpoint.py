"""Laws of checkpoints and locks: what was saved comes back, every damage is noticed by name."""

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import learning
from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.learning import checkpoint
from jaxpbdl.learning.checkpoint import load_newest_intact
from jaxpbdl.networks import Dense


def tree():
    return {
        "net": Dense((2, 3, 1), key=jax.random.key(0)),
        "half": jnp.arange(4, dtype=jnp.bfloat16),
        "complex": jnp.array([1 + 2j]),
        "key": jax.random.key(7),
        "count": jnp.asarray(3),
        "numpy": np.arange(5.0),
        "empty": np.zeros((1, 0)),
        "note": "kept",
    }


@pytest.fixture
def saved(tmp_path):
    return checkpoint.save(tmp_path / "run", tree(), {"step": 100})


def test_what_was_saved_comes_back(tmp_path):
    folder = tmp_path / "Läufe" / "run"
    checkpoint.save(folder, tree(), {"step": 5, "note": "é"})
    zeros = jax.tree.map(lambda x: x * 0 if eqx.is_inexact_array(x) else x, tree())
    back, metadata = checkpoint.load(folder, zeros)
    assert metadata == {"step": 5, "note": "é"}
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(tree()), strict=True):
        assert type(a) is type(b)
        if isinstance(a, jax.Array) and jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_fault_08_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step = checkpoint.save("run", tree(), {"step": 1})
    assert checkpoint.load("run", tree())[1] == checkpoint.load(step, tree())[1] == {"step": 1}


def test_the_newest_two_are_kept_and_leftovers_swept(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f".writing-{dead.pid}").mkdir()
    (tmp_path / f".writing-{os.getppid()}").mkdir()  # of a live process
    for step in (1, 2, 10, 10):
        checkpoint.save(tmp_path, tree(), {"step": step})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f".writing-{os.getppid()}", "step-00000002", "step-00000010"]
    assert checkpoint.latest(tmp_path) == tmp_path / "step-00000010"


def test_fault_03_every_flipped_byte_is_noticed(saved):
    rng = random.Random(0)
    files = sorted(saved.iterdir())
    positions = [(f, i) for f in files for i in range(f.stat().st_size)]
    for file, position in rng.sample(positions, 150):
        good = file.read_bytes()
        flipped = bytearray(good)
        flipped[position] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(CheckpointError, match="damaged"):
            checkpoint.load(saved, tree())
        file.write_bytes(good)
    checkpoint.load(saved, tree())


def leaf_file(step, path):
    leaves = json.loads((step / "manifest.json").read_text())["leaves"]
    return next(step / leaf["file"] for leaf in leaves if path in leaf["path"])


def truncate(step, file):
    file.write_bytes(file.read_bytes()[:-3])


def empty(step, file):
    file.write_bytes(b"")


def lengthen(step, file):
    file.write_bytes(file.read_bytes() + b"\0")


def swap(step, file):
    other = leaf_file(step, "biases[1]")
    data = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(data)


def delete(step, file):
    file.unlink()


@pytest.mark.parametrize("damage", [truncate, empty, lengthen, swap, delete])
def test_fault_03_damage_names_file_and_leaf(saved, damage):
    file = leaf_file(saved, "weights[1]")
    damage(saved, file)
    with pytest.raises(
        CheckpointError, match=rf"{file.name} \(leaf .*weights\[1\]\).*(damaged|read)"
    ):
        checkpoint.load(saved, tree())


def test_fault_05_a_pickle_in_a_leaf_is_never_run(saved, tmp_path):
    """Even one whose checksum was made to fit."""
    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    file = leaf_file(saved, "numpy")
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    with open(file, "wb") as out:
        np.save(out, np.array([Evil()], dtype=object), allow_pickle=True)
    manifest = saved / "manifest.json"
    text = manifest.read_text().replace(old, hashlib.sha256(file.read_bytes()).hexdigest())
    manifest.write_text(text)
    (saved / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest())
    with pytest.raises(CheckpointError, match=f"{file.name}.*no array of numbers"):
        checkpoint.load(saved, tree())
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"net": Dense((2, 4, 1), key=jax.random.key(0))},
            r"weights\[0\]: saved float32\[2, 3\], ",
        ),
        ({"count": jnp.asarray(3.0)}, r"count.*: saved int32\[\], here float32\[\]"),
        ({"more": jnp.zeros(2)}, r"more.*: saved nothing, here float32\[2\]"),
        ({"net": Dense((2, 3, 1), activation=jnp.sin, key=jax.random.key(0))}, "(?s)tanh.*sin"),
        ({"note": "other"}, "(?s)kept.*other"),
    ],
)
def test_fault_04_another_tree_is_refused_with_the_difference(saved, change, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(saved, tree() | change)


def test_a_damaged_newest_names_the_one_before(tmp_path):
    older = checkpoint.save(tmp_path, tree(), {"step": 1})
    truncate(None, leaf_file(checkpoint.save(tmp_path, tree(), {"step": 2}), "numpy"))
    with pytest.raises(CheckpointError, match=f"(?s)damaged.*before it is {older}"):
        checkpoint.load(tmp_path, tree())
    assert checkpoint.load(older, tree())[1] == {"step": 1}


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.load(tmp_path, tree())
    assert checkpoint.latest(tmp_path) is None


def test_fault_06_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, tree(), {"step": 1})
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left"):
        checkpoint.save(tmp_path, tree(), {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    checkpoint.load(tmp_path, tree())


KILLED_WRITER = """
import json, os, random, signal, sys, time
import numpy as np
from jaxpbdl import learning
from jaxpbdl.learning import checkpoint

folder, rounds = sys.argv[1], int(sys.argv[2])
rng = random.Random(1)
seen = 0
for _ in range(rounds):
    began, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with learning.RunLock(folder):  # taken over from the killed one
            step = seen
            while True:
                step += 1
                tree = {name: np.full(2000, float(step)) for name in "abc"}
                checkpoint.save(folder, tree, {"step": step})
                os.write(tell, b".")
    os.close(tell)
    assert os.read(began, 1), "the child was refused"
    time.sleep(rng.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(began)
    tree, metadata = checkpoint.load(folder, {name: np.zeros(2000) for name in "abc"})
    assert all(np.all(leaf == metadata["step"]) for leaf in tree.values())
    assert metadata["step"] > seen
    seen = metadata["step"]
checkpoint.save(folder, tree, {"step": seen + 1})
print(json.dumps([seen, [name for name in os.listdir(folder) if name != "run.lock"]]))
"""


def test_fault_01_kill_at_any_moment_leaves_a_good_checkpoint(tmp_path):
    command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), "30"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen, names = json.loads(done.stdout)
    assert seen >= 30
    assert len(names) == 2  # no leftovers


def test_a_held_folder_is_refused(tmp_path):
    with learning.RunLock(tmp_path):
        with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on"):
            learning.RunLock(tmp_path).__enter__()
    with learning.RunLock(tmp_path):  # free again
        pass


def test_fault_07_the_lock_of_a_dead_process_is_taken_over_that_of_another_host_is_not(tmp_path):
    lock = tmp_path / "run.lock"
    for text in (json.dumps({"pid": 2**22, "host": socket.gethostname()}), '{"pid": 1', ""):
        lock.write_text(text)
        with learning.RunLock(tmp_path):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
    lock.write_text(json.dumps({"pid": 5, "host": "elsewhere"}))
    with pytest.raises(RunFolderError, match="process 5 on elsewhere.*delete"):
        learning.RunLock(tmp_path).__enter__()


def test_fault_08_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        learning.RunLock(tmp_path / "file" / "run").__enter__()
    with pytest.raises(RunFolderError, match="cannot be written"):
        checkpoint.save(tmp_path / "file" / "run", tree(), {"step": 1})


def test_fault_06_a_full_disk_at_the_lock(tmp_path):
    """What cannot be written is said as such; the handle is closed, so the lock is free again.
    `/dev/full` refuses what is written to it."""
    (tmp_path / "run.lock").symlink_to("/dev/full")
    for _ in range(2):
        with pytest.raises(RunFolderError, match="run folder .* cannot be written"):
            learning.RunLock(tmp_path).__enter__()


def test_falling_back_warns(tmp_path):
    older = checkpoint.save(tmp_path, tree(), {"step": 1})
    newer = checkpoint.save(tmp_path, tree(), {"step": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_newest_intact(tmp_path, lambda m: tree())[1] == {"step": 2}
    shutil.rmtree(newer)
    newer.mkdir()
    with pytest.warns(UserWarning, match=f"(?s)manifest.*Falling back to {older}"):
        assert load_newest_intact(tmp_path, lambda m: tree())[1] == {"step": 1}


FROZEN_SET = """
import sys, equinox as eqx, jax.numpy as jnp
from jaxpbdl import learning
from jaxpbdl.learning import checkpoint

class Model(eqx.Module):
    weight: object
    names: frozenset = eqx.field(static=True)

model = Model(jnp.ones(3), frozenset({"u", "v", "pressure", "temperature"}))
if sys.argv[2] == "save":
    checkpoint.save(sys.argv[1], model, {"step": 0})
else:
    checkpoint.load(sys.argv[1], model)
"""


def test_fault_04_a_set_has_no_order(tmp_path):
    """The same model is recognised by processes whose strings hash differently."""
    for seed, what in (("1", "save"), ("2", "load"), ("5", "load")):
        command = [sys.executable, "-c", FROZEN_SET, str(tmp_path), what]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
