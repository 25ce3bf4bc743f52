"""Does a hybrid on a coarser grid pay, on the scenarios of `difficulty.py`?

    hybrid u -> s + scale * network(s),   s = step of the coarse solver from u, dt = 1, 2, ..

A network corrects one full step of the reference's scheme on fewer points, which spans one or
several steps of the reference. It is held against the front of plain solvers: the same scheme on
fewer points up to those of the reference, without its highest third of modes or with all of them
(half the points hold as many, but products alias), and with steps as long as the hybrid's. Errors
are relative, against the reference cut off to the modes of each grid, their mean over trajectories
and then the geometric mean over steps 1 to 100, or over every second of them for a step of two.

The grid and the step of the hybrid are those of the highest pay-off on trajectories left out of the
fit, beside the front on these (of those that pay nothing the smallest error); the test trajectories
choose nothing. What training costs counts all that were tried. The reference has no error at all:
it counts as the rounding of single precision, so its own cost bounds every pay-off.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.distributed import map_members
from jaxpbdl.experiments.configuration import Count, Fraction, Validated, rising
from jaxpbdl.experiments.operators.difficulty import UP_TO, Scenario, geometric_mean
from jaxpbdl.experiments.operators.products import ProductNet
from jaxpbdl.experiments.report import table
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids import Periodic
from jaxpbdl.grids.spectrum import resample
from jaxpbdl.learning import Corrected, Windows, evaluate, fit_ensemble, unrolled
from jaxpbdl.learning.ensemble import members
from jaxpbdl.learning.front import Method, Point, costs, ensemble_pay_off, front, pay_off, rows
from jaxpbdl.learning.loop import Keys
from jaxpbdl.networks import parameter_count
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import SpectralStep, semilinear
from jaxpbdl.solvers.time.exponential import etdrk2

ROUNDING = float(np.finfo(np.float32).eps)
TIMED = 20
"""Steps of one call while costs are measured: few, so that some calls are not interrupted."""


@dataclass(frozen=True)
class CoarseGrids(Validated):
    """Settings; grids are shares of the points of the reference, rounded to even numbers."""

    plain: tuple[Fraction, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    """Of the plain solvers beside the reference; those of `learned` are added."""
    learned: tuple[Fraction, ...] = (0.4, 0.6)
    """Among which validation chooses the hybrid's."""
    strides: tuple[Count, ...] = (1, 2)
    """Steps of the reference that one step spans: tried by plain solvers and hybrids."""
    coarse_products: Count = 2
    coarse_layers: Count = 2
    coarse_updates: Count = 2000
    timing_repeats: Count = 200

    def __post_init__(self):
        super().__post_init__()
        rising("strides", self.strides)
        for name, shares in {"plain": self.plain, "learned": self.learned}.items():
            if not shares or not 0 < min(shares) <= max(shares) < 1:
                raise ValueError(f"{name} must be shares in (0, 1), got {shares}")


class Grid(NamedTuple):
    """Points, and how many steps of the reference one step spans."""

    points: int
    stride: int

    def __str__(self) -> str:
        return f"{self.points} points, dt {self.stride}"


@dataclass(frozen=True)
class Tried:
    """Hybrids of one grid and step, with their errors in validation and test."""

    models: Sequence[Corrected]
    validation: list[float]
    test: list[float]
    losses: list[np.ndarray]
    seconds: float


@dataclass(frozen=True)
class Contest:
    """All of one scenario: errors of plain solvers (validation, test) by grid and share of modes,
    and the hybrids."""

    plain: dict[tuple[Grid, float | None], tuple[float, float]]
    tried: dict[Grid, Tried]


def even(share: float, points: int) -> int:
    """A share of the points, to the nearest even number."""
    return 2 * max(1, round(share * points / 2))


def coarse_step(
    scenario: Scenario, points: int, grid: Grid, keep: float | None = 1.0
) -> SpectralStep:
    """The scheme of the reference on `points` with its coefficients, on another grid and over
    several of its steps; `keep`, the share of modes kept, by default all of them, None as the
    reference does."""
    box, dt = Periodic(grid.points, 1.0), float(grid.stride)
    return semilinear(scenario.equation(points), box, dt, etdrk2, keep)


def cut_off(states: Float[Array, "*some points"], points: int) -> Float[Array, "*some fewer"]:
    """States without the modes that `points` cannot hold, on these."""
    return resample(states, Periodic(states.shape[-1], 1.0), Periodic(points, 1.0))


def beside_reference(
    step: SpectralStep | Corrected,
    truth: Float[Array, "all snapshots points"],
    stride: int,
    held: int,
) -> tuple[float, float]:
    """The measure over the first `held` trajectories and over the others."""
    seen = truth[:, : UP_TO + 1 : stride]
    errors = evaluate(step, seen, stride * np.arange(float(seen.shape[1]))).relative_l2
    first, second = (max(geometric_mean(part), ROUNDING) for part in (errors[:held], errors[held:]))
    return first, second


def square_error(model: Corrected, windows: Array) -> Array:
    """The mean square error over a rollout, relative to the solver's own after one step."""
    return unrolled(model, windows) / model.scale**2


def coarse_models(
    settings: CoarseGrids,
    scenario: Scenario,
    train: Float[Array, "trajectories snapshots points"],
    grid: Grid,
    keys: Keys,
    folder: Path,
) -> tuple[list[Corrected], list[np.ndarray], float]:
    """Hybrids of one grid, one a key; their losses, and the seconds one of them took."""
    solver = coarse_step(scenario, train.shape[-1], grid)
    states = cut_off(train, grid.points)
    before, after = states[:, : -grid.stride], states[:, grid.stride :]
    scale = jnp.sqrt(jnp.mean((after - jax.vmap(jax.vmap(solver))(before)) ** 2))

    def hybrid_of(key: PRNGKeyArray) -> Corrected:
        size = {"products": settings.coarse_products, "layers": settings.coarse_layers}
        return Corrected(solver, ProductNet(grid.points, **size, key=key), scale=scale)

    training = Training(
        updates=settings.coarse_updates, batch=20, learning_rate=2e-2, warmup_fraction=0.05
    )
    name = f"{scenario.name}-coarse-{grid.points}-{grid.stride}"
    stacked, histories = fit_ensemble(
        hybrid_of,
        square_error,
        Windows(states, 1, training.batch, grid.stride),
        training.optimiser(optax.adam, b2=0.99),
        training.updates,
        keys=keys,
        chunk=250,
        ema=training.average,
        folder=folder / "checkpoints" / name,
        name=name,
    )
    # The members are fitted at once, so each history holds the time of all.
    seconds = histories[0].seconds / len(histories)
    return members(stacked), [history.loss for history in histories], seconds


def contest(
    settings: CoarseGrids,
    scenario: Scenario,
    data: Mapping[str, Array],
    keys: Keys,
    folder: Path,
) -> Contest:
    """Plain solvers and hybrids of one scenario beside the reference. Trajectories for validation
    are continued to the steps of the measure, as those of the test."""
    points, steps = data["test"].shape[-1], min(UP_TO, data["test"].shape[1] - 1)
    reference = scenario.step(points)

    def longer(start: Array) -> Array:
        return rollout(reference, start, steps, checkpoint=False)

    held = len(data["validation"])
    validation = map_members(longer, data["validation"][:, 0])
    truth = jnp.concatenate([validation, data["test"][:, : steps + 1]])

    def judged(step: SpectralStep | Corrected, grid: Grid) -> tuple[float, float]:
        return beside_reference(step, cut_off(truth, grid.points), grid.stride, held)

    print(f"plain solvers on coarser grids: {scenario.name}", flush=True)
    plain = {
        (grid, keep): judged(coarse_step(scenario, points, grid, keep), grid)
        for grid, keep in plain_solvers(settings, points)
    }
    tried: dict[Grid, Tried] = {}
    for share in settings.learned:
        for stride in settings.strides:
            grid = Grid(even(share, points), stride)
            models, losses, seconds = coarse_models(
                settings, scenario, data["train"], grid, keys, folder
            )
            errors = [judged(model, grid) for model in models]
            validated, tested = (list(some) for some in zip(*errors, strict=True))
            tried[grid] = Tried(models, validated, tested, losses, seconds)
    return Contest(plain, tried)


def plain_solvers(settings: CoarseGrids, points: int) -> list[tuple[Grid, float | None]]:
    """Grids and shares of modes of the plain solvers, those of the hybrids among them; the share of
    the reference at its dt alone."""
    shares = {*settings.plain, *settings.learned}
    numbers = sorted({even(share, points) for share in shares} | {points})
    long = [(Grid(n, stride), 1.0) for n in numbers for stride in settings.strides]
    return [*long, *((Grid(n, 1), None) for n in numbers)]


def step_costs(
    settings: CoarseGrids, scenario: Scenario, states: Float[Array, "some points"], one: Contest
) -> dict[tuple[int, float | None] | int, float]:
    """Seconds a step by points and share of modes, and of a hybrid by points. They are alike in all
    scenarios, which differ in coefficients alone, and for all steps in time."""
    points = states.shape[-1]
    methods: dict[tuple[int, float | None] | int, Method] = {}
    for grid, keep in one.plain:
        step = coarse_step(scenario, points, grid._replace(stride=1), keep)
        methods[grid.points, keep] = Method(step, cut_off(states, grid.points))
    for grid, tried in one.tried.items():
        methods.setdefault(grid.points, Method(tried.models[0], cut_off(states, grid.points)))
    named = {str(key): method for key, method in methods.items()}
    found = costs(named, 1.0, snapshots=TIMED, repeats=settings.timing_repeats)
    return {key: found[str(key)] for key in methods}


def coarse_hybrids(
    settings: CoarseGrids,
    scenarios: Sequence[Scenario],
    states: Mapping[str, Mapping[str, Array]],
    keys: Keys,
    folder: Path,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Metrics and losses; `front.png` goes to `folder`.

    **Arguments:** `states`, of each scenario the trajectories `train`, `validation` and `test`;
    `keys`, one a member.
    """
    timed: dict[tuple[int, float | None] | int, float] = {}
    metrics: dict[str, float] = {}
    losses: dict[str, np.ndarray] = {}
    drawn: dict[str, tuple[list[Point], list[Point]]] = {}
    for scenario in scenarios:
        name, data = scenario.name, states[scenario.name]
        train, points = data["train"], data["train"].shape[-1]
        found = contest(settings, scenario, data, keys, folder)
        timed = timed or step_costs(settings, scenario, data["test"][:1, 0], found)
        snapshots = len(train) * (scenario.warmup + train.shape[1] - 1)
        invested = snapshots * timed[points, None] + sum(e.seconds for e in found.tried.values())
        more, drawn[name] = coarse_pay_offs(name, found, timed, invested)
        metrics |= more
        for grid, tried in found.tried.items():
            kind = f"{name}_coarse_{grid.points}_{grid.stride}"
            losses |= {f"{kind}_{number}": loss for number, loss in enumerate(tried.losses)}
        metrics["reference.us_a_step"] = 1e6 * timed[points, None]
    _draw(drawn, folder)
    return metrics, losses


def coarse_pay_offs(
    name: str,
    found: Contest,
    timed: Mapping[tuple[int, float | None] | int, float],
    invested: float,
) -> tuple[dict[str, float], tuple[list[Point], list[Point]]]:
    """Metrics of a scenario, and the points of its front and of its hybrids on the test."""

    def plain(which: int) -> list[Point]:
        return [
            Point(
                f"{grid}{', all modes' if keep else ''}",
                errors[which],
                timed[grid.points, keep] / grid.stride,
            )
            for (grid, keep), errors in found.plain.items()
        ]

    def learned(grid: Grid, errors: Sequence[float]) -> list[Point]:
        cost = timed[grid.points] / grid.stride
        return [Point(f"hybrid {i}, {grid}", error, cost) for i, error in enumerate(errors)]

    def gain(grid: Grid) -> tuple[float, float]:
        # Less accurate than all plain solvers: what it pays "at most" recommends nothing.
        validation = found.tried[grid].validation
        gains = [pay_off(point, plain(0)) for point in learned(grid, validation)]
        ratios = [0.0 if each.bound == "at most" else each.ratio for each in gains]
        return float(np.median(ratios)), -float(np.median(validation))

    grid = max(found.tried, key=gain)
    chosen, others = found.tried[grid], plain(1)
    network = chosen.models[0].network
    assert isinstance(network, ProductNet)
    own = learned(grid, chosen.test)
    columns, lines = rows(others, own)
    shown = [line for line in lines if line[3] != "no" and math.isfinite(line[1])]
    table(shown, columns, title=f"{name}, hybrid on {grid}")
    gains = ensemble_pay_off(own, others, invested, float(UP_TO))
    metrics = {f"{name}.{metric}": value for metric, value in gains.items()} | {
        f"{name}_coarse.geometric_mean": float(np.median(chosen.test)),
        f"{name}_coarse.validation": float(np.median(chosen.validation)),
        f"{name}_coarse.solver_alone": found.plain[grid, 1.0][1],
        f"{name}_coarse.points": grid.points,
        f"{name}_coarse.stride": grid.stride,
        f"{name}_coarse.us_a_unit_of_time": 1e6 * own[0].cost,
        f"{name}_coarse.weights": parameter_count(network),
        f"{name}_coarse.invested_seconds": invested,
    }
    return metrics, (others, own)


def _draw(drawn: Mapping[str, tuple[list[Point], list[Point]]], folder: Path) -> None:
    """`front.png`: error against cost on the test trajectories."""
    figure, axes = plotting.figure(1, len(drawn), size=(3.2, 2.8))
    for ax, (name, (plain, own)) in zip(axes[0], drawn.items(), strict=True):
        pairs = [
            [(1e3 * point.cost, point.error) for point in some if math.isfinite(point.error)]
            for some in (plain, front(plain), own)
        ]
        plotting.cost_and_error(ax, *pairs)
        ax.set_title(name)
    plotting.save(figure, folder / "front.png")
