"""States that are split over devices, kept in a folder: written by all at once, read by any number.

Orbax writes the parts of each device; checksums of its files lie beside them, as Orbax restores
damaged numbers without a word.
"""

import json
import os
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.files import replacing, sha256

CHECKSUMS = "checksums.json"


def save_state(folder: str | os.PathLike, state: PyTree) -> Path:
    """Write the arrays of a state, each process the parts it has. The folder appears when it is
    complete.

    **Arguments:** `folder`, one that all processes see and that does not exist; `state`, any pytree
    of arrays.

    **Returns** the path of the folder.

    **Raises:** RunFolderError if it exists or cannot be written.
    """
    import orbax.checkpoint as orbax  # slow to import, and rarely needed

    folder = Path(folder).absolute()
    if folder.exists():
        raise RunFolderError(f"{folder} exists; give each state a folder of its own")
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    try:
        with orbax.StandardCheckpointer() as writer:
            writer.save(folder, dict(_named(leaves)))
        if jax.process_index() == 0:
            found = json.dumps(_checksums(folder), indent=1)
            with replacing(folder / CHECKSUMS) as part:
                part.write_text(found)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error}") from error
    return folder


def load_state(folder: str | os.PathLike, like: PyTree) -> PyTree:
    """The state in a folder, its arrays placed as those of `like`, on whatever devices these are.

    **Arguments:** `folder`, that `save_state` wrote; `like`, a state of the same structure, placed
    where the result should be (`scatter`); its numbers are not used.

    **Raises:** CheckpointError for a folder that is not complete or damaged, or arrays of other
    shapes or types.
    """
    import orbax.checkpoint as orbax

    folder = Path(folder).absolute()
    try:
        expected = json.loads((folder / CHECKSUMS).read_text())
        found = _checksums(folder)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder} holds no complete state: {error}") from error
    damaged = sorted(name for name in expected if found.get(name) != expected[name])
    if damaged:
        raise CheckpointError(f"{folder} is damaged: {', '.join(damaged)} changed or went missing")
    arrays, rest = eqx.partition(like, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    with orbax.StandardCheckpointer() as reader:
        metadata = reader.metadata(folder).item_metadata
        saved = {name: (tuple(m.shape), np.dtype(m.dtype)) for name, m in dict(metadata).items()}
        wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in _named(leaves)}
        if saved != wanted:
            raise CheckpointError(
                f"{folder} holds arrays {list(saved.values())}, the state wants "
                f"{list(wanted.values())}"
            )
        places = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in _named(leaves)
        }
        restored = reader.restore(folder, places)
    found = [restored[name] for name, _ in _named(leaves)]
    return eqx.combine(jax.tree.unflatten(structure, found), rest)


def _named(leaves: list[jax.Array]) -> list[tuple[str, jax.Array]]:
    """Arrays by their number, in order."""
    return [(f"{number:04d}", leaf) for number, leaf in enumerate(leaves)]


def _checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return {str(path.relative_to(folder)): sha256(path) for path in files}
