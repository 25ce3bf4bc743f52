"""The loop around the compiled chunks: history, checkpoints, interruption. One for all fits.

It counts members along a leading axis and treats a single fit as one member.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray, PyTree, UInt32

from jaxpbdl.checks import RunFolderError
from jaxpbdl.distributed.processes import any_process, first_process, gathered_arrays
from jaxpbdl.learning import checkpoint
from jaxpbdl.learning.callbacks import Callback, Report, finite_mean
from jaxpbdl.learning.interrupt import deferred
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.learning.progress import report
from jaxpbdl.learning.update import Member, patient

Keys: TypeAlias = Key[Array, " keys"] | UInt32[Array, "keys key_size"]
"""Many keys, of the new or the old kind, along the first axis."""
Advance = Callable[[Member, int, int], tuple[Member, Array, Array]]
CHANGES_ALLOWED = ContextVar("changes_allowed", default=False)


@contextmanager
def changes_allowed(allowed: bool = True) -> Iterator[None]:
    """Every fit inside goes on from its checkpoint as if called with `allow_changes=True`: for a
    program whose fits lie deep in functions of others, such as the command line."""
    token = CHANGES_ALLOWED.set(allowed)
    try:
        yield
    finally:
        CHANGES_ALLOWED.reset(token)


class History(NamedTuple):
    """What happened during the fit of one model."""

    loss: np.ndarray  # of each update
    validation: np.ndarray  # after each chunk; empty without `validate`
    validation_steps: np.ndarray  # updates done before each validation
    bad_step: int | None  # the update that was not finite, after which the model was left alone
    seconds: float  # wall time; compilation and the earlier parts of a resumed fit included


class Plan(NamedTuple):
    """How long to go on, and where to keep what was reached."""

    steps: int
    chunk: int
    patience: int | None
    folder: str | os.PathLike | None
    save_every: int
    progress: bool
    name: str
    key: PRNGKeyArray
    static: PyTree  # the model without its arrays
    max_seconds: float | None
    depends_on: dict[str, object]  # digests of what the numbers depend on, see `dependencies`
    allow_changes: bool
    callback: Callback | None
    model: Callable[[Member], PyTree]  # what the fit would return now
    together: bool = False  # whether several processes do the same updates, of which one writes

    @property
    def writes(self) -> bool:
        """Whether this process keeps checkpoints in the folder."""
        return self.folder is not None and (not self.together or first_process())


class Record(NamedTuple):
    """The numbers of all members so far."""

    loss: np.ndarray  # (members, steps)
    validation: np.ndarray  # (members, validations)
    validation_steps: np.ndarray  # (validations,)

    @property
    def step(self) -> int:
        return self.loss.shape[1]

    def extended(self, end: int, loss: np.ndarray, validation: np.ndarray | None) -> "Record":
        loss = np.concatenate([self.loss, loss[:, : end - self.step]], axis=1)
        if validation is None:
            return self._replace(loss=loss)
        steps = np.append(self.validation_steps, end)
        return Record(loss, np.concatenate([self.validation, validation[:, None]], axis=1), steps)

    def history(self, index: int, bad_step: int | np.integer, seconds: float) -> History:
        """Of one member, without the chunks after it had stopped."""
        loss = self.loss[index]
        done = (
            bad_step + 1
            if bad_step >= 0
            else np.max(np.flatnonzero(~np.isnan(loss)) + 1, initial=0)
        )
        judged = np.append(0, self.validation_steps)[:-1] < done
        return History(
            loss[:done],
            self.validation[index, judged],
            self.validation_steps[judged],
            int(bad_step) if bad_step >= 0 else None,
            seconds,
        )


def empty(members: int, steps: int, validations: int) -> Record:
    dtype = jax.dtypes.canonicalize_dtype(float)
    return Record(
        np.full((members, steps), np.nan, dtype),
        np.full((members, validations), np.nan, dtype),
        np.zeros(validations, int),
    )


def train(advance: Advance, member: Member, plan: Plan) -> tuple[Member, list[History]]:
    """Advance until all steps are done or no member is active; one history a member.

    Raises RunFolderError and CheckpointError as `fit` does.
    """
    with (
        RunLock(plan.folder) if plan.folder is not None and plan.writes else nullcontext(),
        deferred(plan.folder is not None) as interruption,
    ):
        member, record, earlier = resume(member, plan)
        if plan.together:
            _refuse_apart(record.step, plan)
        begun = time.perf_counter()
        started = begun - earlier
        saved = None if plan.folder is None or not checkpoint.latest(plan.folder) else record.step
        if plan.writes and saved is None:
            write(plan, member, record, 0.0)
            saved = 0
        with report(plan.name, record.step, plan.steps, plan.progress) as show:
            while record.step < plan.steps and np.any(member.active):
                begin = record.step
                end = min(begin - begin % plan.chunk + plan.chunk, plan.steps)
                if plan.writes and end % plan.chunk and saved != begin:
                    # A longer fit has no validation and no new batch at `end`: it goes on from here
                    write(plan, member, record, time.perf_counter() - started)
                member, loss, value = advance(member, begin, end)
                judged = None if member.best is None else np.atleast_1d(value)
                record = record.extended(end, np.atleast_2d(loss), judged)
                show(end, finite_mean(record.loss[:, -1]), finite_mean(judged))
                late = bool(plan.max_seconds and time.perf_counter() - begun > plan.max_seconds)
                stopped = interruption.signal is not None
                if plan.together:  # all stop after the same chunk, or the others wait for ever
                    late, stopped = any_process(late), any_process(stopped)
                over = end >= plan.steps or not np.any(member.active) or late
                due = over or stopped or (end // plan.chunk) % plan.save_every == 0
                # once every member has diverged the checkpoint before that is worth more
                if plan.writes and due and np.any(np.asarray(member.bad_step) < 0):
                    write(plan, member, record, time.perf_counter() - started)
                    saved = end
                if plan.callback is not None:
                    plan.callback(_report(plan, member, record, begin, started))
                if stopped or not plan.together:
                    interruption.reraise()
                    if stopped:  # another process was told to
                        raise KeyboardInterrupt
                if late:
                    break
    seconds = time.perf_counter() - started
    bad_steps = np.atleast_1d(member.bad_step)
    return member, [record.history(i, bad, seconds) for i, bad in enumerate(bad_steps)]


def _refuse_apart(step: int, plan: Plan) -> None:
    """Refuse processes that found different checkpoints: they do not see the same folder."""
    steps = sorted({int(found[0]) for (found,) in gathered_arrays([np.asarray([step])])})
    if len(steps) > 1:
        raise RunFolderError(
            f"{plan.name}: processes would go on from updates {steps}; {plan.folder} must be one "
            "folder that all of them see"
        )


def _report(plan: Plan, member: Member, record: Record, begin: int, started: float) -> Report:
    judged = None if member.best is None else record.validation[:, -1]
    seconds = time.perf_counter() - started
    new = record.loss[:, begin:]
    return Report(plan.name, record.step, plan.steps, new, judged, seconds, plan.model, member)


def write(plan: Plan, member: Member, record: Record, seconds: float) -> Path:
    """Save all that `resume` needs."""
    assert plan.folder is not None
    metadata = {
        "name": plan.name,
        "step": record.step,
        "validations": len(record.validation_steps),
        "seconds": seconds,
        "key": key_numbers(plan.key),
        "depends_on": plan.depends_on,
    }
    return checkpoint.save(plan.folder, (plan.static, member, record), metadata)


def resume(member: Member, plan: Plan) -> tuple[Member, Record, float]:
    """State, record and seconds of the newest intact checkpoint, or of a fit that only begins.

    A checkpoint inside a chunk, the end of a shorter fit, is passed over for the one at the
    beginning of that chunk, from where a longer fit has the numbers of an uninterrupted one.
    """
    members = np.size(member.active)
    if plan.folder is None or checkpoint.latest(plan.folder) is None:
        return member, empty(members, 0, 0), 0.0

    def like(metadata: checkpoint.Metadata) -> tuple[PyTree, Member, Record]:
        _refuse_another_fit(metadata, plan)
        return plan.static, member, empty(members, metadata["step"], metadata["validations"])

    def usable(metadata: checkpoint.Metadata) -> bool:
        return metadata["step"] % plan.chunk == 0 or metadata["step"] == plan.steps

    (_, member, record), metadata = checkpoint.load_newest_intact(plan.folder, like, usable)
    return _patient_again(member, record, plan), record, metadata["seconds"]


def _refuse_another_fit(metadata: checkpoint.Metadata, plan: Plan) -> None:
    if metadata["key"] != key_numbers(plan.key):
        raise checkpoint.Mismatch(
            f"{plan.folder} holds a fit with the key {metadata['key']}, not "
            f"{key_numbers(plan.key)}; resume it with its own key or choose another folder"
        )
    if metadata["step"] > plan.steps:
        raise checkpoint.Mismatch(
            f"{plan.folder} holds a fit of {metadata['step']} updates, more than the "
            f"{plan.steps} to be done; give steps >= {metadata['step']} or choose another folder"
        )
    changed = differences(metadata.get("depends_on", {}), plan.depends_on)
    if changed and not (plan.allow_changes or CHANGES_ALLOWED.get()):
        raise checkpoint.Mismatch(
            f"{plan.folder} holds a fit that differs from this one in: {', '.join(changed)}. "
            "Give what it was started with, choose another folder, or go on with the change by "
            "allow_changes=True (on the command line: --allow-changes)"
        )


def differences(saved: dict[str, object], here: dict[str, object]) -> list[str]:
    """The names of what differs between two outcomes of `dependencies`. Code compares within one
    version of Python only."""
    same_python = saved.get("python") == here["python"]
    names = []
    for name, now in here.items():
        before = saved.get(name)
        if name == "python" or before == now:
            continue
        if isinstance(now, dict) and isinstance(before, dict):
            keys = sorted(now.keys() | before.keys())
            keys = [key for key in keys if same_python or key != "code"]
            keys = [key for key in keys if before.get(key) != now.get(key)]
            if name == "constants":
                names += [f"constant {key}" for key in keys]
                continue
            if not keys:
                continue
        names.append(name)
    return names


def _patient_again(member: Member, record: Record, plan: Plan) -> Member:
    """The member with a patience that may be longer than before. One of an ensemble that had
    stopped while others went on has missed updates, and stays where it is."""
    going_on = np.array(patient(member, plan.patience))
    stopped = np.flatnonzero(np.atleast_1d(going_on & ~np.asarray(member.active)))
    late = [
        int(index)
        for index in stopped
        if record.step and np.isnan(record.loss[index, record.step - 1])
    ]
    if late:
        warnings.warn(
            f"{plan.name}: members {late} had stopped before the others and stay as they were",
            stacklevel=4,
        )
    if going_on.ndim:
        going_on[late] = False
    return member._replace(active=jnp.asarray(going_on))


def key_numbers(key: PRNGKeyArray | Keys) -> list:
    """One key or many, of the new or the old kind, as plain integers."""
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()
