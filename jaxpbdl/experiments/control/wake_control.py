"""A cylinder whose vortices are quietened by a controller, trained through the flow.

Two spots of force beside the cylinder (`environments.cylinder_wake`) act every 0.4 units of time. A
controller pays for drag, for the square of the lift, and for the power it spends. A small network
sees velocities behind the cylinder and the lift; the gradient of its cost goes through the solver.
Beside it stands feedback of the lift and of its rate of change, whose two gains are the best of a
grid. All are judged from states and over a time that no training saw, and at a Reynolds number that
none of them saw.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.environments import CylinderWake, Seen, cost, cylinder_wake
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.networks import Dense
from jaxpbdl.solvers.flow import Flow


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in diameters, times in diameters over the speed of the stream."""

    seed: int = 0
    reynolds: Positive = 100.0
    other_reynolds: Positive = 130.0
    """At which the controllers are judged too."""
    cells: tuple[Count, Count] = (64, 32)
    spin_up: Positive = 60.0
    gains: tuple[Positive, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """Sizes that are tried of each of the two, with both signs, and zero."""
    horizon: Count = 30
    """Actions through which the network is trained."""
    judged: Count = 150
    """Actions of a test; the last two thirds count, when the wake has settled."""
    tests: Count = 2
    """Starts of a test."""
    width: Count = 16
    members: Count = 1
    """Networks, of other random weights."""
    training: Training = field(default_factory=lambda: Training(60, 2, 2e-2, average=None))


Memory: TypeAlias = tuple[Array, Array]
"""The lift of the last action and of the one before."""


class Feedback(eqx.Module):
    """An action from the lift and its change."""

    gains: Float[Array, "2"]

    def __call__(self, probes: Array, lifts: Memory) -> Float[Array, ""]:
        last, before = lifts
        return self.gains[0] * last + self.gains[1] * (last - before)


class Policy(eqx.Module):
    """An action from the velocities at the probes and the lift; none before training."""

    network: Dense

    def __init__(self, probes: int, width: int, key: PRNGKeyArray):
        self.network = Dense((probes + 2, width, width, 1), zero_last=True, key=key)

    def __call__(self, probes: Array, lifts: Memory) -> Float[Array, ""]:
        return jnp.tanh(self.network(jnp.concatenate([probes, 5 * jnp.stack(lifts)]))[0])


Controller: TypeAlias = Callable[[Array, Memory], Array]


class Record(NamedTuple):
    """What was seen under control, and the actions, each with a first axis of time."""

    seen: Seen
    actions: Float[Array, " times"]


def controlled(wake: CylinderWake, controller: Controller, flow: Flow, actions: int) -> Record:
    """A closed loop: each action depends on what the one before left."""

    def once(carry: tuple[Flow, Memory], _: None) -> tuple[tuple[Flow, Memory], Record]:
        flow, (last, before) = carry
        action = jnp.clip(controller(wake.observe(flow), (last, before)), -1.0, 1.0)
        flow, seen = wake.act(flow, action)
        return (flow, (seen.lift, last)), Record(seen, action)

    none = jnp.zeros((), wake.step.grid.dtype)
    step = jax.checkpoint(once)  # the gradient keeps a flow an action
    return jax.lax.scan(step, (flow, (none, none)), length=actions)[1]


class ControlLoss(eqx.Module):
    """The mean cost of a batch of states under a controller."""

    wake: CylinderWake
    actions: int = eqx.field(static=True)

    def __call__(self, policy: Policy, flows: Flow) -> Float[Array, ""]:
        def one(flow: Flow) -> Array:
            return jnp.mean(cost(controlled(self.wake, policy, flow, self.actions).seen))

        return jnp.mean(jax.lax.map(one, flows))


class Starts(eqx.Module):
    """Batches of developed wakes."""

    wake: CylinderWake
    count: int = eqx.field(static=True)

    def __call__(self, key: PRNGKeyArray) -> Flow:
        return jax.vmap(self.wake.reset)(jax.random.split(key, self.count))


@eqx.filter_jit
def tuned(wake: CylinderWake, config: Config) -> Float[Array, "2"]:
    """The best gains of the grid, from the first state, over twice the time of the training."""
    line = jnp.asarray([*(-gain for gain in config.gains), 0.0, *config.gains])
    pairs = jnp.stack(jnp.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    flow = jax.tree.map(lambda leaf: leaf[0], wake.starts)

    def paid(gains: Array) -> Array:
        return jnp.mean(cost(controlled(wake, Feedback(gains), flow, 2 * config.horizon).seen))

    return pairs[jnp.argmin(jax.lax.map(paid, pairs))]


@eqx.filter_jit
def judged(wake: CylinderWake, controller: Controller, config: Config) -> Record:
    """From so many states, spread over the period."""
    chosen = (np.arange(config.tests) + 0.5) / config.tests * len(wake.starts.time)
    flows = jax.tree.map(lambda leaf: leaf[chosen.astype(int)], wake.starts)
    return jax.lax.map(lambda flow: controlled(wake, controller, flow, config.judged), flows)


def measures(record: Record) -> dict[str, float]:
    """Means over the last two thirds."""
    late = jax.tree.map(lambda leaf: leaf[:, leaf.shape[1] // 3 :], record)
    return {
        "drag": float(jnp.mean(late.seen.drag)),
        "lift": float(jnp.sqrt(jnp.mean(late.seen.lift_squared))),
        "power": float(jnp.mean(jnp.abs(late.seen.power))),
        "cost": float(jnp.mean(cost(late.seen))),
    }


def run(config: Config, folder: Path) -> Result:
    """Tune, train, judge, draw; pictures go to `folder`."""
    wakes = [
        cylinder_wake(number, cells=config.cells, spin_up=config.spin_up)
        for number in (config.reynolds, config.other_reynolds)
    ]
    wake, histories = wakes[0], {}
    methods: dict[str, Controller] = {
        "uncontrolled": Feedback(jnp.zeros(2)),
        "feedback": Feedback(tuned(wake, config)),
    }
    keys = jax.random.split(jax.random.key(config.seed), (config.members, 2))
    for number, (first, second) in enumerate(keys):
        name = f"network_{number}" if number else "network"
        policy = Policy(2 * len(wake.places), config.width, first)
        loss, batches = ControlLoss(wake, config.horizon), Starts(wake, config.training.batch)
        policy, history = train(config.training, policy, loss, batches, second, folder, name)
        methods[name], histories[name] = policy, history.loss

    metrics, records = {}, {}
    for name, controller in methods.items():
        for where, prefix in zip(wakes, ("", "other_"), strict=True):
            record = judged(where, controller, config)
            records[prefix + name] = record
            for what, value in measures(record).items():
                metrics[f"{prefix}{name}.{what}"] = value
    gains = methods["feedback"].gains  # pyright: ignore[reportFunctionMemberAccess]
    notes = {
        "feedback": f"gains {float(gains[0]):.2g} and {float(gains[1]):.2g}, the best of a grid"
    }
    _picture(wakes[0], records, folder / "control.png")
    return Result(metrics, {}, histories, notes=notes)


def _picture(wake: CylinderWake, records: dict[str, Record], path: Path) -> None:
    figure, axes = plotting.figure(1, 3, size=(3.2, 2.6))
    times = float(wake.interval) * np.arange(1, len(records["network"].actions[0]) + 1)
    for name in ("uncontrolled", "feedback", "network"):
        record = jax.tree.map(lambda leaf: np.asarray(leaf[0]), records[name])
        for ax, values in zip(
            axes[0], (record.seen.drag, record.seen.lift, record.actions), strict=True
        ):
            ax.plot(times, values, label=name, linewidth=0.9)
    for ax, title in zip(axes[0], ("drag coefficient", "lift coefficient", "action"), strict=True):
        ax.set(title=title, xlabel="time")
    axes[0, 0].legend(fontsize=7)
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="wake-control",
    summary="vortices of a cylinder quietened by a network trained through the flow",
    presets={
        "quick": Config(),
        "full": Config(
            members=3, horizon=40, judged=300, tests=4,
            gains=(0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32),
            training=Training(200, 4, 2e-2, average=None),
        ),
    },
    run=run,
)  # fmt: skip
