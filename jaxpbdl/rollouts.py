"""Many steps in a row: trajectories whose gradients need little memory, and blow-up found where it
starts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from jaxpbdl import checks
from jaxpbdl.step import AnyStep, as_step


def rollout(
    step: AnyStep,
    state: Any,
    steps: int,
    every: int = 1,
    *,
    observe: Callable[[Any], Any] | None = None,
    checkpoint: bool = True,
    stop_gradient: bool = False,
) -> Any:
    """The trajectory of `step` from `state`: the state itself and every `every`-th one after it.

    **Arguments:**

    - `step`: any callable `state -> state`; a `Step` keeps its working variables between steps.
    - `state`: the initial state, an array or any pytree of arrays.
    - `steps`: number of steps, a multiple of `every`.
    - `observe`: what to keep of a state, by default all of it (a coarser copy, a spectrum, a
      probe).
    - `checkpoint`: recompute instead of store for the gradient. Its memory then grows like the
      square root of the number of steps (nested checkpoints), for about one more forward pass.
    - `stop_gradient`: cut the gradient between steps: each step is differentiated, the state it
      starts from is not.

    **Returns:** frames stacked on a new first axis of length `steps // every + 1`.

    **Raises:** ValueError for inadmissible arguments. MemoryError, with the bytes that the frames
    take, if the device has no room for what it computes. BlowUp, naming the first bad frame, if the
    result is not finite and this is not itself being traced; `watched_rollout` finds the very step.
    """
    inner, state, steps, every = _prepare(step, state, steps, every)
    arguments = (inner, state, steps, every, observe, checkpoint, stop_gradient)
    with _memory_explained(_rollout, arguments):
        trajectory = _rollout(*arguments)
        if checks.is_concrete(trajectory):
            _raise_if_blown_up(trajectory, every, getattr(inner, "dt", None))
    return trajectory


def watched_rollout(
    step: AnyStep, state: Any, steps: int, every: int = 1, *, checkpoint: bool = True
) -> tuple[Any, Int[Array, ""]]:
    """Like `rollout`, with the number of the first step whose result was not finite; `steps + 1` if
    all were.

    Works for each member under `vmap` and raises nothing; `raise_blow_up` turns the numbers into an
    error.
    """
    inner, state, steps, every = _prepare(step, state, steps, every)
    arguments = (inner, state, steps, every, checkpoint)
    with _memory_explained(_watched_rollout, arguments):
        return _watched_rollout(*arguments)


def repeat(step: AnyStep, steps: int, *, checkpoint: bool = True) -> AnyStep:
    """The step `steps` times as long: `steps` applications of `step` as one."""
    steps = checks.count("steps", steps)
    inner = as_step(step)

    def advance(state: Any) -> Any:
        working = nested_scan(inner.advance, inner.enter(state), steps, checkpoint)
        return inner.leave(working)

    return advance


def raise_blow_up(first_bad: Any, steps: int, dt: Any = None) -> None:
    """Raise BlowUp naming step, time and member if any entry of `first_bad` (from
    `watched_rollout`) is within `steps`.
    """
    first_bad = np.atleast_1d(np.asarray(first_bad))
    steps_in_time = np.broadcast_to(np.nan if dt is None else np.asarray(dt), first_bad.shape)
    for member, bad in enumerate(first_bad):
        if bad <= steps:
            time = "" if dt is None else f" (time {float(bad * steps_in_time[member]):g})"
            who = f" of member {member}" if len(first_bad) > 1 else ""
            raise checks.BlowUp(
                f"step {int(bad)}{time}{who} is the first without finite values; "
                "a smaller dt is the first thing to try"
            )


def nested_scan(
    advance: Callable[[Any], Any], working: Any, steps: int, checkpoint: bool = True
) -> Any:
    """`advance` applied `steps` times. With `checkpoint`, two nested loops of about sqrt(steps)
    turns store one state
    a turn, so reverse mode keeps 2 sqrt(steps) states instead of what every step computes."""

    def body(carry: Any, _: None) -> tuple[Any, None]:
        return advance(carry), None

    if not checkpoint or steps == 1:
        return lax.scan(body, working, None, length=steps)[0]
    body = jax.checkpoint(body, prevent_cse=False)
    inner = isqrt(steps)

    def turn(carry: Any, _: None) -> tuple[Any, None]:
        return lax.scan(body, carry, None, length=inner)[0], None

    working = lax.scan(
        jax.checkpoint(turn, prevent_cse=False), working, None, length=steps // inner
    )[0]
    rest = steps % inner
    return lax.scan(body, working, None, length=rest)[0] if rest else working


@contextmanager
def _memory_explained(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[None]:
    """Say what was too large, and what to do about it."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        frames = jax.tree.leaves(eqx.filter_eval_shape(function, *arguments))
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in frames)
        raise MemoryError(
            f"the rollout does not fit in memory: its frames alone take {size} bytes; keep fewer "
            "of them (`every`) or less of each (`observe`)"
        ) from error


def _prepare(step: AnyStep, state: Any, steps: int, every: int) -> tuple[Any, Any, int, int]:
    """The arguments of a rollout, checked, with numbers as arrays."""
    steps, every = checks.count("steps", steps), checks.count("every", every)
    if steps % every:
        raise ValueError(f"steps must be a multiple of every = {every}, got {steps}")
    inner = as_step(step)
    state = jax.tree.map(jnp.asarray, state)
    if not jax.tree.leaves(state):
        raise ValueError(f"state must hold at least one array, got {state!r}")
    inner.check(state)
    return inner, state, steps, every


@eqx.filter_jit
def _rollout(
    step: Any,
    state: Any,
    steps: int,
    every: int,
    observe: Callable[[Any], Any] | None,
    checkpoint: bool,
    stop_gradient: bool,
) -> Any:
    keep = (lambda state: state) if observe is None else observe

    def advance(working: Any) -> Any:
        return step.advance(lax.stop_gradient(working) if stop_gradient else working)

    def frame(working: Any, _: None) -> tuple[Any, Any]:
        working = nested_scan(advance, working, every, checkpoint)
        return working, keep(step.leave(working))

    if checkpoint:
        frame = jax.checkpoint(frame, prevent_cse=False)
    frames = lax.scan(frame, step.enter(state), None, length=steps // every)[1]
    return _with_first(keep(state), frames)


@eqx.filter_jit
def _watched_rollout(step: Any, state: Any, steps: int, every: int, checkpoint: bool) -> Any:
    def advance(carry: Any) -> Any:
        working, number, first_bad = carry
        working = step.advance(working)
        number = number + 1
        bad = ~_is_finite(working)
        return working, number, jnp.where(bad, jnp.minimum(first_bad, number), first_bad)

    def frame(carry: Any, _: None) -> tuple[Any, Any]:
        carry = nested_scan(advance, carry, every, checkpoint)
        return carry, step.leave(carry[0])

    start = (step.enter(state), jnp.asarray(0), jnp.asarray(steps + 1))
    (_, _, first_bad), frames = lax.scan(frame, start, None, length=steps // every)
    return _with_first(state, frames), first_bad


def _with_first(first: Any, frames: Any) -> Any:
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, frames)


def _is_finite(working: Any) -> Array:
    """Finite sums mean finite values, at a tenth of the price of looking at each; the reverse may
    fail only where values of alternating sign approach the largest float, that is in a blow-up
    already. Half precision, whose sums overflow long before, is summed in float32; integers are
    always finite."""
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves(working):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            wide = jnp.promote_types(leaf.dtype, jnp.float32)
            finite = finite & jnp.isfinite(jnp.sum(leaf, dtype=wide))
    return finite


def _raise_if_blown_up(trajectory: Any, every: int, dt: Any) -> None:
    finite = np.asarray(_finite_frames(trajectory))
    if finite.all():
        return
    frame = int(np.argmin(finite))
    time = "" if dt is None else f" (time {frame * every * float(dt):g})"
    raise checks.BlowUp(
        f"the rollout left the finite numbers between steps {max(frame - 1, 0) * every} and "
        f"{frame * every}{time}; a smaller dt is the first thing to try"
    )


@jax.jit
def _finite_frames(trajectory: Any) -> Array:
    """Which frames are finite; each is looked at, as what is observed of a state (a ratio, a
    logarithm) may be finite again in the last one."""
    found = jnp.asarray([True])
    for leaf in jax.tree.leaves(trajectory):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            found = found & jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
    return found
