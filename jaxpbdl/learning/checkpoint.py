"""Checkpoints: a folder for each step, one `.npy` file an array, a JSON manifest with checksums.

    run/step-00000100/manifest.json     metadata; of each leaf: tree path, dtype, shape, SHA-256
    run/step-00000100/manifest.sha256   checksum of the manifest
    run/step-00000100/leaf-0000.npy     ...

A checkpoint is written into a temporary folder, synchronised to the disk and renamed: a killed
process leaves the earlier ones as they were. Reading checks every byte, and that the tree it is
read into has the same structure, paths, shapes and dtypes. Nothing is ever unpickled.
"""

import difflib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxpbdl.checks import CheckpointError, RunFolderError, count
from jaxpbdl.files import digest
from jaxpbdl.learning import fingerprint

KEPT = 2
Leaf: TypeAlias = jax.Array | np.ndarray | np.generic
Metadata: TypeAlias = dict[str, Any]
"""An object of JSON."""


class Mismatch(CheckpointError):
    """An intact checkpoint of something else: another model, optimiser, key, or other data."""


def save(folder: str | os.PathLike, tree: PyTree, metadata: Metadata) -> Path:
    """Write the arrays of `tree` to `folder/step-...` and keep the newest two steps.

    `metadata` is JSON and has an integer `step`. Returns the folder of the step. Raises
    RunFolderError if the folder cannot be written (read-only, disk full); what was there stays.
    """
    count("metadata['step']", metadata["step"], 0)
    final = Path(folder) / f"step-{metadata['step']:08d}"
    part = Path(folder) / f".writing-{os.getpid()}"
    files, records = [], []
    for index, (path, leaf) in enumerate(_arrays(tree)):
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(plain(leaf)), allow_pickle=False)
        files.append((f"leaf-{index:04d}.npy", buffer.getvalue()))
        records.append(
            {"file": files[-1][0], **_signature(path, leaf), "sha256": digest(files[-1][1])}
        )
    manifest = {"metadata": metadata, "structure": fingerprint.structure(tree), "leaves": records}
    text = json.dumps(manifest, indent=1).encode()
    files += [("manifest.json", text), ("manifest.sha256", digest(text).encode())]
    try:
        _sweep(Path(folder))
        part.mkdir(parents=True)
        for name, data in files:
            _write(part / name, data)
        _sync(part)
        if final.exists():  # a damaged one, or the same step again
            final.rename(part.with_name(f".old-{os.getpid()}"))
        part.rename(final)
        _sync(final.parent)
        for old in _steps(Path(folder))[:-KEPT]:
            aside = part.with_name(f".old-{os.getpid()}")
            shutil.rmtree(aside, ignore_errors=True)
            old.rename(aside)  # at once, so that no half-deleted step is ever seen
        _sweep(Path(folder))
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RunFolderError(f"checkpoint {final} cannot be written: {error}") from error
    return final


def latest(folder: str | os.PathLike) -> Path | None:
    """The folder of the newest step in a run folder, or None if there is none."""
    steps = _steps(Path(folder))
    return steps[-1] if steps else None


def read_metadata(folder: str | os.PathLike) -> Metadata:
    """The metadata of a step folder, or of the newest step of a run folder."""
    return _manifest(_resolve(folder))["metadata"]


def load(folder: str | os.PathLike, like: PyTree) -> tuple[PyTree, Metadata]:
    """`(tree, metadata)` of a step folder, or of the newest step of a run folder.

    `like` has the structure, shapes and dtypes of what was saved; its leaves without arrays are
    kept. Raises CheckpointError that names the file, the leaf and the reason if anything is damaged
    or differs. If the newest step is damaged, its error names the step before it, which may be
    loaded by its own path.
    """
    step = _resolve(folder)
    try:
        return _load(step, like)
    except CheckpointError as error:
        before = [other for other in _steps(step.parent) if other < step]
        if step == Path(folder) or not before:
            raise
        raise CheckpointError(f"{error}\nThe checkpoint before it is {before[-1]}") from error


def cached(folder: str | os.PathLike, make: Callable[[], PyTree]) -> PyTree:
    """The arrays of `make()`: read from `folder` where an earlier call left them, else computed and
    left there. Raises CheckpointError if what is there is damaged or of another shape."""
    if latest(folder) is None:
        tree = make()
        save(folder, tree, {"step": 0})
        return tree
    like = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), eqx.filter_eval_shape(make))
    return jax.tree.map(jnp.asarray, load(folder, like)[0])


def load_newest_intact(
    folder: str | os.PathLike,
    like_of: Callable[[Metadata], PyTree],
    usable: Callable[[Metadata], bool] = lambda metadata: True,
) -> tuple[PyTree, Metadata]:
    """The newest step that can be read and whose metadata are `usable`, with a warning for each
    that cannot be read.

    `like_of(metadata)` builds the tree to read into. Raises the newest one's CheckpointError if
    none can be read, and `Mismatch` at once where a step is intact and of something else.
    """
    errors = []
    for step in reversed(_steps(Path(folder))):
        try:
            metadata = read_metadata(step)
            if not usable(metadata):
                continue
            tree, metadata = _load(step, like_of(metadata))
        except Mismatch:
            raise
        except CheckpointError as error:
            errors.append(error)
        else:
            for error in errors:
                warnings.warn(f"{error}\nFalling back to {step}", stacklevel=2)
            return tree, metadata
    raise errors[0] if errors else CheckpointError(f"{folder} holds no checkpoint to go on from")


def _load(step: Path, like: PyTree) -> tuple[PyTree, Metadata]:
    manifest = _manifest(step)
    _compare(step, manifest, like)
    leaves = [
        _restore(_read_leaf(step, record), leaf)
        for record, (_, leaf) in zip(manifest["leaves"], _arrays(like), strict=True)
    ]
    arrays, rest = eqx.partition(like, eqx.is_array)
    arrays = jax.tree.unflatten(jax.tree.structure(arrays), leaves)
    return eqx.combine(arrays, rest), manifest["metadata"]


def _resolve(folder: str | os.PathLike) -> Path:
    path = Path(folder)
    step = path if path.name.startswith("step-") else latest(path)
    if step is None or not step.is_dir():
        raise CheckpointError(f"{folder} holds no checkpoint")
    return step


def _manifest(step: Path) -> Metadata:
    path = step / "manifest.json"
    text = _read(path)
    if digest(text).encode() != _read(step / "manifest.sha256"):
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not that in manifest.sha256")
    return json.loads(text)


def _read_leaf(step: Path, record: Metadata) -> np.ndarray:
    path, leaf = step / record["file"], f"leaf {record['path']}"
    data = _read(path, leaf)
    if digest(data) != record["sha256"]:
        raise CheckpointError(f"{path} ({leaf}) is damaged: its SHA-256 is not the manifest's")
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        raise CheckpointError(f"{path} ({leaf}) is no array of numbers: {error}") from error


def _compare(step: Path, manifest: Metadata, like: PyTree) -> None:
    """Refuse a checkpoint of another tree, with the leaves or the static parts that differ."""
    keys = ("path", "dtype", "shape")
    saved = {r["path"]: {k: r[k] for k in keys} for r in manifest["leaves"]}
    wanted = {path: _signature(path, leaf) for path, leaf in _arrays(like)}
    lines = []
    for path in sorted(saved.keys() | wanted.keys()):
        if saved.get(path) != wanted.get(path):
            lines.append(f"  {path}: saved {_say(saved.get(path))}, here {_say(wanted.get(path))}")
    if not lines:
        old, new = manifest["structure"], fingerprint.structure(like)
        if old == new and list(saved) == list(wanted):
            return
        changes = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
        signs = {"-": "  saved ", "+": "  here  "}
        lines = [signs[line[0]] + line[1:] for line in list(changes)[2:] if line[0] in signs]
    more = [f"  and {len(lines) - 12} more"] if len(lines) > 12 else []
    raise Mismatch(
        "\n".join(
            [f"{step / 'manifest.json'} belongs to another model or optimiser:", *lines[:12], *more]
        )
    )


def _say(signature: Metadata | None) -> str:
    return "nothing" if signature is None else f"{signature['dtype']}{signature['shape']}"


def _arrays(tree: PyTree) -> list[tuple[str, Leaf]]:
    """Tree path and array of each leaf that is one."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return [(jax.tree_util.keystr(path) or "(root)", leaf) for path, leaf in leaves]


def _is_key(leaf: Leaf) -> TypeGuard[jax.Array]:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def plain(leaf: Leaf) -> Leaf:
    """Numbers that a file can hold: random keys as their data."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restore(array: np.ndarray, like: Leaf) -> Leaf:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    array = (
        array if array.dtype == like.dtype else array.view(like.dtype)
    )  # bfloat16 is void in npy
    return array if isinstance(like, np.ndarray) else jnp.asarray(array)


def _signature(path: str, leaf: Leaf) -> Metadata:
    return {"path": path, "dtype": str(leaf.dtype), "shape": list(leaf.shape)}


def _read(path: Path, what: str = "manifest") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} ({what}) cannot be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _steps(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*") if p.is_dir() and p.name[5:].isdigit())


def _sweep(folder: Path) -> None:
    """Delete what this process or a dead one left half-written."""
    for path in [*folder.glob(".writing-*"), *folder.glob(".old-*")]:
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and (int(pid) == os.getpid() or not _alive(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
