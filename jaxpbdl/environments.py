"""Flows to be controlled: a state, an action, what is seen of the flow and of the forces.

A cylinder in a stream sheds vortices, which push it to and fro. Two spots of force close to it,
above and below, act on the fluid (as plasma actuators do); they push along the stream with opposite
signs, so that they give it no momentum, only rotation. Everything is a pure function: `jax.grad`
goes through an action's consequences, `vmap` controls many wakes at once, and `as_gymnasium` makes
an environment of it for libraries of reinforcement learning.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids.cells import Cells
from jaxpbdl.grids.operators import Velocity
from jaxpbdl.grids.spectrum import total
from jaxpbdl.rollouts import repeat, rollout
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    force_on_body,
    incompressible,
    inflow,
    outflow,
    slip,
)
from jaxpbdl.step import Step

if TYPE_CHECKING:
    from gymnasium import Env

LENGTHS, CENTRE = (10.0, 5.0), (2.5, 2.5)
"""Of the box and the cylinder, in its diameters."""
SPOT, WIDTH = (0.25, 0.75), 0.15
"""Of the spots of force: from the centre, mirrored, and how wide."""
PROBES = tuple((3.5 + 0.75 * i, 2.0 + 0.5 * j) for i in range(3) for j in range(3))
"""Where the velocity is measured."""


class Seen(NamedTuple):
    """Means over the time of an action; coefficients are forces over density, half the square of
    the speed of the stream, and the diameter."""

    probes: Float[Array, " values"]
    """Velocities at the probes at the end of the action, first all along the stream."""
    drag: Float[Array, ""]
    lift: Float[Array, ""]
    lift_squared: Float[Array, ""]
    power: Float[Array, ""]
    """That the action gives to the fluid, in the same units."""


class CylinderWake(Step):
    """The wake of a cylinder under control; made by `cylinder_wake`.

    `wake(flow, action)` is the flow after the action, and `wake.act(flow, action)` also what was
    seen. An action in [-1, 1] (what lies beyond is cut off) is held over `interval`.
    """

    trainable_fields = ()

    step: IncompressibleStep
    starts: Flow
    profile: Velocity
    places: Int[np.ndarray, "probes 2"] = eqx.field(converter=np.asarray)
    substeps: int = eqx.field(static=True)

    @property
    def interval(self) -> Array:
        """Time of an action."""
        return self.substeps * self.step.interval

    def reset(self, key: PRNGKeyArray) -> Flow:
        """A developed wake at a random time of its period."""
        chosen = jax.random.randint(key, (), 0, self.starts.time.shape[0])
        return jax.tree.map(lambda leaf: leaf[chosen], self.starts)

    def observe(self, flow: Flow) -> Float[Array, " values"]:
        """The velocities at the probes."""
        velocity = self.step.grid.to_cells(flow.velocity)
        return velocity[:, self.places[:, 0], self.places[:, 1]].reshape(-1)

    def act(self, flow: Flow, action: Float[Array, ""]) -> tuple[Flow, Seen]:
        """The flow after an action, and what was seen of it."""
        push = tuple(jnp.clip(action, -1.0, 1.0) * part for part in self.profile)

        def once(flow: Flow, _: None) -> tuple[Flow, Array]:
            after = self.step(flow, push)
            drag, lift = 2 * force_on_body(self.step, after, push)
            return after, jnp.stack([drag, lift, lift**2, 2 * self._power(after, push)])

        flow, measured = jax.lax.scan(once, flow, length=self.substeps)
        return flow, Seen(self.observe(flow), *measured.mean(axis=0))

    def _power(self, flow: Flow, push: Velocity) -> Array:
        work = total(jnp.sum(u * f) for u, f in zip(flow.velocity, push, strict=True))
        return work * np.prod([h[0] for h in self.step.grid.widths]).astype(work.dtype)

    def enter(self, state: Flow) -> Flow:
        return state

    def advance(self, working: Flow, *inputs: Array) -> Flow:
        (action,) = inputs
        return self.act(working, action)[0]

    def leave(self, working: Flow) -> Flow:
        return working


def cylinder_wake(
    reynolds: float = 100.0,
    *,
    cells: tuple[int, int] = (64, 32),
    interval: float = 0.4,
    strength: float = 2.0,
    probes: Sequence[tuple[float, float]] = PROBES,
    spin_up: float = 60.0,
    phases: int = 16,
) -> CylinderWake:
    """A wake that sheds, with spots of force beside the cylinder. Takes some seconds, as the wake
    has to develop.

    **Arguments**

    - `reynolds`: of the diameter and the speed of the stream, which are the units; it sheds from
      about 50 on.
    - `cells`: of the box of 10 x 5 diameters, the cylinder a quarter in, slip along the stream.
    - `interval`: time of an action.
    - `strength`: acceleration at the centre of a spot under the action 1.
    - `probes`: places where the velocity is measured.
    - `spin_up`: time in which the wake develops; `phases` states of the time 8 after it, more than
      a period, are what `reset` chooses from.

    **Raises** ValueError for numbers that are not positive, or probes outside of the box.
    """
    for name, value in {"reynolds": reynolds, "interval": interval, "spin_up": spin_up}.items():
        checks.positive(name, value)
    checks.count("phases", phases)
    grid = Cells(cells, LENGTHS)
    found = np.asarray(probes, float).reshape(-1, 2)
    outside = found[(found < 0).any(axis=1) | (found >= LENGTHS).any(axis=1)]
    if len(outside):
        raise ValueError(f"probes must lie in the box of {LENGTHS}, got {outside[0].tolist()}")
    places = (found / LENGTHS * grid.shape).astype(int)

    sides = ((inflow((1.0, 0.0)), outflow()), slip())
    equation, body = IncompressibleFlow(1 / reynolds), Ball(CENTRE, 0.5)

    def step_at(share: float, limit: Array | float) -> tuple[IncompressibleStep, int]:
        substeps = int(np.ceil(interval / (share * float(limit))))
        return incompressible(equation, grid, interval / substeps, sides, body=body), substeps

    probe, _ = step_at(1.0, interval)
    start = probe.start(kicked)
    first, substeps = step_at(0.4, probe.largest_dt(start))  # the vortex speeds up
    settled = eqx.filter_jit(repeat(first, round(spin_up / interval) * substeps))(start)
    step, substeps = step_at(0.7, first.largest_dt(settled))
    push = grid.velocity(_spots(strength))
    assert step.body is not None  # no force inside of it
    profile = tuple(f * (open_part > 0) for f, open_part in zip(push, step.body.open, strict=True))

    each = max(1, round(8.0 / interval / phases))
    starts = rollout(step, settled, phases * each * substeps, each * substeps)
    starts = jax.tree.map(lambda leaf: leaf[1:], starts)
    return CylinderWake(step, starts, profile, places, substeps)


def _spots(strength: float) -> Callable[[Array], Array]:
    centres = jnp.asarray(CENTRE) + jnp.asarray([SPOT, (SPOT[0], -SPOT[1])])

    def push(point: Array) -> Array:
        above, below = jnp.exp(-jnp.sum((point - centres) ** 2, axis=1) / (2 * WIDTH**2))
        return strength * jnp.stack([above - below, 0.0 * above])

    return push


def kicked(point: Array) -> Array:
    """The stream with a vortex to one side, so that shedding sets in early."""
    offset = point - jnp.asarray([4.0, 3.0])
    swirl = jnp.exp(-2 * jnp.sum(offset**2))
    return jnp.stack([1.0 - swirl * offset[1], swirl * offset[0]])


def cost(seen: Seen) -> Float[Array, "*times"]:
    """What a controller pays: drag, the square of the lift, and the power that it spends."""
    return seen.drag + 0.2 * seen.lift_squared + jnp.abs(seen.power)


def as_gymnasium(
    wake: CylinderWake,
    actions: int = 200,
    reward: Callable[[Seen], Float[Array, ""]] = lambda seen: -cost(seen),
) -> "Env[np.ndarray, np.ndarray]":
    """An environment of Gymnasium: actions of shape (1,) in [-1, 1], observations the velocities at
    the probes, episodes of so many actions, ended by truncation.

    **Raises** ImportError without the package gymnasium.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise ImportError('this needs gymnasium: pip install "jaxpbdl[gymnasium]"') from error
    checks.count("actions", actions)
    act = eqx.filter_jit(lambda flow, action: wake.act(flow, action))
    values = 2 * len(wake.places)

    class Wake(gymnasium.Env):
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (values,), np.float32)

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[np.ndarray, dict[str, Any]]:
            super().reset(seed=seed, options=options)
            self.flow = wake.reset(jax.random.key(int(self.np_random.integers(2**31))))
            self.count = 0
            return np.asarray(wake.observe(self.flow), np.float32), {}

        def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
            self.flow, seen = act(self.flow, jnp.asarray(action, float).reshape(()))
            self.count += 1
            measured = {"drag": float(seen.drag), "lift": float(seen.lift)}
            observation = np.asarray(seen.probes, np.float32)
            return observation, float(reward(seen)), False, self.count >= actions, measured

    return Wake()
