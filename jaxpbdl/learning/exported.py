"""A model as a program of its own: as StableHLO for another device or version of JAX, as ONNX for
runtimes without JAX.

    jp.learning.export(network, jnp.zeros((1, 64)), "network.stablehlo")
    call = jp.learning.exported("network.stablehlo")  # needs JAX alone, not this package
    call(inputs)  # (batch, 1, 64), any batch

The file is what `jax.export` serialises: the numbers of the model are in it. ONNX is written by the
package jax2onnx.
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

    traced = jax_export.export(jax.jit(_function(model, batched)), platforms=list(platforms))
    return _written(traced(jax.tree.map(described, example)).serialize(), file)


def export_onnx(
    model: Callable[..., PyTree],
    example: PyTree,
    file: str | os.PathLike,
    *,
    batched: bool = True,
) -> Path:
    """Write `model` as ONNX, which onnxruntime and others run in many languages.

    **Arguments** and **returns** as of `export`; an input is one array.

    **Raises** ImportError without the package jax2onnx, NotImplementedError for a model with an
    operation that it does not know, RunFolderError if the file cannot be written.
    """
    try:
        from jax2onnx import to_onnx  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            'ONNX is written by the package jax2onnx: pip install "jaxpbdl[onnx]"'
        ) from error
    shape = jax.numpy.shape(example)
    program = to_onnx(_function(model, batched), [("batch", *shape) if batched else shape])
    return _written(program.SerializeToString(), file)


def _function(model: Callable[..., PyTree], batched: bool) -> Callable[[PyTree], PyTree]:
    return jax.vmap(lambda inputs: model(inputs)) if batched else lambda inputs: model(inputs)


def _written(program: bytes | bytearray, file: str | os.PathLike) -> Path:
    try:
        with replacing(Path(file)) as part:
            part.write_bytes(program)
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
