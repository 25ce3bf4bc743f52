"""A network inside the fluxes of a gas: is it worth its cost on Riemann problems it has not seen?

Godunov's method needs the values at the edges of the cells, from the means of the cells. Here a
line in each cell gives them, and a small network chooses its slope (see `learned_slopes`), trained
through the solver: the loss is the mean error of the density at the end of random Riemann problems,
beside the exact solution. It is held against the front of plain schemes (limiters, WENO5-Z, of
several variables and steps in time) on several numbers of cells and at several Courant numbers, all
timed in one process: its `pay_off` is what the plain solver as accurate costs over what it costs.
Errors are means over cells and problems of |density - exact|; the front is that of the test
problems themselves, which favours plain schemes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import (
    Count,
    Fraction,
    NonNegativeInt,
    Positive,
    Validated,
    rising,
)
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.gas.learned_slopes import LearnedSlopes, random_slopes
from jaxpbdl.experiments.gas.riemann_problems import (
    Problems,
    Run,
    on_cells,
    random_problems,
    steps_of,
)
from jaxpbdl.experiments.gas.schemes import (
    PLAIN,
    densities,
    errors,
    learned,
    tube_step,
    waves_error,
    waves_truth,
)
from jaxpbdl.experiments.report import table
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import Samples, fit_ensemble
from jaxpbdl.learning.ensemble import members
from jaxpbdl.learning.front import Method, Point, costs, ensemble_pay_off, front, rows
from jaxpbdl.rollouts import repeat

TIMED = 64
"""Steps of one call while costs are measured."""
SETS = ("test", "strong")


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    members: Count = 3
    width: Count = 8
    """Of the hidden layer."""
    cells: Count = 40
    """Of the training."""
    courant: Positive = 0.9
    """Of the learned scheme, in training and tests."""
    training: Training = Training(updates=250, batch=12, learning_rate=1e-2, average=None)
    problems: Count = 512
    validation: Count = 24
    test: Count = 48
    low: Fraction = 0.1
    """The lowest density and pressure, beside 1; that of velocities:"""
    speed: Positive = 0.7
    strong: Positive = 100.0
    """The largest ratio of pressures outside the training; the least is a tenth of it."""
    learned_cells: tuple[Count, ...] = (50, 100, 200)
    """On which the learned scheme is tested; the pay-off is that on the middle ones."""
    plain_cells: tuple[Count, ...] = (50, 60, 75, 100, 112, 125, 140, 200)
    plain_courants: tuple[Positive, ...] = (0.5, 0.9)
    timing_repeats: Count = 15
    waves: NonNegativeInt = 200
    """Cells for a shock that meets sound (see `waves_truth`); 0 leaves it out."""

    def __post_init__(self):
        super().__post_init__()
        rising("learned_cells", self.learned_cells)
        rising("plain_cells", self.plain_cells)
        for name, courants in {
            "courant": (self.courant,), "plain_courants": self.plain_courants,
        }.items():  # fmt: skip
            if not courants or max(courants) > 1:
                raise ValueError(f"{name} must be at most 1, a cell a step; got {courants}")
        if not 0 < self.low < 1:
            raise ValueError(f"low must be in (0, 1), got {self.low}")
        if self.strong < 10:
            raise ValueError(f"strong must be at least 10, got {self.strong}")
        least = min(self.cells, *self.learned_cells, *self.plain_cells)
        if least < 20:
            raise ValueError(f"there must be at least 20 cells, got {least}")


class Loss(eqx.Module):
    """A hundred times the mean error of the density, through the solver."""

    steps: int = eqx.field(static=True)

    def __call__(self, model: LearnedSlopes, run: Run) -> Array:
        def one(state: Array, end: Array) -> Array:
            step = tube_step(state.shape[-1], end / self.steps, learned(model))
            return repeat(step, self.steps, checkpoint=False).advance(state)[0]

        return 100 * jnp.mean(jnp.abs(jax.vmap(one)(run.states, run.ends) - run.truth))


class Validation(eqx.Module):
    """The loss on problems of their own."""

    loss: Loss
    run: Run

    def __call__(self, model: LearnedSlopes) -> Array:
        return self.loss(model, self.run)


def trained(
    config: Config, folder: Path
) -> tuple[list[LearnedSlopes], dict[str, np.ndarray], float]:
    """The members, their losses, and the seconds that data and one member took."""
    begin = time.perf_counter()
    seeds = {4 * config.seed: config.problems, 4 * config.seed + 1: config.validation}
    sets = [
        on_cells(random_problems(key, count, config.low, config.speed), config.cells)
        for key, count in seeds.items()
    ]
    loss = Loss(steps_of(config.cells, config.courant))
    training = config.training
    stacked, histories = fit_ensemble(
        lambda key: random_slopes(config.width, key),
        loss,
        Samples(sets[0], batch=training.batch),
        training.optimiser(),
        training.updates,
        keys=jax.random.split(jax.random.key(config.seed), config.members),
        chunk=25,
        validate=Validation(loss, sets[1]),
        ema=training.average,
        folder=folder / "checkpoints",
        name="shock-closure",
    )
    losses = {f"learned_{number}": history.loss for number, history in enumerate(histories)}
    return members(stacked), losses, (time.perf_counter() - begin) / config.members


def run(config: Config, folder: Path) -> Result:
    """Train, compare with the front of plain schemes; pictures go to `folder`."""
    models, losses, invested = trained(config, folder)
    key = 4 * config.seed
    inside = random_problems(key + 2, config.test, config.low, config.speed)
    outside = random_problems(key + 3, config.test, config.low, config.speed, config.strong)
    together = Problems(*(np.concatenate(pair) for pair in zip(inside, outside, strict=True)))
    schemes = {**PLAIN, **{f"learned_{k}": learned(model) for k, model in enumerate(models)}}
    numbers = sorted({*config.plain_cells, *config.learned_cells})
    runs = {cells: on_cells(together, cells) for cells in numbers}

    found: dict[str, dict[str, float]] = {name: {} for name in SETS}
    steps: dict[str, tuple[str, int, int]] = {}
    for name, options in schemes.items():
        own = name not in PLAIN
        print(f"solving: {name}", flush=True)
        for cells in config.learned_cells if own else config.plain_cells:
            for courant in (config.courant,) if own else config.plain_courants:
                label = f"{name}_{cells}" + ("" if own else f"_{courant:g}".replace(".", ""))
                steps[label] = name, cells, steps_of(cells, courant)
                each = errors(options, runs[cells], steps[label][2])
                for part, some in zip(
                    SETS, (each[: config.test], each[config.test :]), strict=True
                ):
                    found[part][label] = float(np.mean(some))
    prices = _prices(config, schemes, runs, steps)
    metrics: dict[str, float] = {}
    points: dict[str, tuple[list[Point], list[Point]]] = {}
    for part in SETS:
        every = [Point(label, error, prices[label]) for label, error in found[part].items()]
        plain = [point for point in every if not point.name.startswith("learned")]
        own = [point for point in every if point.name.startswith("learned")]
        points[part] = plain, own
        columns, lines = rows(plain, own)
        shown = [line for line in lines if line[3] != "no"]
        table(shown, ("method", "error", "ms a solve", *columns[3:]), title=part)
        metrics |= _summary(config, plain, own, invested, "" if part == "test" else f"_{part}")
    metrics["invested_seconds"] = invested
    if config.waves:
        truth = waves_truth(config.waves)
        for name in ("learned_0", "superbee", "weno", "weno_characteristic"):
            # Each at the Courant number that it was made for.
            courant = config.courant if name == "learned_0" else 0.5
            metrics[f"{name}.waves_l1"] = waves_error(schemes[name], truth, courant)
    _pictures(config, points, schemes, runs, folder)
    return Result(metrics, histories=losses)


def _prices(
    config: Config,
    schemes: Mapping[str, Mapping[str, Any]],
    runs: Mapping[int, Run],
    steps: Mapping[str, tuple[str, int, int]],
) -> dict[str, float]:
    """Seconds a solve: members do the same work, so one is timed."""

    def timed(name: str) -> str:
        return "learned_0" if name.startswith("learned") else name

    methods = {}
    for name, cells, count in steps.values():
        label = f"{timed(name)} {cells}"
        if label not in methods:
            run = runs[cells]
            step = tube_step(cells, float(run.ends[0]) / count, schemes[timed(name)])
            methods[label] = Method(step, run.states[:1], TIMED)
    each = costs(methods, 1.0, snapshots=1, repeats=config.timing_repeats)
    return {
        label: each[f"{timed(name)} {cells}"] * count / TIMED
        for label, (name, cells, count) in steps.items()
    }


def _summary(
    config: Config, plain: list[Point], own: list[Point], invested: float, end: str
) -> dict[str, float]:
    """Pay-offs on each number of cells; errors of each scheme on the cells of the learned ones, the
    best of its Courant numbers."""
    metrics: dict[str, float] = {}
    middle = config.learned_cells[len(config.learned_cells) // 2]
    for cells in config.learned_cells:
        some = [point for point in own if point.name.endswith(f"_{cells}")]
        gains = ensemble_pay_off(some, plain, invested, 1.0)
        if cells == middle:
            metrics |= {f"{name}{end}": gain for name, gain in gains.items()}
        metrics[f"learned.pay_off{end}_{cells}"] = gains["pay_off"]
        metrics[f"learned.l1{end}_{cells}"] = float(np.median([point.error for point in some]))
        metrics[f"learned.ms{end}_{cells}"] = 1e3 * some[0].cost
        for name in PLAIN:
            kin = [p for p in plain if p.name.rsplit("_", 2)[:2] == [name, str(cells)]]
            if kin:
                best = min(kin, key=lambda point: point.error)
                metrics[f"{name}.l1{end}_{cells}"] = best.error
                metrics[f"{name}.ms{end}_{cells}"] = 1e3 * best.cost
    return metrics


def _pictures(
    config: Config,
    points: Mapping[str, tuple[list[Point], list[Point]]],
    schemes: Mapping[str, Mapping[str, Any]],
    runs: Mapping[int, Run],
    folder: Path,
) -> None:
    """`front.png`: error against cost; `density.png`: the first test problem."""
    figure, axes = plotting.figure(1, len(points), size=(4.4, 3.4))
    for ax, (part, (plain, own)) in zip(axes[0], points.items(), strict=True):
        pairs = [
            [(1e3 * point.cost, point.error) for point in some if np.isfinite(point.error)]
            for some in (plain, front(plain), own)
        ]
        plotting.cost_and_error(ax, *pairs, unit="ms a solve")
        ax.set(title=part, ylabel="mean error of the density")
    plotting.save(figure, folder / "front.png")

    cells = config.learned_cells[0]
    steps, first = jnp.asarray(steps_of(cells, config.courant)), Run(*(e[:1] for e in runs[cells]))
    curves = {"exact": np.asarray(first.truth[0])}
    for name in ("superbee", "weno", "learned_0"):
        curves[name.replace("_0", "")] = np.asarray(densities(schemes[name], first, steps)[0])
    figure, axes = plotting.figure(1, 1, size=(5.0, 3.4))
    places = (np.arange(cells) + 0.5) / cells
    plotting.curves(axes[0, 0], curves, places, xlabel="x", ylabel="density")
    plotting.save(figure, folder / "density.png")


EXPERIMENT = Experiment(
    name="shock-closure",
    summary="a network inside the fluxes of a gas against plain schemes, at equal cost",
    presets={"quick": Config()},
    run=run,
)
