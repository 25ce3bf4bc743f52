"""`fit_ensemble`: models that differ in their key, fitted at once by the chunks of `fit`."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl.distributed.devices import mesh as mesh_along
from jaxpbdl.distributed.devices import placed
from jaxpbdl.distributed.members import devices_of, map_members, mesh_for
from jaxpbdl.distributed.processes import (
    first_process,
    gathered_arrays,
    gathered_members,
    own_members,
)
from jaxpbdl.learning import update
from jaxpbdl.learning.callbacks import Callback
from jaxpbdl.learning.fit import (
    Diverged,
    Model,
    advice,
    check_key,
    check_plan,
    dependencies,
    keep,
    never_valid,
    not_validated,
    own,
    prepare,
)
from jaxpbdl.learning.loop import History, Keys, Plan, key_numbers, train
from jaxpbdl.learning.update import Batches, Member, PerChunk, Task


def fit_ensemble(
    models: Callable[[PRNGKeyArray], Model] | Sequence[Model],
    loss: Callable[..., Array],
    batches: Batches | PerChunk,
    optimiser: optax.GradientTransformation,
    steps: int,
    *,
    keys: Keys | Sequence[PRNGKeyArray],
    chunk: int = 50,
    validate: Callable[[Model], Array] | None = None,
    patience: int | None = None,
    ema: float | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int = 1,
    allow_changes: bool = False,
    max_seconds: float | None = None,
    progress: bool = True,
    name: str = "ensemble",
    mesh: Mesh | None = None,
    callback: Callback | None = None,
) -> tuple[Model, list[History]]:
    """Fit one model a key: member `m` is `fit(models(keys[m]), ..., key=keys[m])`.

    `models` makes a model from a key, or is a list of them (to go on with what an earlier fit
    returned). The members run as one compiled program, and what they have in common (a solver,
    say) is there once. They are shared out over `mesh`, devices along an axis "member", by default
    all of this process (see `distributed.mesh` and `distributed.map_members`). Of several processes
    (`jax.distributed.initialize`) that all call it without a mesh, each fits every n-th member, in
    a folder `process-N` of its own, and gets them all. The other arguments are those of `fit`.

    **Returns** the members stacked along axis 0 of their arrays (see `member`, `members`), and a
    `History` for each. A member that diverges keeps its last finite parameters while the others go
    on; a warning names it and the update.

    **Raises** ValueError for duplicate keys or members of different structure; `Diverged` if all
    members do; else as `fit`. Warns if several members leave devices idle.
    """
    keys = _as_keys(keys)
    initial = [models(key) for key in keys] if callable(models) else list(models)
    if len(initial) != len(keys):
        raise ValueError(
            f"there must be one key a model, got {len(keys)} for {len(initial)} models"
        )
    if jax.process_count() > 1 and mesh is None:
        given = loss, batches, optimiser, steps
        settings = {
            "chunk": chunk, "validate": validate, "patience": patience, "ema": ema,
            "save_every": save_every, "allow_changes": allow_changes, "max_seconds": max_seconds,
            "progress": progress and first_process(), "name": name,
            "callback": callback if first_process() else None,
        }  # fmt: skip
        return _over_processes(initial, keys, given, folder, settings)
    stacked = stack(initial)
    _warn_of_idle_devices(name, len(keys), mesh)
    mesh = mesh_for(len(keys), mesh)
    task, params, constants = prepare(stacked, loss, batches, optimiser, validate, patience, ema)

    def fitted(member: Member) -> Model:
        result = jax.vmap(update.result)(own(member))
        if mesh is not None:
            result = jax.device_put(result, mesh.devices.flat[0])
        return task.model(result, constants)

    plan = Plan(
        steps, chunk, patience, folder, save_every, progress, name, keys, task.static,
        max_seconds, dependencies(task, constants, chunk, folder), allow_changes, callback,
        fitted,
    )  # fmt: skip
    check_plan(plan)
    # What all members have in common is not batched: one copy, and no batched arithmetic with it.
    differing, common = eqx.partition(
        constants, jax.tree.map(lambda shared: not bool(shared), _shared(constants))
    )
    common = jax.tree.map(lambda leaf: leaf[0], common)
    # Placed once, so that no chunk moves them again.
    everywhere = placed((task, common), mesh)
    each = placed((differing, keys), mesh, "member")
    start = placed(own(_start(task, params)), mesh, "member")

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
    result = fitted(final)
    if folder is not None:
        keep(result, histories, folder, name, many=True)
    return result, histories


def _over_processes(
    models: list[Model],
    keys: Keys,
    given: tuple,
    folder: str | os.PathLike | None,
    settings: dict[str, Any],
) -> tuple[Model, list[History]]:
    """Every n-th member on each of n processes; all get the result. A process all of whose members
    diverged still takes part in the exchange, so that the others do not wait for it."""
    mine = own_members(len(models))
    own_folder = None if folder is None else Path(folder) / f"process-{jax.process_index()}"
    devices = mesh_along("member")
    try:
        found, histories = fit_ensemble(
            [models[index] for index in mine], *given, keys=keys[np.asarray(mine)],
            folder=own_folder, mesh=devices, **settings,
        )  # fmt: skip
    except Diverged as error:
        assert isinstance(error.history, list)
        found, histories = error.model, error.history
    together = gathered_members(found, len(models))
    sent = [
        np.asarray(part)
        for h in histories
        for part in h._replace(bad_step=-1 if h.bad_step is None else h.bad_step)
    ]
    width = len(History._fields)
    each: dict[int, History] = {}
    for process, parts in enumerate(gathered_arrays(sent)):
        for place in range(len(parts) // width):
            loss, judged, at, bad_step, took = parts[width * place : width * (place + 1)]
            bad = None if bad_step < 0 else int(bad_step)
            number = process + place * jax.process_count()
            each[number] = History(loss, judged, at, bad, float(took))
    every = [each[number] for number in range(len(models))]
    if all(history.bad_step is not None for history in every):
        raise Diverged(f"{settings['name']}: all members diverged", together, every)
    if folder is not None and first_process():
        keep(together, every, folder, settings["name"], many=True)
    return together, every


def stack(models: Sequence[Model]) -> Model:
    """Models of one structure as one, with their arrays stacked along axis 0. Raises ValueError if
    their structures, shapes or anything that is no array differ."""
    arrays, statics = zip(*(eqx.partition(model, eqx.is_array) for model in models), strict=True)
    if not all(bool(eqx.tree_equal(static, statics[0])) for static in statics):
        raise ValueError("members must differ in their arrays only, not in structure or settings")
    return eqx.combine(_stack(arrays), statics[0])


def member(stacked: Model, index: int) -> Model:
    """One model of a stack."""
    arrays, static = eqx.partition(stacked, eqx.is_array)
    return eqx.combine(_pick(arrays, index), static)


def members(stacked: Model) -> list[Model]:
    """The models of a stack."""
    count = len(jax.tree.leaves(eqx.filter(stacked, eqx.is_array))[0])
    return [member(stacked, index) for index in range(count)]


@jax.jit
def _stack(arrays: tuple[PyTree, ...]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *arrays)


@jax.jit
def _pick(arrays: PyTree, index: int | Array) -> PyTree:
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
    return map_members(
        eqx.Partial(_advance_one, everywhere, bounds, chunk), each, member, mesh=mesh
    )


def _advance_one(
    everywhere: tuple, bounds: Array, chunk: int, each: tuple, member: Member
) -> tuple[Member, Array, Array]:
    (task, common), (differing, key) = everywhere, each
    constants = eqx.combine(differing, common)
    return update.advance(task, constants, key, member, bounds[0], bounds[1], chunk)


def _warn_of_idle_devices(name: str, members: int, mesh: Mesh | None) -> None:
    available = len(jax.local_devices()) if mesh is None else devices_of(mesh)
    if 1 < members < available:  # a fit of one member is not meant to fill them
        idle = available - members
        warnings.warn(
            f"{name}: {members} members leave {idle} of {available} devices idle", stacklevel=3
        )


def _as_keys(keys: Any) -> Keys:
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
