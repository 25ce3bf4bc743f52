"""The loop around the compiled chunks: history, checkpoints, interruption. One for all fits.

It counts members along a leading axis and treats a single fit as one member.
"""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.learning import checkpoint
from jaxpbdl.learning.interrupt import deferred
from jaxpbdl.learning.lock import RunLock
from jaxpbdl.learning.progress import report
from jaxpbdl.learning.update import Member

Advance = Callable[[Member, int, int], tuple[Member, Array, Array]]


class History(NamedTuple):
    """What happened during the fit of one model."""

    loss: np.ndarray  # of each update
    validation: np.ndarray  # after each chunk; empty without `validate`
    validation_steps: np.ndarray  # updates made before each validation
    bad_step: int | None  # the update that was not finite, after which the model was left alone
    seconds: float  # wall time; compilation and the earlier parts of a resumed fit included


class Plan(NamedTuple):
    """How long to go on, and where to keep what was reached."""

    steps: int
    chunk: int
    folder: str | os.PathLike | None
    save_every: int
    progress: bool
    name: str


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

    def history(self, index: int, bad_step: int, seconds: float) -> History:
        """Of one member, without the chunks after it had stopped."""
        loss = self.loss[index]
        made = (
            bad_step + 1
            if bad_step >= 0
            else np.max(np.flatnonzero(~np.isnan(loss)) + 1, initial=0)
        )
        judged = np.append(0, self.validation_steps)[:-1] < made
        return History(
            loss[:made],
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


def train(
    advance: Advance, member: Member, plan: Plan, key: PRNGKeyArray, frame: PyTree
) -> tuple[Member, list[History]]:
    """Advance until all steps are made or no member is active; one history a member.

    `key` and `frame` (the model without its arrays) go into the checkpoints, where they are
    compared. Raises RunFolderError and CheckpointError as `fit` does.
    """
    with (
        nullcontext() if plan.folder is None else RunLock(plan.folder),
        deferred(plan.folder is not None) as interruption,
    ):
        member, record, earlier = resume(member, plan, key, frame)
        started = time.perf_counter() - earlier
        if plan.folder is not None and checkpoint.latest(plan.folder) is None:
            write(plan, member, record, key, frame, 0.0)
        with report(plan.name, record.step, plan.steps, plan.progress) as show:
            while record.step < plan.steps and np.any(member.active):
                begin = record.step
                end = min(begin - begin % plan.chunk + plan.chunk, plan.steps)
                member, loss, value = advance(member, begin, end)
                judged = None if member.best is None else np.atleast_1d(value)
                record = record.extended(end, np.atleast_2d(loss), judged)
                show(end, mean(record.loss[:, -1]), np.nan if judged is None else mean(judged))
                over = end >= plan.steps or not np.any(member.active)
                due = over or interruption.signal or (end // plan.chunk) % plan.save_every == 0
                # once every member has diverged the checkpoint before that is worth more
                if plan.folder is not None and due and np.any(np.asarray(member.bad_step) < 0):
                    write(plan, member, record, key, frame, time.perf_counter() - started)
                interruption.reraise()
    seconds = time.perf_counter() - started
    bad_steps = np.atleast_1d(member.bad_step)
    return member, [record.history(i, bad, seconds) for i, bad in enumerate(bad_steps)]


def write(
    plan: Plan, member: Member, record: Record, key: PRNGKeyArray, frame: PyTree, seconds: float
) -> Path:
    """Save all that `resume` needs."""
    assert plan.folder is not None
    metadata = {
        "name": plan.name,
        "step": record.step,
        "validations": len(record.validation_steps),
        "seconds": seconds,
        "key": key_numbers(key),
    }
    return checkpoint.save(plan.folder, (frame, member, record), metadata)


def resume(
    member: Member, plan: Plan, key: PRNGKeyArray, frame: PyTree
) -> tuple[Member, Record, float]:
    """State, record and seconds of the newest intact checkpoint, or of a fit that only begins."""
    members = np.size(member.active)
    if plan.folder is None or checkpoint.latest(plan.folder) is None:
        return member, empty(members, 0, 0), 0.0

    def like(metadata: dict[str, Any]) -> tuple[PyTree, Member, Record]:
        if metadata["key"] != key_numbers(key):
            raise checks.CheckpointError(
                f"{plan.folder} holds a fit with the key {metadata['key']}, not "
                f"{key_numbers(key)}; "
                "resume it with its own key or choose another folder"
            )
        return frame, member, empty(members, metadata["step"], metadata["validations"])

    (_, member, record), metadata = checkpoint.load_newest_intact(plan.folder, like)
    return member, record, metadata["seconds"]


def mean(values: np.ndarray) -> float:
    """Over the members that still have a finite value."""
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if finite.size else float("nan")


def key_numbers(key: PRNGKeyArray) -> list:
    """A key, of the new or the old kind, as plain integers."""
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()
