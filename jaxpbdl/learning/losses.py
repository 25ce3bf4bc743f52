"""What a learned step is trained on: windows of trajectories, and losses over them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.diagnostics import mean_square
from jaxpbdl.step import AnyStep, as_step


class Windows(eqx.Module):
    """Random windows of trajectories: `windows(key)` gives leaves `(batch, steps + 1, ..)`.

    **Arguments:**

    - `trajectories`: states at equal distances in time, an array or a tree of arrays with leaves
      `(trajectories, snapshots, ..)`.
    - `steps`: steps of the model a window spans.
    - `batch`: windows drawn at a time.
    - `stride`: snapshots per step of the model.

    **Raises:** ValueError if a window is longer than a trajectory, or there is none; TypeError for
    what is no array.
    """

    trajectories: PyTree[Float[Array, "trajectories snapshots ..."]]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(self, trajectories: PyTree, steps: int, batch: int, stride: int = 1):
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

    def __call__(self, key: PRNGKeyArray) -> PyTree[Float[Array, "batch snapshots ..."]]:
        count, snapshots = jax.tree.leaves(self.trajectories)[0].shape[:2]
        span = self.steps * self.stride + 1
        which, start = jax.random.split(key)
        which = jax.random.randint(which, (self.batch,), 0, count)
        start = jax.random.randint(start, (self.batch,), 0, snapshots - span + 1)

        def cut(leaf: Array, trajectory: Array, first: Array) -> Array:
            tail = leaf.shape[2:]
            corner = (trajectory, first) + (0,) * len(tail)
            return lax.dynamic_slice(leaf, corner, (1, span, *tail))[0]

        def windows(leaf: Array) -> Array:
            cuts = jax.vmap(lambda trajectory, first: cut(leaf, trajectory, first))
            return cuts(which, start)[:, :: self.stride]

        return jax.tree.map(windows, self.trajectories)


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


Windowed = PyTree[Float[Array, "batch snapshots ..."]]
Measure = Callable[[PyTree], PyTree]
"""What of a state counts: a function to an array or a tree of them."""


def itself(state: PyTree) -> PyTree:
    """All of a state counts."""
    return state


def one_step(model: AnyStep, windows: Windowed, *, measure: Measure = itself) -> Float[Array, ""]:
    """Mean square error of every single step in the windows, each from the true state: supervised
    learning. `measure` gives what of a state counts.
    """
    before, after = _part(windows, np.s_[:-1]), _part(windows, np.s_[1:])
    ahead = jax.vmap(jax.vmap(model))(before)
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

    def ahead(working: PyTree) -> PyTree:
        return step.advance(lax.stop_gradient(working) if stop_gradient else working)

    if checkpoint:
        ahead = jax.checkpoint(ahead, prevent_cse=False)

    def turn(working: PyTree, target: PyTree) -> tuple[PyTree, Array]:
        working = jax.vmap(ahead)(working)
        reached = jax.vmap(lambda one: measure(step.leave(one)))(working)
        return working, mean_square(reached, jax.vmap(measure)(target))

    start = jax.vmap(step.enter)(_part(windows, 0))
    targets = jax.tree.map(lambda leaf: jnp.moveaxis(leaf[:, 1:], 1, 0), windows)
    return jnp.mean(lax.scan(turn, start, targets)[1])


def pushforward(
    model: AnyStep, windows: Windowed, *, measure: Measure = itself
) -> Float[Array, ""]:
    """Mean square error of the last step of each window, after a rollout to it that is not
    differentiated: the price of one step, the inputs of a rollout (Brandstetter, Worrall, Welling,
    ICLR 2022). `measure` gives what of a state counts."""
    steps = jax.tree.leaves(windows)[0].shape[1] - 2

    def before_last(first: PyTree) -> PyTree:
        return lax.scan(lambda state, _: (model(state), None), first, None, length=steps)[0]

    reached = lax.stop_gradient(jax.vmap(before_last)(_part(windows, 0)))
    last = jax.vmap(lambda state: measure(model(state)))(reached)
    return mean_square(last, jax.vmap(measure)(_part(windows, -1)))


def _part(windows: Windowed, which: int | slice) -> PyTree:
    """Some snapshots of every window."""
    return jax.tree.map(lambda leaf: leaf[:, which], windows)
