"""A trained model in one file: its classes, settings and numbers, without pickle.

The file is a zip archive, stored without compression:

    model.json      format, versions, card, the model as `encoding` writes it, of each array its
                    dtype, shape and SHA-256
    model.sha256    checksum of model.json
    0000.npy ...    the arrays

The same model gives the same bytes. Reading checks every byte that is used.
"""

import io
import json
import os
import zipfile
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.files import digest, replacing
from jaxpbdl.learning import checkpoint, encoding

FORMAT = 1
SUFFIX = ".jaxpbdl"
WRITTEN = (1980, 1, 1, 0, 0, 0)
"""The date of all entries, so that equal models are equal files."""


def save(
    model: PyTree, file: str | os.PathLike, card: Mapping[str, encoding.Json] | None = None
) -> Path:
    """Write a model to one file, which `load` reads in any process with this package.

        jp.save(hybrid, "wake.jaxpbdl", card={"data": "wakes, Re 75 to 230", "licence": "MIT"})

    **Arguments**

    - `model`: a network, hybrid, solver, field, potential or ensemble: any tree of arrays, numbers,
      containers, modules and functions that have a name in a module.
    - `card`: what a reader should know of it, as JSON.

    **Returns** the path of the file, which is written whole or not at all.

    **Raises** ValueError naming the part that no file can hold (a lambda, a function inside
    another); RunFolderError if the file cannot be written.
    """
    tree, arrays = encoding.encode(model)
    files, records = {}, []
    for index, leaf in enumerate(arrays):
        plain = np.asarray(checkpoint.plain(leaf))
        octets = _npy(plain)
        files[f"{index:04d}.npy"] = octets
        record = {"dtype": plain.dtype.name, "shape": list(plain.shape), "sha256": digest(octets)}
        records.append(record)
    content = {
        "format": FORMAT,
        "versions": {name: version(name) for name in ("jaxpbdl", "jax", "equinox")},
        "card": dict(card or {}),
        "model": tree,
        "arrays": records,
    }
    try:
        text = json.dumps(content, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"card must hold what JSON can: {error}") from error
    files = {"model.json": text, "model.sha256": digest(text).encode(), **files}
    try:
        with (
            replacing(Path(file)) as part,
            zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, octets in files.items():
                archive.writestr(zipfile.ZipInfo(name, WRITTEN), octets)
    except OSError as error:
        raise RunFolderError(f"{file} cannot be written: {error}") from error
    return Path(file)


def load(file: str | os.PathLike, packages: Collection[str] = ()) -> PyTree:
    """The model in a file that `save` wrote, now or with an earlier version.

    **Arguments**

    - `packages`: of your own whose classes and functions the file may name. No others are imported
      than these, jaxpbdl, JAX, NumPy, Equinox, Optax and e3nn-jax; no code of the file is run.

    **Raises** CheckpointError naming the file and the reason: damaged, of a later format, a class
    that is not there or not allowed, float64 numbers while JAX works in float32.
    """
    with _opened(file) as archive:
        content = _content(archive, file)
        arrays = [
            _leaf(archive, file, index, record) for index, record in enumerate(content["arrays"])
        ]
    try:
        return encoding.decode(content["model"], arrays, packages)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}{_written_by(content)}") from error


def read_card(file: str | os.PathLike) -> dict[str, Any]:
    """The card of a model file, and under "versions" what wrote it; the model is not read."""
    with _opened(file) as archive:
        content = _content(archive, file)
    return {**content["card"], "versions": content["versions"]}


def _written_by(content: Mapping[str, Any]) -> str:
    here = version("jaxpbdl")
    wrote = content["versions"]["jaxpbdl"]
    return "" if wrote == here else f" (written by jaxpbdl {wrote}, this is {here})"


def _opened(file: str | os.PathLike) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{file} is damaged or no model file: {error}") from error


def _content(archive: zipfile.ZipFile, file: str | os.PathLike) -> dict[str, Any]:
    text = _entry(archive, file, "model.json")
    if digest(text).encode() != _entry(archive, file, "model.sha256"):
        raise CheckpointError(f"{file} is damaged: model.json has another SHA-256")
    content = json.loads(text)
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{file} has the format {content['format']}, this version knows 1 to {FORMAT}: "
            f"install jaxpbdl {content['versions']['jaxpbdl']} or later"
        )
    return content


def _leaf(
    archive: zipfile.ZipFile, file: str | os.PathLike, index: int, record: Mapping[str, Any]
) -> np.ndarray:
    octets = _entry(archive, file, f"{index:04d}.npy")
    if digest(octets) != record["sha256"]:
        raise CheckpointError(f"{file} is damaged: array {index} has another SHA-256")
    value = np.load(io.BytesIO(octets), allow_pickle=False)
    dtype = jax.numpy.dtype(record["dtype"])
    return value if value.dtype == dtype else value.view(dtype)  # bfloat16 is void in npy


def _entry(archive: zipfile.ZipFile, file: str | os.PathLike, name: str) -> bytes:
    try:
        return archive.read(name)
    except (KeyError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{file} is damaged: {name}: {error}") from error


def _npy(value: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return buffer.getvalue()
