"""What a learned step is trained on: windows of trajectories, and losses over them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.diagnostics import mean_square
from jaxpbdl.step import AnyStep, as_step


class Driven(NamedTuple):
    """Windows of trajectories that were driven: states, leaves `(batch, steps + 1, ..)`, and what
    each step was given (a force, a control), leaves `(batch, steps, ..)`."""

    states: PyTree[Float[Array, "batch snapshots ..."]]
    inputs: PyTree[Float[Array, "batch steps ..."]]


class Windows(eqx.Module):
    """Random windows of trajectories: `windows(key)` gives leaves `(batch, steps + 1, ..)`, or with
    `inputs` a `Driven` of states and inputs.

    **Arguments:**

    - `trajectories`: states at equal distances in time, an array or a tree of arrays with leaves
      `(trajectories, snapshots, ..)`.
    - `steps`: steps of the model a window spans.
    - `batch`: windows drawn at a time.
    - `stride`: snapshots per step of the model.
    - `inputs`: what the step between two snapshots was given, leaves `(trajectories, snapshots - 1,
      ..)`, as of `rollout(inputs=)`; the losses hand them on to the model.

    **Raises:** ValueError if a window is longer than a trajectory, or there is none, for inputs of
    another number, or with a stride above 1, where a step of the model would be given several;
    TypeError for what is no array.
    """

    trajectories: PyTree[Float[Array, "trajectories snapshots ..."]]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    inputs: PyTree[Float[Array, "trajectories steps ..."]] | None = None

    def __init__(
        self,
        trajectories: PyTree,
        steps: int,
        batch: int,
        stride: int = 1,
        *,
        inputs: PyTree | None = None,
    ):
        checks.counts(steps=steps, batch=batch, stride=stride)
        self.trajectories = _as_trajectories(trajectories)
        self.steps, self.batch, self.stride = steps, batch, stride
        shapes = [leaf.shape for leaf in jax.tree.leaves(self.trajectories)]
        together = all(len(s) >= 2 and s[0] and s[:2] == shapes[0][:2] for s in shapes)
        # A lone array of two axes is rather one trajectory than many of single numbers.
        if not together or max(map(len, shapes), default=0) < 3:
            raise ValueError(
                "trajectories must have leaves (trajectories, snapshots, ..) with at least one "
                f"trajectory, got {', '.join(map(str, shapes)) or 'no array'}"
            )
        if shapes[0][1] < steps * stride + 1:
            raise ValueError(
                f"a window of {steps} steps of {stride} snapshots needs {steps * stride + 1} of "
                f"them, the trajectories have {shapes[0][1]}"
            )
        self.inputs = None if inputs is None else _as_trajectories(inputs)
        if inputs is not None:
            expected = (shapes[0][0], shapes[0][1] - 1)
            given = [leaf.shape for leaf in jax.tree.leaves(self.inputs)]
            if stride != 1 or not given or any(shape[:2] != expected for shape in given):
                raise ValueError(
                    f"inputs must have leaves {expected + ('..',)}, one for each step between "
                    f"snapshots, with stride 1; got {given} with stride {stride}"
                )

    def __call__(self, key: PRNGKeyArray) -> "Windowed":
        count, snapshots = jax.tree.leaves(self.trajectories)[0].shape[:2]
        span = self.steps * self.stride + 1
        which, start = jax.random.split(key)
        which = jax.random.randint(which, (self.batch,), 0, count)
        start = jax.random.randint(start, (self.batch,), 0, snapshots - span + 1)

        def windows(leaf: Array, length: int) -> Array:
            def cut(trajectory: Array, first: Array) -> Array:
                tail = leaf.shape[2:]
                corner = (trajectory, first) + (0,) * len(tail)
                return lax.dynamic_slice(leaf, corner, (1, length, *tail))[0]

            return jax.vmap(cut)(which, start)[:, :: self.stride]

        states = jax.tree.map(lambda leaf: windows(leaf, span), self.trajectories)
        if self.inputs is None:
            return states
        return Driven(states, jax.tree.map(lambda leaf: windows(leaf, self.steps), self.inputs))


def _as_trajectories(trajectories: PyTree) -> PyTree[Array]:
    """As a tree of arrays; a list of arrays is stacked, and a reader refused with its remedy."""
    if isinstance(trajectories, list):
        trajectories = np.asarray(trajectories)

    def as_array(leaf: Any) -> Array:
        if not hasattr(leaf, "dtype"):
            hint = "; give its values[:]" if hasattr(leaf, "values") else ""
            raise TypeError(
                "trajectories must be an array (trajectories, snapshots, *state) or a tree of "
                f"them, got {type(leaf).__name__}{hint}"
            )
        return jnp.asarray(leaf)

    return jax.tree.map(as_array, trajectories)


Windowed = PyTree[Float[Array, "batch snapshots ..."]] | Driven
Measure = Callable[[PyTree], PyTree]
"""What of a state counts: a function to an array or a tree of them."""


def itself(state: PyTree) -> PyTree:
    """All of a state counts."""
    return state


def one_step(model: AnyStep, windows: Windowed, *, measure: Measure = itself) -> Float[Array, ""]:
    """Mean square error of every single step in the windows, each from the true state: supervised
    learning. `measure` gives what of a state counts.
    """
    states, inputs = parted(windows)
    before, after = _part(states, np.s_[:-1]), _part(states, np.s_[1:])
    ahead = jax.vmap(jax.vmap(model))(before, *inputs)
    return mean_square(jax.vmap(jax.vmap(measure))(ahead), jax.vmap(jax.vmap(measure))(after))


def unrolled(
    model: AnyStep,
    windows: Windowed,
    *,
    stop_gradient: bool = False,
    checkpoint: bool = False,
    measure: Measure = itself,
) -> Float[Array, ""]:
    """Mean square error over a rollout from the first state of each window: the model meets its own
    errors.

    **Arguments:**

    - `stop_gradient`: cut the gradient between steps, so that each step learns from the states that
      the rollout reaches without differentiating the path to them (List, Chen, Thuerey 2024,
      arXiv:2402.12971).
    - `checkpoint`: recompute each step in the backward pass instead of storing what it computes.
    - `measure`: what of a state counts, by default all of it.
    """
    step = as_step(model)
    states, inputs = parted(windows)

    def ahead(working: PyTree, *given: PyTree) -> PyTree:
        return step.advance(lax.stop_gradient(working) if stop_gradient else working, *given)

    if checkpoint:
        ahead = jax.checkpoint(ahead, prevent_cse=False)

    def turn(working: PyTree, moment: tuple[PyTree, tuple]) -> tuple[PyTree, Array]:
        target, given = moment
        working = jax.vmap(ahead)(working, *given)
        reached = jax.vmap(lambda one: measure(step.leave(one)))(working)
        return working, mean_square(reached, jax.vmap(measure)(target))

    start = jax.vmap(step.enter)(_part(states, 0))
    moments = _by_time((_part(states, np.s_[1:]), inputs))
    return jnp.mean(lax.scan(turn, start, moments)[1])


def pushforward(
    model: AnyStep, windows: Windowed, *, measure: Measure = itself
) -> Float[Array, ""]:
    """Mean square error of the last step of each window, after a rollout to it that is not
    differentiated: the price of one step, the inputs of a rollout (Brandstetter, Worrall, Welling,
    ICLR 2022). `measure` gives what of a state counts."""
    states, inputs = parted(windows)
    steps = jax.tree.leaves(states)[0].shape[1] - 2

    def turn(state: PyTree, given: tuple) -> tuple[PyTree, None]:
        return jax.vmap(model)(state, *given), None

    earlier, final = _part(inputs, np.s_[:steps]), _part(inputs, -1)
    reached = lax.scan(turn, _part(states, 0), _by_time(earlier), length=steps)[0]
    last = jax.vmap(measure)(jax.vmap(model)(lax.stop_gradient(reached), *final))
    return mean_square(last, jax.vmap(measure)(_part(states, -1)))


def parted(windows: Windowed) -> tuple[PyTree, tuple[PyTree, ...]]:
    """The states of windows, and a tuple of their inputs, which is empty where there are none."""
    if isinstance(windows, Driven):
        return windows.states, (windows.inputs,)
    return windows, ()


def _by_time(tree: PyTree) -> PyTree:
    """With time in front of the batch, for `scan`."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), tree)


def _part(windows: PyTree, which: int | slice) -> PyTree:
    """Some snapshots of every window."""
    return jax.tree.map(lambda leaf: leaf[:, which], windows)
