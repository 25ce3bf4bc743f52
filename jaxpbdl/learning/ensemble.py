"""`fit_ensemble`: models that differ in their key, fitted at once by the chunks of `fit`."""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl.learning import update
from jaxpbdl.learning.fit import Diverged, advice, own, planned, prepare
from jaxpbdl.learning.loop import History, key_numbers, train
from jaxpbdl.learning.update import Batches, Member, PerChunk, Task
from jaxpbdl.spread import of_each


def fit_ensemble(
    models: Callable[[PRNGKeyArray], Any] | Sequence[Any],
    loss: Callable[..., Array],
    batches: Batches | PerChunk,
    optimiser: optax.GradientTransformation,
    steps: int,
    *,
    keys: PRNGKeyArray | Sequence[PRNGKeyArray],
    chunk: int = 50,
    validate: Callable[[Any], Array] | None = None,
    patience: int | None = None,
    ema: float | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int = 1,
    progress: bool = True,
    name: str = "ensemble",
    devices: Sequence[Any] | None = None,
) -> tuple[Any, list[History]]:
    """Fit one model a key: member `m` is `fit(models(keys[m]), ..., key=keys[m])`.

    `models` makes a model from a key, or is a list of them (to go on with what an earlier fit
    returned). The members run as one compiled program, and what they have in common (a solver,
    say) is there once. They are shared out over `devices` without any communication: by default as
    many of JAX's as divide the number of members. On a CPU
    `jax.config.update("jax_num_cpu_devices", 2)` at the start of the program makes two devices of
    its cores. The other arguments are those of `fit`.

    **Returns** the members stacked along axis 0 of their arrays (see `member`, `members`), and a
    `History` for each. A member that diverges keeps its last finite parameters while the others go
    on; a warning names it and the update.

    **Raises** ValueError for duplicate keys, members of different structure, or a number of members
    that the given devices do not divide; `Diverged` if all members do; else as `fit`.
    """
    keys = keys if isinstance(keys, jax.Array) else jnp.stack(list(keys))
    _check_distinct(keys)
    made = [models(key) for key in keys] if callable(models) else list(models)
    if len(made) != len(keys):
        raise ValueError(f"there must be one key a model, got {len(keys)} for {len(made)} models")
    stacked = stack(made)
    task, params, constants = prepare(stacked, loss, batches, optimiser, validate, patience, ema)
    plan = planned(steps, chunk, folder, save_every, progress, name)
    mesh = _mesh(devices, len(keys))
    # What all members have in common is not batched: one copy, and no batched arithmetic with it.
    differing, common = eqx.partition(
        constants, jax.tree.map(lambda shared: not bool(shared), _shared(constants))
    )
    common = jax.tree.map(lambda leaf: leaf[0], common)
    everywhere = _place((task, common), mesh, PartitionSpec())
    start, each = (
        _place(tree, mesh, PartitionSpec("member"))
        for tree in (own(_start(task, params)), (differing, keys))
    )

    def advance(member: Member, begin: int, end: int) -> tuple[Member, Array, Array]:
        bounds = jnp.asarray([begin, end])
        return _advance((everywhere, each, bounds, chunk, mesh), member)

    final, histories = train(advance, start, plan, keys, task.frame)
    bad = {i: h.bad_step for i, h in enumerate(histories) if h.bad_step is not None}
    if len(bad) == len(histories):
        message = advice(
            f"{name}: all members diverged, the first to do so", min(bad.values()), plan
        )
        raise Diverged(message, task.model(final.params, constants), histories)
    for index, step in bad.items():
        warnings.warn(advice(f"{name}, member {index}", step, plan), stacklevel=2)
    result = update.result(final)
    if mesh is not None:
        result = jax.device_put(result, mesh.devices.flat[0])
    return task.model(result, constants), histories


def stack(models: Sequence[Any]) -> Any:
    """Models of one structure as one, with their arrays stacked along axis 0. Raises ValueError if
    their structures, shapes or anything that is no array differ."""
    arrays, frames = zip(*(eqx.partition(model, eqx.is_array) for model in models), strict=True)
    if not all(bool(eqx.tree_equal(frame, frames[0])) for frame in frames):
        raise ValueError("members must differ in their arrays only, not in structure or settings")
    return eqx.combine(_stack(arrays), frames[0])


def member(stacked: Any, index: int) -> Any:
    """One model of a stack."""
    arrays, frame = eqx.partition(stacked, eqx.is_array)
    return eqx.combine(_pick(arrays, index), frame)


def members(stacked: Any) -> list[Any]:
    """The models of a stack."""
    count = len(jax.tree.leaves(eqx.filter(stacked, eqx.is_array))[0])
    return [member(stacked, index) for index in range(count)]


@jax.jit
def _stack(arrays: tuple[PyTree, ...]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)


@jax.jit
def _pick(arrays: PyTree, index: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], arrays)


@jax.jit
def _shared(arrays: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.all(leaf == leaf[:1]), arrays)


@eqx.filter_jit
def _start(task: Task, params: PyTree) -> Member:
    return jax.vmap(lambda params: update.start(task, params))(params)


@eqx.filter_jit(donate="all-except-first")
def _advance(fixed: tuple, member: Member) -> tuple[Member, Array, Array]:
    everywhere, each, bounds, chunk, mesh = fixed
    arrays, frame = eqx.partition(everywhere, eqx.is_array)

    def block(arrays, bounds, each, member):
        task, common = eqx.combine(arrays, frame)

        def one(each, member):
            differing, key = each
            constants = eqx.combine(differing, common)
            return update.advance(task, constants, key, member, bounds[0], bounds[1], chunk)

        return of_each(one, each, member)

    if mesh is not None:
        everywhere, split = PartitionSpec(), PartitionSpec("member")
        specs = (everywhere, everywhere, split, split)
        block = jax.shard_map(block, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return block(arrays, bounds, each, member)


def _mesh(devices: Sequence[Any] | None, count: int) -> Mesh | None:
    if devices is None:
        available = jax.devices()
        devices = available[: max(n for n in range(1, len(available) + 1) if count % n == 0)]
    if len(devices) < 2:
        return None
    if count % len(devices):
        raise ValueError(
            f"{len(devices)} devices do not divide {count} members; give a number of keys that is "
            f"a multiple of {len(devices)}, or fewer devices"
        )
    return Mesh(np.asarray(devices), ("member",))


def _place(tree: Any, mesh: Mesh | None, spec: PartitionSpec) -> Any:
    """The arrays of a tree where `_advance` wants them, so that no chunk moves them again."""
    if mesh is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, NamedSharding(mesh, spec)), rest)


def _check_distinct(keys: PRNGKeyArray) -> None:
    seen: dict[str, int] = {}
    for index, numbers in enumerate(key_numbers(keys)):
        first = seen.setdefault(str(numbers), index)
        if first != index:
            raise ValueError(
                f"keys must differ, but keys {first} and {index} are both {numbers}: these members "
                "would be copies; use jax.random.split(key, number)"
            )
