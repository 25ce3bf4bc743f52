"""A model as StableHLO: a program of its own, for another device, language or version of JAX.

    jp.learning.export(network, jnp.zeros((1, 64)), "network.stablehlo")
    call = jp.learning.exported("network.stablehlo")  # needs JAX alone, not this package
    call(inputs)  # (batch, 1, 64), any batch

The file is what `jax.export` serialises: the numbers of the model are in it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export as jax_export
from jaxtyping import PyTree

from jaxpbdl.checks import CheckpointError, RunFolderError
from jaxpbdl.files import replacing

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    model: Callable[..., PyTree],
    example: PyTree,
    file: str | os.PathLike,
    *,
    batched: bool = True,
    platforms: Sequence[str] = PLATFORMS,
) -> Path:
    """Write `model` as a program that `exported` or `jax.export.deserialize` reads.

    **Arguments**

    - `example`: one input of the model, an array or a tree of them; shapes and types count only.
    - `batched`: whether the program takes inputs along a new first axis of any length; JAX refuses
      that of a model whose shapes depend on their number.
    - `platforms`: that the program is for.

    **Returns** the path of the file.

    **Raises** ImportError without the package flatbuffers, RunFolderError if the file cannot be
    written.
    """
    try:
        import flatbuffers  # noqa: F401  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            'StableHLO is written by the package flatbuffers: pip install "jaxpbdl[export]"'
        ) from error

    def described(leaf: jax.typing.ArrayLike) -> jax.ShapeDtypeStruct:
        shape, dtype = jax.numpy.shape(leaf), jax.numpy.result_type(leaf)
        batch = jax_export.symbolic_shape("batch") if batched else ()
        return jax.ShapeDtypeStruct((*batch, *shape), dtype)

    function = jax.vmap(lambda inputs: model(inputs)) if batched else lambda inputs: model(inputs)
    traced = jax_export.export(jax.jit(function), platforms=list(platforms))
    program = traced(jax.tree.map(described, example))
    try:
        with replacing(Path(file)) as part:
            part.write_bytes(program.serialize())
    except OSError as error:
        raise RunFolderError(f"{file} cannot be written: {error}") from error
    return Path(file)


def exported(file: str | os.PathLike) -> Callable[..., Any]:
    """The program in a file that `export` wrote, as a function; jit, vmap, but not grad.

    **Raises** CheckpointError for a file that is not there or damaged.
    """
    try:
        return jax_export.deserialize(bytearray(Path(file).read_bytes())).call
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    except Exception as error:  # flatbuffers raises what comes: struct.error, TypeError, ...
        raise CheckpointError(f"{file} is damaged or no exported program: {error}") from error
