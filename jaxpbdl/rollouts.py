"""Many steps in a row: trajectories whose gradients need little memory, and blow-up found where it
starts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.step import AnyStep, Step, as_step

State = TypeVar("State")

STATES_OF_A_STEP = 16
"""What a step of a solver keeps for its derivative, in arrays of the size of its state, about."""


def rollout(
    step: AnyStep,
    state: PyTree,
    steps: int | np.integer,
    every: int | np.integer = 1,
    *,
    inputs: PyTree = None,
    observe: Callable[[PyTree], PyTree] | None = None,
    checkpoint: bool | int = True,
    stop_gradient: bool = False,
) -> PyTree:
    """The trajectory of `step` from `state`: the state itself and every `every`-th one after it.

    **Arguments:**

    - `step`: any callable `state -> state`, or `(state, input) -> state`; a `Step` keeps its
      working variables between steps.
    - `state`: the initial state, an array or any pytree of arrays.
    - `steps`: number of steps, a multiple of `every`.
    - `inputs`: what the step is given besides the state, one for each step: a tree of arrays with
      a first axis of length `steps` (forces, controls, keys). Gradients reach it.
    - `observe`: what to keep of a state, by default all of it (a coarser copy, a spectrum, a
      probe).
    - `checkpoint`: recompute instead of store for the gradient, by default every step once. Its
      memory then grows like the square root of the number of steps, but holds at least one state a
      snapshot. With 2, every step is recomputed twice, in about a quarter of the memory where
      snapshots are few, and in far less where a step holds a large network. With False, steps are
      not recomputed (the stages of Runge-Kutta schemes still are).
    - `stop_gradient`: cut the gradient between steps: each step is differentiated, the state it
      starts from is not.

    **Returns:** snapshots stacked on a new first axis of length `steps // every + 1`.

    **Raises:** ValueError for inadmissible arguments. MemoryError, with the bytes that the
    snapshots take, if the device has no room for what it computes. BlowUp, naming the first bad
    snapshot, if the result is not finite and this is not itself being traced; `watched_rollout`
    finds the very step.
    """
    inner, state, steps, every, inputs = _prepare(step, state, steps, every, inputs)
    recomputed = _recomputed(checkpoint)
    arguments = (inner, state, inputs, steps, every, observe, recomputed, stop_gradient)
    with _memory_explained(_rollout, arguments):
        trajectory = _rollout(*arguments)
        if checks.is_concrete(trajectory):
            _raise_if_blown_up(trajectory, every, inner.interval)
    return trajectory


def watched_rollout(
    step: AnyStep,
    state: PyTree,
    steps: int | np.integer,
    every: int | np.integer = 1,
    *,
    inputs: PyTree = None,
    checkpoint: bool | int = True,
) -> tuple[PyTree, Int[Array, ""]]:
    """Like `rollout`, with the number of the first step whose result was not finite; `steps + 1` if
    all were.

    Works for each member under `vmap` and raises nothing; `raise_blow_up` turns the numbers into an
    error.
    """
    inner, state, steps, every, inputs = _prepare(step, state, steps, every, inputs)
    arguments = (inner, state, inputs, steps, every, _recomputed(checkpoint))
    with _memory_explained(_watched_rollout, arguments):
        return _watched_rollout(*arguments)


class Repeated(Step):
    """Several applications of a step as one; created by `repeat`."""

    step: Step
    steps: int = eqx.field(static=True)
    recomputed: int = eqx.field(static=True)

    @property
    def interval(self) -> Array | None:
        return None if self.step.interval is None else self.steps * self.step.interval

    def enter(self, state: PyTree) -> PyTree:
        return self.step.enter(state)

    def advance(self, working: PyTree, *inputs: PyTree) -> PyTree:
        def once(working: PyTree, _: None) -> PyTree:
            return self.step.advance(working, *inputs)

        return nested_scan(once, working, self.steps, self.recomputed)

    def leave(self, working: PyTree) -> PyTree:
        return self.step.leave(working)

    def check(self, state: PyTree) -> None:
        self.step.check(state)

    def largest_dt(self, state: PyTree) -> Array | float:
        return self.steps * self.step.largest_dt(state)

    def channels(self, state: PyTree) -> Array:
        return self.step.channels(state)

    def corrected(self, state: PyTree, change: Array) -> PyTree:
        return self.step.corrected(state, change)

    def equation_and_field(
        self, states: PyTree, times: Array, degree: int = 4
    ) -> tuple[PyTree, PyTree]:
        return self.step.equation_and_field(states, times, degree)


def repeat(step: AnyStep, steps: int | np.integer, *, checkpoint: bool | int = True) -> Repeated:
    """The step `steps` times as long: `steps` applications of `step` as one. An input is held over
    all of them; `checkpoint` as in `rollout`."""
    return Repeated(as_step(step), checks.count("steps", steps), _recomputed(checkpoint))


def raise_blow_up(first_bad: ArrayLike, steps: int, dt: ArrayLike | None = None) -> None:
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
    advance: Callable[[State, PyTree], State],
    working: State,
    steps: int,
    recomputed: int = 1,
    inputs: PyTree = None,
    turn: int | None = None,
) -> State:
    """`advance(working, input)` applied `steps` times, `inputs` of that length or None.

    Reverse mode recomputes each step `recomputed` times. Once: the states that turns of several
    steps start from are kept, and what each step of one turn computes. Twice: within one turn the
    states too, and what one step computes. `turn` is the length of a turn, by default
    `turn_length(steps, recomputed)`; the last turn may be shorter.
    """

    def body(carry: State, given: PyTree) -> tuple[State, None]:
        return advance(carry, given), None

    if not recomputed:
        return lax.scan(body, working, inputs, length=steps)[0]
    inner = turn_length(steps, recomputed) if turn is None else turn
    if recomputed == 2 or inner == 1:
        body = jax.checkpoint(body, prevent_cse=False)
    if inner == 1:
        return lax.scan(body, working, inputs, length=steps)[0]
    outer, rest = divmod(steps, inner)

    def one_turn(carry: State, given: PyTree) -> tuple[State, None]:
        return lax.scan(body, carry, given, length=inner)[0], None

    blocks = jax.tree.map(lambda x: x[: outer * inner].reshape(outer, inner, *x.shape[1:]), inputs)
    kept = jax.checkpoint(one_turn, prevent_cse=False)
    working = lax.scan(kept, working, blocks, length=outer)[0]
    if not rest:
        return working
    last = jax.tree.map(lambda x: x[outer * inner :], inputs)
    return jax.checkpoint(lambda w, x: lax.scan(body, w, x, length=rest)[0])(working, last)


def turn_length(steps: int, recomputed: int) -> int:
    """Of how many steps a turn of `nested_scan` should be, so that reverse mode keeps little: with
    a step that keeps k states' worth of arrays, steps / turn + k turn of them, or steps / turn +
    turn where steps are recomputed twice."""
    if not recomputed:
        return steps
    return max(1, isqrt(steps if recomputed == 2 else steps // STATES_OF_A_STEP))


@contextmanager
def _memory_explained(
    function: Callable[..., PyTree], arguments: tuple[object, ...]
) -> Iterator[None]:
    """Say what was too large, and what to do about it."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        snapshots = jax.tree.leaves(eqx.filter_eval_shape(function, *arguments))
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in snapshots)
        raise MemoryError(
            f"the rollout does not fit in memory: its snapshots alone take {size} bytes; keep "
            "fewer of them (`every`) or less of each (`observe`)"
        ) from error


def _prepare(
    step: AnyStep, state: PyTree, steps: int | np.integer, every: int | np.integer, inputs: PyTree
) -> tuple[Step, PyTree, int, int, PyTree]:
    """The arguments of a rollout, checked, with numbers as arrays."""
    steps, every = checks.count("steps", steps), checks.count("every", every)
    if steps % every:
        raise ValueError(f"steps must be a multiple of every = {every}, got {steps}")
    inner = as_step(step)
    state, inputs = jax.tree.map(jnp.asarray, (state, inputs))
    if not jax.tree.leaves(state):
        raise ValueError(f"state must hold at least one array, got {state!r}")
    for leaf in jax.tree.leaves(inputs):
        if not leaf.ndim or len(leaf) != steps:
            raise ValueError(
                f"inputs must have a first axis of length steps = {steps}, got shape {leaf.shape}"
            )
    inner.check(state)
    return inner, state, steps, every, inputs


def _recomputed(checkpoint: bool | int) -> int:
    """How often reverse mode recomputes a step."""
    if checkpoint not in (0, 1, 2):
        raise ValueError(f"checkpoint must be False, True or 2, got {checkpoint!r}")
    return int(checkpoint)


def _by_snapshot(inputs: PyTree, every: int) -> PyTree:
    """The inputs of the steps between two snapshots together."""
    return jax.tree.map(lambda x: x.reshape(-1, every, *x.shape[1:]), inputs)


@eqx.filter_jit
def _rollout(
    step: Step,
    state: PyTree,
    inputs: PyTree,
    steps: int,
    every: int,
    observe: Callable[[PyTree], PyTree] | None,
    recomputed: int,
    stop_gradient: bool,
) -> PyTree:
    keep = (lambda state: state) if observe is None else observe

    def advance(working: PyTree, given: PyTree) -> PyTree:
        working = lax.stop_gradient(working) if stop_gradient else working
        return step.advance(working) if given is None else step.advance(working, given)

    def snapshot(working: PyTree, given: PyTree) -> tuple[PyTree, PyTree]:
        working = nested_scan(advance, working, every, recomputed, given, turn)
        return working, look(working)

    def look(working: PyTree) -> PyTree:
        return keep(step.leave(working))

    if recomputed:
        look = jax.checkpoint(look, prevent_cse=False)
    turn = min(every, turn_length(steps, recomputed))
    given = _by_snapshot(inputs, every)
    snapshots = lax.scan(snapshot, step.enter(state), given, length=steps // every)[1]
    return _with_first(keep(state), snapshots)


@eqx.filter_jit
def _watched_rollout(
    step: Step, state: PyTree, inputs: PyTree, steps: int, every: int, recomputed: int
) -> PyTree:
    def advance(carry: PyTree, given: PyTree) -> PyTree:
        working, number, first_bad = carry
        working = step.advance(working) if given is None else step.advance(working, given)
        number = number + 1
        bad = ~_is_finite(working)
        return working, number, jnp.where(bad, jnp.minimum(first_bad, number), first_bad)

    def snapshot(carry: PyTree, given: PyTree) -> tuple[PyTree, PyTree]:
        carry = nested_scan(advance, carry, every, recomputed, given, turn)
        return carry, leave(carry[0])

    leave = jax.checkpoint(step.leave, prevent_cse=False) if recomputed else step.leave
    turn = min(every, turn_length(steps, recomputed))
    start = (step.enter(state), jnp.asarray(0), jnp.asarray(steps + 1))
    (_, _, first_bad), snapshots = lax.scan(
        snapshot, start, _by_snapshot(inputs, every), length=steps // every
    )
    return _with_first(state, snapshots), first_bad


def _with_first(first: PyTree, snapshots: PyTree) -> PyTree:
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, snapshots)


def _is_finite(working: PyTree) -> Array:
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


def _raise_if_blown_up(trajectory: PyTree, every: int, dt: Array | None) -> None:
    finite = np.asarray(_finite_snapshots(trajectory))
    if finite.all():
        return
    snapshot = int(np.argmin(finite))
    time = "" if dt is None else f" (time {snapshot * every * float(dt):g})"
    raise checks.BlowUp(
        f"the rollout left the finite numbers between steps {max(snapshot - 1, 0) * every} and "
        f"{snapshot * every}{time}; a smaller dt is the first thing to try"
    )


@jax.jit
def _finite_snapshots(trajectory: PyTree) -> Array:
    """Which snapshots are finite; each is looked at, as what is observed of a state (a ratio, a
    logarithm) may be finite again in the last one."""
    found = jnp.asarray([True])
    for leaf in jax.tree.leaves(trajectory):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            found = found & jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim)))
    return found
