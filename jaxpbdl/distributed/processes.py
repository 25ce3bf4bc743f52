"""Several processes that run the same program, on one machine or many.

Each has called `jax.distributed.initialize` (the command line does it: `jaxpbdl run NAME
--processes`). Devices of a mesh may then belong to all of them; members of an ensemble are shared
out without any exchange until the end.
"""

import io
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jaxtyping import PyTree


def spans_processes(mesh: Mesh | None) -> bool:
    """Whether a mesh has devices of other processes."""
    return mesh is not None and mesh.is_multi_process


def first_process() -> bool:
    """Whether this is the process that writes and reports."""
    return jax.process_index() == 0


def own_members(count: int) -> range:
    """Which of so many members this process works on: every n-th of n processes.

    **Raises:** ValueError for fewer members than processes.
    """
    processes = jax.process_count()
    if count < processes:
        raise ValueError(f"{processes} processes need at least as many members, got {count}")
    return range(jax.process_index(), count, processes)


def put(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
    """`jax.device_put` that also places what all processes hold on devices of all of them."""
    if sharding.is_fully_addressable or not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        numbers = put(jax.random.key_data(leaf), NamedSharding(sharding.mesh, sharding.spec))
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


def on_this_process(tree: PyTree) -> PyTree:
    """Arrays that are whole on each device of several processes, on the first one of this."""

    def own(leaf: jax.Array) -> jax.Array:
        return leaf if leaf.is_fully_addressable else leaf.addressable_data(0)

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(own, arrays), rest)


def any_process(flag: bool) -> bool:
    """Whether it is so on any process; all of them have to ask."""
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def gathered_members(stacked: PyTree, count: int) -> PyTree:
    """The members of all processes, stacked in their order, on each of them.

    **Arguments:** `stacked`, those of this process (`own_members`), stacked along axis 0; `count`,
    how many there are in all. What is no array is the same everywhere.
    """
    each = -(-count // jax.process_count())

    def gather(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            numbers = gather(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        host = np.asarray(leaf)
        host = np.concatenate([host, np.repeat(host[-1:], each - len(host), 0)])
        parts = np.asarray(multihost_utils.process_allgather(host))  # (processes, each, ..)
        return jnp.asarray(np.swapaxes(parts, 0, 1).reshape(-1, *host.shape[1:])[:count])

    arrays, rest = eqx.partition(stacked, eqx.is_array)
    return eqx.combine(jax.tree.map(gather, arrays), rest)


def gathered_arrays(arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The lists of arrays of all processes, whatever their lengths and shapes."""
    content = io.BytesIO()
    np.savez(content, *arrays)
    sent = np.frombuffer(content.getvalue(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.asarray(len(sent)))).ravel()
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(sent)] = sent
    received = np.asarray(multihost_utils.process_allgather(padded))
    found = []
    for row, size in zip(received.reshape(len(sizes), -1), sizes, strict=True):
        with np.load(io.BytesIO(row[:size].tobytes())) as file:
            found.append([file[name] for name in file.files])
    return found
