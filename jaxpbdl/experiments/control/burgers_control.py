"""Burgers' equation steered by forces: a controller trained by differentiating through the solver.

    du/dt + u du/dx = 0.003 d2u/dx2 + force,  periodic on [0, 1], 32 cells, 32 steps of 0.03

From two random bumps that run into each other, a state is to be reached that a hidden force, the
same in all steps, has brought about: with as little force as can be. This is the control task of
the Physics-based Deep Learning book (its chapter on reinforcement learning; Holl, Koltun and
Thuerey, ICLR 2020, arXiv:2001.07457), made periodic.

A controller sees the state that comes next without it, the target and the steps that are left:

`straight`: the planned states lie evenly on the way to the target; no network.
`planner`: a network corrects those plans. A force acts on every cell, so the one that a plan needs
is known exactly; the last plan is the target, which is met.
`direct`: a network gives the force itself; that it misses the target costs it.

Beside them: no force, the hidden one, and forces optimised for each target separately.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.inference import Minimum, minimise
from jaxpbdl.networks import Dense

CELLS, STEPS, DT, VISCOSITY, TESTS = 32, 32, 0.03, 0.003, 100
BOOK = "Physics-based Deep Learning book, 100 tests, open boundaries, read off a plot"
SMOKE = "Physics-based Deep Learning book, another system: smoke controlled in two dimensions"

State = Float[Array, " cells"]
Controller = Callable[[State, State, Array], State]
"""(state one step on without a force, target, steps left) -> force."""
Trained = TypeVar("Trained")


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the networks and their training."""

    seed: int = 0
    width: Count = 128
    depth: Count = 3
    training: Training = Training(updates=2000, batch=64, learning_rate=1e-3, warmup_fraction=0.05)
    gap: Positive = 100.0
    """Weight of the squared distance to the target beside the squared force, for `direct`."""
    descents: Count = 500
    """Updates of the forces that are optimised for each target separately."""


def solver() -> jp.Step:
    """One step without a force."""
    grid = jp.grids.Periodic(CELLS, 1.0, 0.5 / CELLS)
    return jp.solvers.spectral.semi_lagrangian(jp.equations.Burgers(VISCOSITY), grid, DT)


def tasks(key: PRNGKeyArray, count: int) -> tuple[Array, Array, Array]:
    """Initial states, targets and hidden forces, distributed as in the book."""
    step = solver()

    def one(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        low = jnp.array([0.2, 0.0, 0.05, 0.6, -3.0, 0.05, 0.4, -1.6, 0.1])
        high = jnp.array([0.4, 3.0, 0.15, 0.8, 0.0, 0.15, 0.6, 1.6, 0.4])
        left, right, force = jax.random.uniform(key, (9,), minval=low, maxval=high).reshape(3, 3)
        hidden = bump(*force)
        start = bump(*left) + bump(*right)
        target = jp.repeat(lambda u: step.advance(u) + DT * hidden, STEPS)(start)
        return start, target, hidden

    return jax.vmap(one)(jax.random.split(key, count))


def bump(place: Array, height: Array, width: Array) -> State:
    """A Gaussian about a place of the unit circle."""
    away = (np.arange(CELLS) + 0.5) / CELLS - place
    return height * jnp.exp(-0.5 * ((away - jnp.round(away)) / width) ** 2)


class Planner(eqx.Module):
    """The force that leads evenly to the target, corrected in all steps but the last."""

    network: Dense | None

    def __call__(self, ahead: State, target: State, left: Array) -> State:
        even = (target - ahead) / (left * DT)
        if self.network is None:
            return even
        return even + jnp.where(left > 1, self.network(seen(ahead, target, left)), 0.0)


class Direct(eqx.Module):
    """The force from a network alone."""

    network: Dense

    def __call__(self, ahead: State, target: State, left: Array) -> State:
        return self.network(seen(ahead, target, left))


def seen(ahead: State, target: State, left: Array) -> Array:
    return jnp.concatenate([ahead, target, jnp.stack([left / STEPS, 1 / left])])


def steered(controller: Controller, start: State, target: State) -> tuple[Array, Array]:
    """All states after the first, and the forces."""
    step = solver()

    def forced(state: tuple[State, State], left: Array) -> tuple[State, State]:
        ahead = step.advance(state[0])
        force = controller(ahead, target, left)
        return ahead + DT * force, force

    left = jnp.arange(STEPS, 0, -1.0)
    still = (start, jnp.zeros_like(start))
    states, forces = jp.rollout(forced, still, STEPS, inputs=left, checkpoint=False)
    return states[1:], forces[1:]


class Loss(eqx.Module):
    """The mean square of all forces and `gap` times that of the distance to the target."""

    gap: float = eqx.field(static=True)

    def __call__(self, controller: Controller, batch: tuple) -> Float[Array, ""]:
        start, target, _ = batch
        states, forces = jax.vmap(partial(steered, controller))(start, target)
        return jnp.mean(forces**2) + self.gap * jnp.mean((states[:, -1] - target) ** 2)


class Sequences(eqx.Module):
    """A force for each step; the last one closes the gap instead."""

    forces: Float[Array, "*tasks steps cells"]

    def __call__(self, ahead: State, target: State, left: Array) -> State:
        given = self.forces[(STEPS - left).astype(int)]
        return jnp.where(left > 1, given, (target - ahead) / DT)


def run(config: Config, folder: Path) -> Result:
    """Train both controllers, steer 100 tests by every method; a picture goes to `folder`."""
    train_key, test_key = jax.random.split(jax.random.key(0))
    first, second, fitting = jax.random.split(jax.random.fold_in(train_key, config.seed), 3)
    start, target, hidden = tasks(test_key, TESTS)
    sizes = (2 * CELLS + 2, *[config.width] * config.depth, CELLS)

    def network(key: PRNGKeyArray) -> Dense:
        return Dense(sizes, activation=jax.nn.gelu, scale=1.4, zero_last=True, key=key)

    histories = {}

    def trained(controller: Trained, gap: float, name: str) -> Trained:
        drawn = partial(tasks, count=config.training.batch)  # new ones for each update
        fitted, history = train(
            config.training, controller, Loss(gap), drawn, fitting, folder, name
        )
        histories[name] = history.loss
        return fitted

    planner = trained(Planner(network(first)), 0.0, "planner")
    direct = trained(Direct(network(second)), config.gap, "direct")
    given = {"straight": Planner(None), "planner": planner, "direct": direct}
    runs = {name: follow(each, start, target) for name, each in given.items()}
    runs["optimised"] = optimised(config, runs["planner"][1], start, target)
    runs["hidden"] = follow_all(Sequences(jnp.repeat(hidden[:, None], STEPS, 1)), start, target)
    metrics = {}
    for name, (states, forces) in runs.items():
        metrics[f"{name}.total_force"] = total_force(forces)
        metrics[f"{name}.over_hidden"] = total_force(forces) / total_force(runs["hidden"][1])
        metrics[f"{name}.relative_error"] = relative_error(states[:, -1], target)
    picture(runs, np.asarray(start), np.asarray(target), folder)
    published = {
        "planner.total_force": Published(59_500, BOOK),
        "planner.over_hidden": Published(59_500 / 46_800, BOOK),
        "reinforcement_learning.total_force": Published(61_200, BOOK),
        "reinforcement_learning.over_hidden": Published(61_200 / 46_800, BOOK),
        "hidden.total_force": Published(46_800, BOOK),
        "direct.relative_error": Published(0.0545, SMOKE),
    }
    return Result(metrics, published, histories)


def optimised(config: Config, forces: Array, start: Array, target: Array) -> tuple[Array, Array]:
    """From given forces to those of the smallest mean square, for each task by itself."""
    minima = _minima(forces, start, target, config.descents)
    missed = int(np.sum(~np.asarray(minima.converged)))
    if missed:
        warnings.warn(
            f"the forces of {missed} of {len(start)} tasks have not converged after "
            f"{config.descents} steps: raise descents",
            stacklevel=2,
        )
    return follow_all(Sequences(minima.argmin), start, target)


@eqx.filter_jit
def _minima(forces: Array, start: Array, target: Array, steps: int) -> Minimum:
    def one(forces: Array, start: State, target: State) -> Minimum:
        def loss(forces: Array) -> Float[Array, ""]:
            return jnp.mean(steered(Sequences(forces), start, target)[1] ** 2)

        return minimise(loss, forces, steps=steps)

    return jax.vmap(one)(forces, start, target)


@eqx.filter_jit
def follow(controller: Controller, start: Array, target: Array) -> tuple[Array, Array]:
    """States and forces of several tasks under one controller."""
    return jax.vmap(partial(steered, controller))(start, target)


@eqx.filter_jit
def follow_all(found: Sequences, start: Array, target: Array) -> tuple[Array, Array]:
    """The same under forces of their own."""
    return jax.vmap(steered)(found, start, target)


def total_force(forces: Array) -> float:
    """Sum of the sizes over all tests, steps and cells, as the book counts."""
    return float(jnp.sum(jnp.abs(forces)))


def relative_error(reached: Array, target: Array) -> float:
    """L2, the mean over the tests."""
    away, size = (jnp.linalg.norm(a, axis=1) for a in (reached - target, target))
    return float(jnp.mean(away / size))


def picture(
    runs: dict[str, tuple[Array, Array]], start: np.ndarray, target: np.ndarray, folder: Path
) -> None:
    """`control.png`: one test, what the planner makes of it, and the force over time."""
    figure, axes = plotting.figure(1, 3, size=(3.6, 2.8))
    x = (np.arange(CELLS) + 0.5) / CELLS
    ends = {"start": start[0], "target": target[0]}
    ends |= {name: runs[name][0][0, -1] for name in ("planner", "direct")}
    plotting.curves(axes[0, 0], ends, x, xlabel="x", ylabel="u")
    between = {f"step {n}": runs["planner"][0][0, n - 1] for n in (1, 8, 16, 24, 32)}
    plotting.curves(axes[0, 1], between, x, xlabel="x", ylabel="u, planner")
    sizes = {name: np.mean(np.abs(forces), axis=(0, 2)) for name, (_, forces) in runs.items()}
    steps = np.arange(1, STEPS + 1)
    plotting.curves(axes[0, 2], sizes, steps, xlabel="step", ylabel="mean size of the force")
    plotting.save(figure, folder / "control.png")


EXPERIMENT = Experiment(
    name="burgers-control",
    summary="forces steer Burgers' equation to a target, learned through the solver",
    presets={
        "quick": Config(),
        "full": Config(width=256, training=replace(Config.training, updates=10_000, batch=100)),
    },
    run=run,
)
