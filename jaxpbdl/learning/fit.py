"""`fit`: minimise a loss over a model, in chunks of updates that run as one compiled loop."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.distributed.devices import devices_along, placed, split_first
from jaxpbdl.distributed.processes import first_process, on_this_process, spans_processes
from jaxpbdl.learning import checkpoint, fingerprint, model_file, update
from jaxpbdl.learning.callbacks import Callback
from jaxpbdl.learning.loop import History, Plan, train
from jaxpbdl.learning.update import Batches, Member, PerChunk, Task
from jaxpbdl.trainable import fixed_parts

Model = TypeVar("Model")


class Diverged(checks.BlowUp):
    """A fit whose loss, gradient or parameters left the finite numbers.

    `model` has the parameters before that update, `history` the losses up to it (for an ensemble
    the stacked members and the list of histories).
    """

    def __init__(self, message: str, model: PyTree, history: History | list[History]):
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
    validate: Callable[[Model], Array] | None = None,
    patience: int | None = None,
    ema: float | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int = 1,
    allow_changes: bool = False,
    max_seconds: float | None = None,
    progress: bool = True,
    name: str = "fit",
    callback: Callback | None = None,
    mesh: Mesh | None = None,
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
    - `validate`: `validate(model) -> scalar` after each chunk; the model with the smallest finite
      value is returned, and `patience` chunks without a better one end the fit. Where no value was
      finite, the last model is returned, with a warning.
    - `ema`: decay of a running average of the parameters, `min(ema, (1 + i) / (10 + i))` at update
      `i`; it is the averaged model that is validated and returned.
    - `folder`: a checkpoint is written every `save_every` chunks, at the end, and on Ctrl-C or
      SIGTERM, which wait for the end of the chunk. Called again, also with more `steps` or another
      `patience`, `fit` resumes from there, with the very numbers of a fit that was not interrupted.
    - `allow_changes`: go on from a checkpoint although the loss, the batches with their data, the
      optimiser with its settings, the validation or an array that is not trained are others than
      those it was written with. Their digests stand in the checkpoint; without this argument the
      fit is refused with the names of what differs.
    - `max_seconds`: wall time of this call after which the fit ends with the chunk it is in, as if
      fewer `steps` had been given; called again it goes on.
    - `callback`: called with a `Report` after each chunk: step, losses, validation, seconds, and
      the model on demand. See `CsvLog`, `TensorBoardLog`, `wandb_log`, and `each` for several.
    - `mesh`: devices that share each batch along its first axis (`distributed.mesh("batch")`); the
      numbers are those of one device but for rounding. They may be those of several processes,
      `distributed.mesh("batch", jax.devices())`, which all call `fit` with the same arguments; the
      first one writes to the folder, which all must see, reports progress and calls back.

    **Returns** the fitted model and its `History`. With a `folder` the model also lies there as
    `model.jaxpbdl`, which `jp.load` reads, unless it holds what no file can (a lambda).

    **Raises** `Diverged` (a `checks.BlowUp`) naming the first update that is not finite, which is
    not applied; `checks.RunFolderError` if the folder is in use or cannot be written;
    `checks.CheckpointError` if it holds a checkpoint of another model or key, of more than `steps`
    updates, or of a fit that differs (see `allow_changes`); ValueError or TypeError for
    inadmissible arguments.
    """
    check_key("key", key)
    if mesh is not None:
        devices_along(mesh, "batch")
    task, params, constants = prepare(model, loss, batches, optimiser, validate, patience, ema)

    def fitted(member: Member) -> Model:
        return task.model(update.result(own(member)), constants)

    together = spans_processes(mesh)
    silent = together and not first_process()
    plan = Plan(
        steps, chunk, patience, folder, save_every, progress and not silent, name, key,
        task.static, max_seconds, dependencies(task, constants, chunk, folder), allow_changes,
        None if silent else callback, fitted, together,
    )  # fmt: skip
    check_plan(plan)
    member = own(_start(task, params))
    if mesh is not None:
        task = task._replace(batches=_split(task.batches, mesh))
        task, constants, member, key = placed((task, constants, member, key), mesh)

    def advance(member: Member, begin: int, end: int) -> tuple[Member, Array, Array]:
        if together:  # from a checkpoint it comes to this process alone
            member = placed(member, mesh)
        return _advance((task, constants, key, jnp.asarray(begin), jnp.asarray(end), chunk), member)

    member, (history,) = train(advance, member, plan)
    if history.bad_step is not None:
        final = task.model(member.params, constants)
        raise Diverged(advice(name, history.bad_step, plan), final, history)
    if never_valid(history):
        warnings.warn(not_validated(name), stacklevel=2)
    missed = optax.tree_utils.tree_get(member.optimiser_state, "failed_searches")
    if missed is not None and missed > 0:
        warnings.warn(no_smaller_loss(name, int(missed), len(history.loss)), stacklevel=2)
    result = fitted(member)
    if together:  # as of a fit in one process
        result = on_this_process(result)
    if folder is not None and plan.writes:
        keep(result, [history], folder, name)
    return result, history


class SplitBatches(eqx.Module):
    """Batches whose arrays are split over devices."""

    draw: Callable[..., PyTree]
    mesh: Mesh = eqx.field(static=True)

    def __call__(self, *arguments: PyTree) -> PyTree:
        return split_first(self.draw(*arguments), self.mesh, "batch")


def _split(batches: Batches | PerChunk, mesh: Mesh) -> Batches | PerChunk:
    if isinstance(batches, PerChunk):
        return PerChunk(SplitBatches(batches.draw, mesh))
    return SplitBatches(batches, mesh)


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
    model: PyTree,
    loss: Callable[..., Array],
    batches: Batches | PerChunk,
    optimiser: optax.GradientTransformation,
    validate: Callable[[PyTree], Array] | None,
    patience: int | None,
    ema: float | None,
) -> tuple[Task, PyTree, PyTree]:
    """`(task, params, constants)`, checked."""
    if not callable(loss):
        raise TypeError(f"loss must be a function (model, batch) -> scalar, got {_kind(loss)}")
    if not callable(batches) and not isinstance(batches, PerChunk):
        raise TypeError(
            f"batches must be a function key -> batch, got {_kind(batches)}; learning.Samples and "
            "learning.Windows make one of arrays, and `lambda key: data` gives all of them each "
            "time"
        )
    if not isinstance(optimiser, optax.GradientTransformation):
        raise TypeError(
            f"optimiser must be one of optax, such as optax.adam(1e-3), got {_kind(optimiser)}"
        )
    if patience is not None:
        checks.count("patience", patience)
        if validate is None:
            raise ValueError("patience counts validations: give validate too")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema must lie between 0 and 1, got {ema}")
    params, constants, static = update.split(model)
    if not jax.tree.leaves(params):
        fixed = fixed_parts(model)
        hint = f"; its parts {', '.join(fixed)} are not trained (trainable_fields)" if fixed else ""
        raise ValueError(f"model has no float array to fit{hint}")
    return Task(loss, batches, optimiser, validate, patience, ema, static), params, constants


def dependencies(
    task: Task, constants: PyTree, chunk: int, folder: str | os.PathLike | None
) -> dict[str, object]:
    """Digests of what the numbers of a fit depend on besides its state, by the names of the
    arguments of `fit`; nothing where nothing is saved."""
    if folder is None:
        return {}
    parts = {"loss": task.loss, "batches": task.batches, "optimiser": task.optimiser}
    parts |= {"validate": task.validate, "model": task.static}
    by_chunk = isinstance(task.batches, PerChunk) or task.validate is not None
    return {
        **{name: fingerprint.digest(part) for name, part in parts.items()},
        "constants": fingerprint.array_digests(constants),
        "ema": task.ema,
        "chunk": chunk if by_chunk else None,
        "python": fingerprint.python(),
    }


def keep(
    fitted: PyTree,
    histories: list[History],
    folder: str | os.PathLike,
    name: str,
    *,
    many: bool = False,
) -> None:
    """Leave the fitted model, or the members of an ensemble, in the folder of the fit, as one
    file."""
    validations = [h.validation[np.isfinite(h.validation)] for h in histories]
    card = {
        "fit": name,
        "members": len(histories) if many else None,
        "updates": [len(h.loss) for h in histories],
        "validation": [float(v.min()) if len(v) else None for v in validations],
        "seconds": round(histories[0].seconds, 1),
    }
    with suppress(ValueError):  # it holds a function without a name; its checkpoints do not mind
        model_file.save(fitted, Path(folder) / f"model{model_file.SUFFIX}", card)


def check_plan(plan: Plan) -> None:
    """Refuse numbers of steps that are none."""
    checks.count("steps", plan.steps, 0)
    checks.count("chunk", plan.chunk)
    checks.count("save_every", plan.save_every)
    if plan.max_seconds is not None:
        checks.positive("max_seconds", plan.max_seconds)


def check_key(name: str, key: object, ndim: int = 0) -> None:
    """Refuse what is no random key of JAX, of the new or the old kind (or an array of them)."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    old = isinstance(key, (jax.Array, np.ndarray)) and key.dtype == jnp.uint32 and key.ndim > ndim
    if not typed and not old:
        raise TypeError(f"{name} must come from jax.random.key or split, got {_kind(key)}")


def never_valid(history: History) -> bool:
    """Whether there were validations and none was finite."""
    return len(history.validation) > 0 and not np.any(np.isfinite(history.validation))


def not_validated(who: str) -> str:
    """What to say where no validation was finite."""
    return (
        f"{who}: validate was never finite, so no best model is known: the parameters after the "
        "last update are returned"
    )


def no_smaller_loss(who: str, missed: int, updates: int) -> str:
    """What to say of line searches that failed."""
    return (
        f"{who}: in {missed} of {updates} updates the line search found no smaller loss, though "
        "the gradient promises one; those steps were not taken. The loss may not be smooth there, "
        "or not the same for all updates of a chunk (see PerChunk)"
    )


def _kind(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"


def advice(who: str, step: int, plan: Plan) -> str:
    """What to say of a member that diverged."""
    saved = None if plan.folder is None else checkpoint.latest(plan.folder)
    before = "" if saved is None else f" The newest checkpoint is {saved}."
    return (
        f"{who}: the loss, its gradient or the new parameters were not finite at update {step}, "
        "which was not applied. Try a smaller learning rate or optax.clip_by_global_norm, or look "
        f"at its batch, batches(jax.random.split(jax.random.fold_in(key, {step}))[0]).{before}"
    )
