"""What a learned step is trained on: windows of trajectories, and losses over them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.step import AnyStep, as_step


class Windows(eqx.Module):
    """Random windows of trajectories: `windows(key)` gives `(batch, steps + 1, *state)`.

    **Arguments:**

    - `trajectories`: `(trajectories, frames, *state)`, frames at equal distances in time.
    - `steps`: steps of the model a window spans.
    - `batch`: windows drawn at a time.
    - `stride`: frames per step of the model.

    **Raises:** ValueError if a window is longer than a trajectory, or there is none; TypeError for
    what is no array.
    """

    trajectories: Float[Array, "trajectories frames *state"]
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(self, trajectories: Any, steps: int, batch: int, stride: int = 1):
        checks.counts(steps=steps, batch=batch, stride=stride)
        if not hasattr(trajectories, "dtype") and not isinstance(trajectories, (list, tuple)):
            hint = "; give its values[:]" if hasattr(trajectories, "values") else ""
            raise TypeError(
                "trajectories must be an array (trajectories, frames, *state), got "
                f"{type(trajectories).__name__}{hint}"
            )
        self.trajectories = jnp.asarray(trajectories)
        self.steps, self.batch, self.stride = steps, batch, stride
        if self.trajectories.ndim < 3 or not len(self.trajectories):
            raise ValueError(
                "trajectories must have shape (trajectories, frames, *state) with at least one "
                f"trajectory, got {self.trajectories.shape}"
            )
        if self.trajectories.shape[1] < steps * stride + 1:
            raise ValueError(
                f"a window of {steps} steps of {stride} frames needs {steps * stride + 1} frames, "
                f"the trajectories have {self.trajectories.shape[1]}"
            )

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "batch frames *state"]:
        count, frames = self.trajectories.shape[:2]
        span = self.steps * self.stride + 1
        which, start = jax.random.split(key)
        which = jax.random.randint(which, (self.batch,), 0, count)
        start = jax.random.randint(start, (self.batch,), 0, frames - span + 1)

        def cut(trajectory: Array, first: Array) -> Array:
            tail = self.trajectories.shape[2:]
            corner = (trajectory, first) + (0,) * len(tail)
            return lax.dynamic_slice(self.trajectories, corner, (1, span, *tail))[0]

        return jax.vmap(cut)(which, start)[:, :: self.stride]


def one_step(model: AnyStep, windows: Float[Array, "batch frames *state"]) -> Float[Array, ""]:
    """Mean square error of every single step in the windows, each from the true state: supervised
    learning.
    """
    pairs = jax.vmap(jax.vmap(model))
    return jnp.mean((pairs(windows[:, :-1]) - windows[:, 1:]) ** 2)


def unrolled(
    model: AnyStep,
    windows: Float[Array, "batch frames *state"],
    *,
    stop_gradient: bool = False,
    checkpoint: bool = False,
) -> Float[Array, ""]:
    """Mean square error over a rollout from the first frame of each window: the model meets its own
    errors.

    **Arguments:**

    - `stop_gradient`: cut the gradient between steps, so that each step learns from the states that
      the rollout reaches without differentiating the path to them (List, Chen, Thuerey 2024,
      arXiv:2402.12971).
    - `checkpoint`: recompute each step in the backward pass instead of storing what it computes.
    """
    step = as_step(model)

    def ahead(working: Array) -> Array:
        return step.advance(lax.stop_gradient(working) if stop_gradient else working)

    if checkpoint:
        ahead = jax.checkpoint(ahead, prevent_cse=False)

    def turn(working: Any, target: Array) -> tuple[Any, Array]:
        working = jax.vmap(ahead)(working)
        return working, jnp.mean((jax.vmap(step.leave)(working) - target) ** 2)

    start = jax.vmap(step.enter)(windows[:, 0])
    return jnp.mean(lax.scan(turn, start, jnp.moveaxis(windows[:, 1:], 1, 0))[1])


def pushforward(model: AnyStep, windows: Float[Array, "batch frames *state"]) -> Float[Array, ""]:
    """Mean square error of the last step of each window, after a rollout to it that is not
    differentiated: the price
    of one step, the inputs of a rollout (Brandstetter, Worrall, Welling, ICLR 2022)."""

    def ahead(state: Array, _: None) -> tuple[Array, None]:
        return model(state), None

    def before_last(first: Array) -> Array:
        return lax.scan(ahead, first, None, length=windows.shape[1] - 2)[0]

    reached = lax.stop_gradient(jax.vmap(before_last)(windows[:, 0]))
    return jnp.mean((jax.vmap(model)(reached) - windows[:, -1]) ** 2)
