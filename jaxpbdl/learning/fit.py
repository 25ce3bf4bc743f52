"""`fit`: minimise a loss over a model, in chunks of updates that run as one compiled loop."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.learning import checkpoint, update
from jaxpbdl.learning.loop import History, Plan, train
from jaxpbdl.learning.update import Batches, Member, PerChunk, Task

Model = TypeVar("Model")


class Diverged(checks.BlowUp):
    """A fit whose loss, gradient or parameters left the finite numbers.

    `model` has the parameters before that update, `history` the losses up to it (for an ensemble
    the stacked members and the list of histories).
    """

    def __init__(self, message: str, model: Any, history: Any):
        super().__init__(message)
        self.model, self.history = model, history


def fit(
    model: Model,
    loss: Callable[..., Array],
    batches: Batches | PerChunk,
    optimiser: optax.GradientTransformation,
    steps: int,
    *,
    key: PRNGKeyArray,
    chunk: int = 50,
    validate: Callable[[Any], Array] | None = None,
    patience: int | None = None,
    ema: float | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int = 1,
    progress: bool = True,
    name: str = "fit",
) -> tuple[Model, History]:
    """Apply `steps` updates of `optimiser` to the `trainable` arrays of `model`.

    **Arguments**

    - `loss`: `loss(model, batch)` or `loss(model, batch, key)`, a scalar.
    - `batches`: `batches(key) -> batch`, pure. Large data belong into the fields of an `eqx.Module`
      (whose arrays jit takes as arguments); a function that closes over them has them compiled in.
      The same holds for `loss` and `validate`. Line searches and quasi-Newton methods want
      `PerChunk` batches, the same for all updates of a chunk.
    - `optimiser`: of optax, with its schedules.
    - `key`: update `i` uses `fold_in(key, i)`, split in two for the batch and for the loss.
    - `chunk`: updates between two looks at the numbers: one compiled loop, then a validation.
    - `validate`: `validate(model) -> scalar` after each chunk; the best model is returned, and
      `patience` chunks without a better one end the fit.
    - `ema`: decay of a running average of the parameters, `min(ema, (1 + i) / (10 + i))` at update
      `i`; it is the averaged model that is validated and returned.
    - `folder`: a checkpoint is written every `save_every` chunks, at the end, and on Ctrl-C or
      SIGTERM, which wait for the end of the chunk. Called again, `fit` resumes from there, with the
      very numbers of a fit that was not interrupted.

    **Returns** the fitted model and its `History`.

    **Raises** `Diverged` (a `checks.BlowUp`) naming the first update that is not finite, which is
    not applied; `checks.RunFolderError` if the folder is in use or cannot be written;
    `checks.CheckpointError` if it holds a checkpoint of another model, optimiser or key.
    """
    task, params, constants = prepare(model, loss, batches, optimiser, validate, patience, ema)
    plan = planned(steps, chunk, folder, save_every, progress, name)
    member = own(_start(task, params))

    def advance(member: Member, begin: int, end: int) -> tuple[Member, Array, Array]:
        return _advance((task, constants, key, jnp.asarray(begin), jnp.asarray(end), chunk), member)

    member, (history,) = train(advance, member, plan, key, task.frame)
    if history.bad_step is not None:
        final = task.model(member.params, constants)
        raise Diverged(advice(name, history.bad_step, plan), final, history)
    return task.model(update.result(member), constants), history


@eqx.filter_jit
def _start(task: Task, params: PyTree) -> Member:
    return update.start(task, params)


@eqx.filter_jit(donate="all-except-first")
def _advance(fixed: tuple, member: Member) -> tuple[Member, Array, Array]:
    task, constants, key, begin, end, chunk = fixed
    return update.advance(task, constants, key, member, begin, end, chunk)


def own(tree: PyTree) -> PyTree:
    """A copy of every array, so that donating it takes nothing from the caller."""
    return jax.tree.map(lambda leaf: leaf.copy(), tree)


def prepare(
    model: Any,
    loss: Callable[..., Array],
    batches: Batches | PerChunk,
    optimiser: optax.GradientTransformation,
    validate: Callable[[Any], Array] | None,
    patience: int | None,
    ema: float | None,
) -> tuple[Task, PyTree, PyTree]:
    """`(task, params, constants)`, checked."""
    if patience is not None:
        checks.count("patience", patience)
        if validate is None:
            raise ValueError("patience counts validations: give validate too")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema must lie between 0 and 1, got {ema}")
    params, constants, frame = update.split(model)
    if not jax.tree.leaves(params):
        raise ValueError("model has no float array to fit")
    return Task(loss, batches, optimiser, validate, patience, ema, frame), params, constants


def planned(
    steps: int,
    chunk: int,
    folder: str | os.PathLike | None,
    save_every: int,
    progress: bool,
    name: str,
) -> Plan:
    """The plan, checked."""
    checks.count("steps", steps, 0)
    checks.count("chunk", chunk)
    checks.count("save_every", save_every)
    return Plan(steps, chunk, folder, save_every, progress, name)


def advice(who: str, step: int, plan: Plan) -> str:
    """What to say of a member that diverged."""
    saved = None if plan.folder is None else checkpoint.latest(plan.folder)
    before = "" if saved is None else f" The newest checkpoint is {saved}."
    return (
        f"{who}: the loss, its gradient or the new parameters were not finite at update {step}, "
        "which was not applied. Try a smaller learning rate or optax.clip_by_global_norm, or look "
        f"at its batch, batches(jax.random.split(jax.random.fold_in(key, {step}))[0]).{before}"
    )
