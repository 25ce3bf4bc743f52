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

from jaxpbdl.distributed.members import of_each
from jaxpbdl.learning import update
from jaxpbdl.learning.fit import (
    Diverged,
    advice,
    check_key,
    check_plan,
    dependencies,
    never_valid,
    not_validated,
    own,
    prepare,
)
from jaxpbdl.learning.loop import History, Plan, key_numbers, train
from jaxpbdl.learning.update import Batches, Member, PerChunk, Task


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
    allow_changes: bool = False,
    max_seconds: float | None = None,
    progress: bool = True,
    name: str = "ensemble",
    devices: Sequence[Any] | None = None,
) -> tuple[Any, list[History]]:
    """Fit one model a key: member `m` is `fit(models(keys[m]), ..., key=keys[m])`.

    `models` makes a model from a key, or is a list of them (to go on with what an earlier fit
    returned). The members run as one compiled program, and what they have in common (a solver,
    say) is there once. They are shared out over `devices`, by default all of JAX's, without any
    communication; where they do not share out evenly, some devices repeat the last member. On a CPU
    `jax.config.update("jax_num_cpu_devices", 2)` at the start of the program makes two devices of
    its cores. The other arguments are those of `fit`.

    **Returns** the members stacked along axis 0 of their arrays (see `member`, `members`), and a
    `History` for each. A member that diverges keeps its last finite parameters while the others go
    on; a warning names it and the update.

    **Raises** ValueError for duplicate keys or members of different structure; `Diverged` if all
    members do; else as `fit`. Warns of devices that have no member.
    """
    keys = _as_keys(keys)
    made = [models(key) for key in keys] if callable(models) else list(models)
    if len(made) != len(keys):
        raise ValueError(f"there must be one key a model, got {len(keys)} for {len(made)} models")
    stacked = stack(made)
    task, params, constants = prepare(stacked, loss, batches, optimiser, validate, patience, ema)
    plan = Plan(
        steps, chunk, patience, folder, save_every, progress, name, keys, task.frame,
        max_seconds, dependencies(task, constants, chunk, folder), allow_changes,
    )  # fmt: skip
    check_plan(plan)
    mesh = _mesh(devices, len(keys), name)
    # What all members have in common is not batched: one copy, and no batched arithmetic with it.
    differing, common = eqx.partition(
        constants, jax.tree.map(lambda shared: not bool(shared), _shared(constants))
    )
    common = jax.tree.map(lambda leaf: leaf[0], common)
    everywhere = _place((task, common), mesh, PartitionSpec())
    members = len(keys)
    each = _place(_padded((differing, keys), mesh), mesh, PartitionSpec("member"))
    start = own(_start(task, params))
    if mesh is not None and members % mesh.size == 0:
        start = _place(start, mesh, PartitionSpec("member"))

    def advance(member: Member, begin: int, end: int) -> tuple[Member, Array, Array]:
        bounds = jnp.asarray([begin, end])
        return _advance((everywhere, each, bounds, chunk, mesh), member)

    final, histories = train(advance, start, plan)
    bad = {i: h.bad_step for i, h in enumerate(histories) if h.bad_step is not None}
    if len(bad) == len(histories):
        message = advice(
            f"{name}: all members diverged, the first to do so", min(bad.values()), plan
        )
        raise Diverged(message, task.model(final.params, constants), histories)
    for index, history in enumerate(histories):
        if history.bad_step is not None:
            warnings.warn(advice(f"{name}, member {index}", history.bad_step, plan), stacklevel=2)
        elif never_valid(history):
            warnings.warn(not_validated(f"{name}, member {index}"), stacklevel=2)
    result = jax.vmap(update.result)(final)
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
    count = member.active.shape[0]
    results = block(arrays, bounds, each, _padded(member, mesh))
    return jax.tree.map(lambda leaf: leaf[:count], results)


def _mesh(devices: Sequence[Any] | None, count: int, name: str) -> Mesh | None:
    devices = jax.devices() if devices is None else list(devices)
    if count < len(devices):
        idle = len(devices) - count
        warnings.warn(
            f"{name}: {count} members leave {idle} of {len(devices)} devices idle", stacklevel=3
        )
    devices = devices[:count]
    return None if len(devices) < 2 else Mesh(np.asarray(devices), ("member",))


def _padded(members: PyTree, mesh: Mesh | None) -> PyTree:
    """The last member again, as often as it takes to give every device of the mesh as many."""
    if mesh is None:
        return members

    def pad(leaf: Array) -> Array:
        missing = -leaf.shape[0] % mesh.size
        return jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)]) if missing else leaf

    return jax.tree.map(pad, members)


def _place(tree: Any, mesh: Mesh | None, spec: PartitionSpec) -> Any:
    """The arrays of a tree where `_advance` wants them, so that no chunk moves them again."""
    if mesh is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, NamedSharding(mesh, spec)), rest)


def _as_keys(keys: Any) -> PRNGKeyArray:
    """One array of keys, no two of them equal."""
    keys = jnp.stack(list(keys)) if isinstance(keys, (list, tuple)) and keys else keys
    check_key("keys", keys, 1)
    seen: dict[str, int] = {}
    for index, numbers in enumerate(key_numbers(keys)):
        first = seen.setdefault(str(numbers), index)
        if first != index:
            raise ValueError(
                f"keys must differ, but keys {first} and {index} are both {numbers}: these members "
                "would be copies; use jax.random.split(key, number)"
            )
    return keys
