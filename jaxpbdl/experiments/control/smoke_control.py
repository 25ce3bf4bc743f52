"""Smoke brought from one shape to another by forces: a controller trained through the flow solver.

    du/dt + u . grad u = -grad p + force,   ds/dt + u . grad s = 0,   div u = 0

The second control task of the Physics-based Deep Learning book (its chapter "Solving Inverse
Problems with NNs"; Holl, Koltun and Thuerey, ICLR 2020, arXiv:2001.07457): 64 x 64 cells, 16 steps
of one, each shape and its place drawn at random, both smoke and velocity carried by semi-Lagrangian
steps (`solvers.flow.stable_fluids`). As there, the error is the mean absolute difference from the
target relative to that at the start, and the force acts on all faces.

Not as there: the shapes are ours (`smoke_shapes`), and new ones are drawn for each update instead
of 800 in all. The sides are walls without friction, and a force moves the smoke from the next step
on, so that 16 steps are 15 moves. The book trains five U-Nets, four that plan ahead and one that
gives the stream function of the next velocity, apart from each other and then together. Here one
U-Net gives the stream functions of four forces at a time, beside a force that carries the smoke as
a whole:

`carried`: that force alone. The smoke is given the velocity that leads its centre to the target's.
`optimised`: forces optimised for each target separately, through the solver, from those on.
`refined`: the same from the forces of the controller on, with a few evaluations; `refined_plain`:
with as few from those of `carried` on.

`force` is half the sum of squares over the faces, the mean over the steps. The book's regulariser
is like it but for a gradient (it compares velocities before and after the pressure) and the first
step (which it leaves out); the 1.2424506 that it prints are those of networks before training.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.control.smoke_controller import (
    PATCH,
    STEPS,
    Controller,
    Smoke,
    Streams,
    forces,
)
from jaxpbdl.experiments.control.smoke_shapes import tasks
from jaxpbdl.experiments.training import Training, train
from jaxpbdl.grids.cells import Cells
from jaxpbdl.inference import Minimum, minimise
from jaxpbdl.networks import UNet
from jaxpbdl.solvers.flow import Flow, StableStep, slip, stable_fluids

ROWS = 4
"""Tests of the picture."""
WIDTHS = (1.5, 4.0, 10.0, 25.0)
"""Of the blurs through which the smoke is compared too, in 64ths of the box."""
BOOK = "Physics-based Deep Learning book, 100 tests with shapes of its own"


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the network and its training."""

    seed: int = 0
    cells: Annotated[int, at_least(16)] = 64
    """Along each axis, a multiple of 16."""
    width: Count = 32
    every: Count = 4
    """Steps between two looks of the controller, a divisor of 16."""
    training: Training = Training(updates=2400, batch=8, learning_rate=7e-4, warmup_fraction=0.05)
    force_weight: Positive = 1e-4
    """Of the force beside the distance to the target, in the loss."""
    tests: Annotated[int, at_least(ROWS)] = 100
    optimised: Count = 12
    """Tests whose forces are optimised, too."""
    descents: Count = 300
    """Evaluations of the loss for each of them."""
    refinements: Count = 20
    """The same where they start from the controller's forces."""

    def __post_init__(self):
        super().__post_init__()
        if self.cells % 16:
            raise ValueError(f"cells must be a multiple of 16, got {self.cells}")
        if STEPS % self.every:
            raise ValueError(f"every must divide {STEPS}, got {self.every}")
        if self.optimised > self.tests:
            raise ValueError(
                f"optimised must be at most tests = {self.tests}, got {self.optimised}"
            )


def solver(cells: int) -> StableStep:
    """One step of the fluid on cells of size one: smoke and velocity carried, the velocity pushed
    by the accelerations on its faces."""
    equation = jp.equations.IncompressibleFlow(scalars={"smoke": jp.equations.Scalar()})
    grid = Cells((cells, cells), (float(cells), float(cells)))
    return stable_fluids(equation, grid, 1.0, (slip(), slip()))


def steered(controller: Controller, start: Smoke, target: Smoke) -> tuple[Array, Streams]:
    """Smoke at all times, and the stream functions of the forces."""
    step = solver(start.shape[0])
    every = controller.every

    def block(flow: Flow, left: Array) -> tuple[Flow, tuple[Array, Array]]:
        velocity = step.grid.to_cells(flow.velocity)
        streams = controller(tuple(velocity), flow.scalars["smoke"], target, left)
        flows = jp.rollout(step, flow, every, inputs=forces(streams), checkpoint=False)
        return jax.tree.map(lambda a: a[-1], flows), (flows.scalars["smoke"][1:], streams)

    left = jnp.arange(STEPS, 0, -every) * 1.0
    _, (smoke, streams) = jax.lax.scan(block, at_rest(step, start), left)
    n = start.shape[0]
    return (
        jnp.concatenate([start[None], smoke.reshape(STEPS, n, n)]),
        streams.reshape(STEPS, n - 1, n - 1),
    )


def at_rest(step: StableStep, smoke: Smoke) -> Flow:
    return Flow(step.grid.velocity(), jnp.zeros((), step.grid.dtype), {"smoke": smoke})


def pushed(streams: Streams, start: Smoke) -> Array:
    """Smoke at all times under given forces."""
    step = solver(start.shape[0])
    return jp.rollout(
        step,
        at_rest(step, start),
        STEPS,
        inputs=forces(streams),
        checkpoint=False,
        observe=lambda flow: flow.scalars["smoke"],
    )


def relative_mae(start: Smoke, reached: Smoke, target: Smoke) -> Float[Array, ""]:
    """The mean absolute difference from the target, relative to that at the start."""
    return jnp.mean(jnp.abs(reached - target)) / jnp.mean(jnp.abs(start - target))


def force(streams: Streams) -> Float[Array, ""]:
    """Half the sum of squares over all faces, the mean over the steps: as the book regularises."""
    along_x, along_y = forces(streams)
    return (jnp.sum(along_x**2) + jnp.sum(along_y**2)) / (2 * len(streams))


def distance(start: Smoke, reached: Smoke, target: Smoke) -> Float[Array, ""]:
    """The relative mean absolute error, and as much for each blur: the squares of the blurred
    difference relative to those at the start. Where two shapes do not overlap, only a blur tells
    which way to go."""
    # Where the target lies upon the start: relative to itself, not to almost nothing.
    least = 0.03
    total = jnp.mean(jnp.abs(reached - target)) / (
        jnp.mean(jnp.abs(start - target)) + least * jnp.mean(target)
    )
    places = np.arange(len(start))
    for width in WIDTHS:
        away = 64 / len(start) * (places[:, None] - places) / width
        blur = jnp.asarray(np.exp(-0.5 * away**2), start.dtype)

        def size(values: Smoke, blur: Array = blur) -> Array:
            return jnp.sum((blur @ values @ blur.T) ** 2)

        total = total + size(reached - target) / (size(start - target) + least * size(target))
    return total


class Loss(eqx.Module):
    """The mean distance of a batch, and the force."""

    force_weight: float = eqx.field(static=True)

    def __call__(self, controller: Controller, batch: tuple[Array, Array]) -> Float[Array, ""]:
        def one(start: Smoke, target: Smoke) -> Array:
            smoke, streams = steered(controller, start, target)
            return distance(start, smoke[-1], target) + self.force_weight * force(streams)

        return jnp.mean(jax.vmap(one)(*batch))


def optimised(
    streams: Array, start: Array, target: Array, evaluations: int, weight: float
) -> dict[str, float]:
    """From given forces to those of the smallest loss, for each task by itself: `measures`, and the
    seconds of a task."""
    found, seconds = timed(_minima, streams, start, target, evaluations, weight)
    reached = driven(found.argmin, start)
    return measures(start, reached, found.argmin, target) | {"seconds": seconds}


def _minima(streams: Array, start: Array, target: Array, steps: int, weight: float) -> Minimum:
    def one(streams: Streams, start: Smoke, target: Smoke) -> Minimum:
        def loss(streams: Streams) -> Float[Array, ""]:
            return distance(start, pushed(streams, start)[-1], target) + weight * force(streams)

        return minimise(loss, streams, steps=steps)

    return jax.vmap(one)(streams, start, target)


@eqx.filter_jit
def driven(streams: Array, start: Array) -> Array:
    """Smoke at all times of several tasks under given forces."""
    return jax.vmap(pushed)(streams, start)


def follow(controller: Controller, start: Array, target: Array) -> tuple[Array, Array]:
    """Smoke at all times and stream functions of several tasks."""
    return jax.vmap(partial(steered, controller))(start, target)


def timed(function: Callable, *arguments: PyTree) -> tuple[Any, float]:
    """What a compiled function gives, and how long it then takes for a task."""
    compiled = eqx.filter_jit(function).lower(*arguments).compile()
    begin = time.perf_counter()
    found = jax.block_until_ready(compiled(*arguments))
    return found, (time.perf_counter() - begin) / len(arguments[1])


def measures(start: Array, smoke: Array, streams: Array, target: Array) -> dict[str, float]:
    """Means over tests."""
    away = jax.vmap(relative_mae)(start, smoke[:, -1], target)
    return {
        "relative_mae": float(jnp.mean(away)),
        "force": float(jnp.mean(jax.vmap(force)(streams))),
    }


def run(config: Config, folder: Path) -> Result:
    """Train the controller and judge it on tests; pictures go to `folder`."""
    train_key, test_key = jax.random.split(jax.random.key(0))
    first, fitting = jax.random.split(jax.random.fold_in(train_key, config.seed))
    start, target = tasks(test_key, config.tests, config.cells)
    inputs, outputs = PATCH**2 * 8 + 2, PATCH**2 * config.every
    network = UNet(
        2,
        inputs,
        outputs,
        width=config.width,
        levels=2,
        periodic=False,
        zero_last=True,
        key=first,
    )
    drawn = partial(tasks, count=config.training.batch, cells=config.cells)  # new for each update
    controller, history = train(
        config.training,
        Controller(network, config.every),
        Loss(config.force_weight),
        drawn,
        fitting,
        folder,
        "controller",
    )
    (smoke, streams), seconds = timed(follow, controller, start, target)
    carried, plain = eqx.filter_jit(follow)(Controller(None, config.every), start, target)
    some = slice(config.optimised)
    none = jnp.zeros_like(streams[some])
    still = driven(none, start[some])
    searches = {
        "optimised": (plain, config.descents),
        "refined": (streams, config.refinements),
        "refined_plain": (plain, config.refinements),
    }
    metrics = measures(start, smoke, streams, target) | {"seconds": seconds}
    rows = {
        "no_force": measures(start[some], still, none, target[some]),
        "carried": measures(start, carried, plain, target),
        "network_there": measures(start[some], smoke[some], streams[some], target[some]),
    } | {
        name: optimised(given[some], start[some], target[some], evaluations, config.force_weight)
        for name, (given, evaluations) in searches.items()
    }
    for name, values in rows.items():
        metrics |= {f"{name}.{kind}": value for kind, value in values.items()}
    picture(np.asarray(smoke), np.asarray(target), folder)
    notes = {
        "carried": "the smoke as a whole; no network",
        "optimised": f"each of the first {config.optimised} tests by itself",
        "network_there": "the controller on those tests",
        "refined": f"{config.refinements} evaluations on, from the controller's forces",
        "refined_plain": f"{config.refinements} evaluations on, from those of carried",
    }
    published = {"relative_mae": Published(0.0545017, BOOK)} if config.cells == 64 else {}
    return Result(metrics, published, {"controller": history.loss}, notes=notes)


def picture(smoke: np.ndarray, target: np.ndarray, folder: Path) -> None:
    """`control.png`: what the controller makes of some tests, the target last; `control.gif`."""
    figure, axes = plotting.figure(ROWS, 6, size=(1.5, 1.5))
    for row, ours, wanted in zip(axes, smoke, target, strict=False):
        for ax, n in zip(row, (0, 4, 8, 12, 16, None), strict=True):
            title = "target" if n is None else f"step {n}"
            plotting.field(ax, wanted if n is None else ours[n], title=title, limit=1.0)
            ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    plotting.save(figure, folder / "control.png")
    films = {}
    for test in range(ROWS):
        films[f"test {test}"] = smoke[test]
        films[f"target {test}"] = np.broadcast_to(target[test], smoke[test].shape)
    plotting.animate(films, folder / "control.gif", times=range(STEPS + 1), pixels=110)


EXPERIMENT = Experiment(
    name="smoke-control",
    summary="forces bring smoke into another shape and place, learned through the flow solver",
    presets={
        "quick": Config(cells=32, training=replace(Config.training, updates=600), descents=100),
        "full": Config(),
    },
    run=run,
)
