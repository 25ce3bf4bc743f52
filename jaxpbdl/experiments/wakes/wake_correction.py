"""A network in a coarse solver of wakes, beside the plain solvers that cost as much or err as much.

The solver in the loop (Um et al., NeurIPS 2020) on the wakes of `flow.py`: the coarse solver takes
a few steps, a small network on patches changes the velocity, and training unrolls several such
turns against simulations on a grid six times finer. Does it pay? Against its own solver it does,
but a plain solver on a finer grid errs less too. So plain solvers on grids up to four times finer,
with two kinds of interpolation and two schemes, each at its largest accurate dt, make a front of
error against cost, and the pay-off is the cost of the plain solver that errs as much over that of
the hybrid. Validation wakes choose the update of each member; test wakes have Reynolds numbers
between those of the training, and outside them.

The simulations take most of an hour of one core and are kept: with `--data FOLDER` a run reads
them from there, or leaves them there for the next one.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.report import table
from jaxpbdl.experiments.wakes import hybrid as hybrids
from jaxpbdl.experiments.wakes import plain as plains
from jaxpbdl.experiments.wakes.data import Wake, wakes
from jaxpbdl.experiments.wakes.flow import LENGTHS, Fluxes, Setting, vorticity
from jaxpbdl.experiments.wakes.hybrid import Hybrid
from jaxpbdl.experiments.wakes.measures import Shedding, forces, shedding, shedding_errors
from jaxpbdl.experiments.wakes.plain import PLAIN, SPAN, STRIDE, Plain, all_fluxes, windows
from jaxpbdl.learning import Corrected, Evaluation, Forced, break_even_solves, pay_off
from jaxpbdl.learning.front import (
    Method,
    Point,
    costs,
    evaluations,
    front,
    mean_error,
    points,
    rows,
)


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in diameters, times in diameters over the speed of the stream."""

    seed: int = 0
    data: Path | None = None
    """Folder of the simulations, read from it or left there; else in that of the run."""
    train: tuple[Positive, ...] = (60.0, 90.0, 140.0, 200.0, 300.0)
    """Reynolds numbers of the training."""
    validation: tuple[Positive, ...] = (110.0, 170.0)
    test: tuple[Positive, ...] = (75.0, 130.0, 230.0)
    outside: tuple[Positive, ...] = (50.0, 350.0)
    """Of the test outside the range of the training."""
    cells: tuple[Count, Count] = (64, 32)
    """Of the coarse grid."""
    finer: Count = 6
    """How many times finer the grid of the simulations is."""
    window: Positive = 10.0
    """Length of a rollout whose error is measured."""
    windows: Count = 2
    """Windows of a training or validation simulation, one after the other."""
    test_windows: Count = 5
    """Of a test simulation, whose whole length serves the forces."""
    spin_up: Positive = 40.0
    """Time in which a wake develops, on a grid twice as fine as the coarse one."""
    settling: Positive = 4.0
    """Time after that on the grid of the simulation."""
    plain: tuple[Plain, ...] = PLAIN
    """The plain solvers of the front; the first limited one is called coarse."""
    hybrid: Hybrid = Hybrid()
    timing_repeats: Count = 9

    def __post_init__(self):
        super().__post_init__()
        sets = (self.train, self.validation, self.test, self.outside)
        numbers = [number for each in sets for number in each]
        if len(set(numbers)) < len(numbers):
            raise ValueError(
                f"train, validation, test and outside must not share Reynolds numbers, got {sets}"
            )
        inside = all(min(self.train) <= number <= max(self.train) for number in self.test)
        if not inside or any(min(self.train) <= n <= max(self.train) for n in self.outside):
            raise ValueError(
                f"test must lie within {min(self.train):g} .. {max(self.train):g}, the range of "
                f"train, and outside beyond it; got {self.test} and {self.outside}"
            )

    @property
    def setting(self) -> Setting:
        return Setting(self.cells)


class Data(NamedTuple):
    """Wakes for each purpose."""

    train: Wake
    validation: Wake
    test: Wake
    outside: Wake


Model = Corrected | Forced


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; pictures go to `folder`."""
    data = simulated(config, folder)
    key = jax.random.key(config.seed)
    models, histories = hybrids.train(
        config.hybrid, config.setting, data.train, data.validation, key, folder
    )
    print("comparing with the plain solvers", flush=True)
    methods = {split: all_methods(config, models, getattr(data, split)) for split in SPLITS}
    errors = {
        split: {
            name: mean_error(result) for name, result in _evaluated(methods[split], split, data)
        }
        for split in SPLITS
    }
    prices = timed(config, methods["test"])
    invested = sum(float(jnp.sum(wake.seconds)) for wake in (data.train, data.validation))
    invested += sum(history.seconds for history in histories) / len(histories)
    length = config.window * config.test_windows
    metrics, notes = summary(errors, prices, invested, length)
    validated = [float(np.nanmin(history.validation)) for history in histories]
    metrics |= {f"hybrid_{k}.validation": value for k, value in enumerate(validated)}
    best = f"hybrid_{int(np.argmin(validated))}"
    equal = same_cost(errors["test"], prices)
    shown = [name for name in errors["test"] if name.startswith("hybrid")]
    shown += [coarse(config), *({equal} - {coarse(config)})]
    long = {split: _long(config, models, getattr(data, split), shown) for split in SPLITS}
    metrics |= over_long_times(config, data, long, equal)
    _pictures(config, data, errors, prices, long["test"], (coarse(config), equal, best), folder)
    losses = {f"hybrid_{k}": history.loss for k, history in enumerate(histories)}
    return Result(metrics, histories=losses, notes=notes)


SPLITS = ("test", "outside")


def simulated(config: Config, folder: Path) -> Data:
    """The wakes of all sets."""
    where = folder / "wakes" if config.data is None else config.data

    def some(numbers: tuple[float, ...], count: int) -> Wake:
        return wakes(
            where, config.setting, config.finer, numbers, count * config.window, config.window,
            spin_up=config.spin_up, settling=config.settling,
        )  # fmt: skip

    return Data(
        some(config.train, config.windows),
        some(config.validation, config.windows),
        some(config.test, config.test_windows),
        some(config.outside, config.test_windows),
    )


def coarse(config: Config) -> str:
    """The name of the plain solver that the hybrid holds."""
    kind = [row for row in config.plain if row.limited == config.hybrid.limited]
    return min(kind, key=lambda row: (row.finer, row.multistep)).name


def all_methods(
    config: Config, models: list[Model], wake: Wake, whole: bool = False
) -> dict[str, Method]:
    """Plain solvers and members by their names, from the start of every window of the wakes, or of
    the whole wakes."""
    starts = wake.starts[:, :1] if whole else wake.starts
    made = {row.name: plains.method(row, config.setting, wake, starts) for row in config.plain}
    for number, model in enumerate(models):
        made[f"hybrid_{number}"] = hybrids.method(
            model, config.hybrid, config.setting, wake, starts
        )
    return made


def _evaluated(methods: dict[str, Method], split: str, data: Data) -> list[tuple[str, Evaluation]]:
    _, truth, times = windows(getattr(data, split))
    return list(evaluations(methods, truth, times).items())


def timed(config: Config, methods: dict[str, Method]) -> dict[str, float]:
    """Seconds a unit of time of every method. Members do the same work: one is timed."""
    apart = {name: each for name, each in methods.items() if not name.startswith("hybrid")}
    found = costs(apart | {"hybrid": methods["hybrid_0"]}, SPAN, repeats=config.timing_repeats)
    own = found.pop("hybrid")
    return found | {name: own for name in methods if name.startswith("hybrid")}


def parted(errors: dict[str, float], prices: dict[str, float]) -> tuple[list[Point], list[Point]]:
    """The points of the plain solvers and those of the members."""
    found = points(errors, prices)
    learned = [point for point in found if point.name.startswith("hybrid")]
    return [point for point in found if point not in learned], learned


def summary(
    errors: dict[str, dict[str, float]],
    prices: dict[str, float],
    invested: float,
    length: float,
) -> tuple[dict[str, float], dict[str, str]]:
    """Errors, costs and pay-offs, and what to know about them.

    **Arguments:** `errors` of each method by split; `prices`, seconds a unit of time; `invested`,
    seconds of data and of training one member; `length` of a solve for the break-even.
    """
    metrics: dict[str, float] = {}
    notes: dict[str, str] = {}
    for split, end in (("test", ""), ("outside", "_outside")):
        plain, learned = parted(errors[split], prices)
        gains = {point.name: pay_off(point, plain) for point in learned}
        ratios = [gain.ratio for gain in gains.values()]
        metrics[f"pay_off{end}"] = float(np.median(ratios))
        metrics[f"pay_off_min{end}"] = min(ratios)
        metrics[f"hybrid.relative_l2{end}"] = float(np.median([p.error for p in learned]))
        for point in (*plain, *learned):
            metrics[f"{point.name}.relative_l2{end}"] = point.error
        for name, gain in gains.items():
            metrics[f"{name}.pay_off{end}"] = gain.ratio
            if gain.bound:
                notes[f"{name}{end}"] = f"its pay-off is {gain}"
        solves = [break_even_solves(invested, point, plain, length) for point in learned]
        metrics[f"break_even_solves{end}"] = float(np.median(solves))
    metrics |= {f"{name}.ms_per_time": 1e3 * price for name, price in prices.items()}
    metrics["hybrid.ms_per_time"] = metrics["hybrid_0.ms_per_time"]
    metrics["invested_seconds"] = invested
    for title, split in (("inside", "test"), ("outside", "outside")):
        columns, lines = rows(*parted(errors[split], prices))
        table(lines, columns, title=f"Reynolds numbers {title} the range of the training")
    return metrics, notes


def same_cost(errors: dict[str, float], prices: dict[str, float]) -> str:
    """The plain solver of the front that is the cheapest to cost as much as the hybrid."""
    plain, learned = parted(errors, prices)
    dearer = [point for point in front(plain) if point.cost >= learned[0].cost]
    return (dearer[0] if dearer else front(plain)[-1]).name


def _long(
    config: Config, models: list[Model], wake: Wake, names: list[str]
) -> dict[str, Evaluation]:
    """Rollouts over the whole length of the wakes."""
    methods = all_methods(config, models, wake, whole=True)
    truth = all_fluxes(wake.streams[:, ::STRIDE])
    times = SPAN * np.arange(truth.x.shape[1])
    return evaluations({name: methods[name] for name in names}, truth, times)


def over_long_times(
    config: Config, data: Data, long: dict[str, dict[str, Evaluation]], equal: str
) -> dict[str, float]:
    """Errors of rollouts over the whole length of the wakes, and of the forces in them: the median
    of the members, the plain solver of the same cost, and the solver that the hybrid holds."""
    step = config.setting.solver(SPAN / STRIDE)
    metrics: dict[str, float] = {}
    for split, end in (("test", ""), ("outside", "_outside")):
        wake: Wake = getattr(data, split)
        numbers = [float(number) for number in wake.reynolds]

        def measured(through: Fluxes, numbers: list[float] = numbers) -> list[Shedding]:
            runs = [jax.tree.map(lambda u, k=k: u[k], through) for k in range(len(numbers))]
            return [
                shedding(forces(step, one, number), SPAN)
                for one, number in zip(runs, numbers, strict=True)
            ]

        truth = measured(all_fluxes(wake.streams[:, ::STRIDE]))
        found = {
            name: shedding_errors(measured(result.prediction), truth)
            | {"relative_l2_long": mean_error(result)}
            for name, result in long[split].items()
        }
        learned = [each for name, each in found.items() if name.startswith("hybrid")]
        kinds = {"same_cost": found[equal], "coarse": found[coarse(config)]}
        kinds["hybrid"] = {
            name: float(np.median([each[name] for each in learned])) for name in learned[0]
        }
        for name, each in kinds.items():
            metrics |= {f"{name}.{metric}{end}": value for metric, value in each.items()}
    return metrics


def _pictures(
    config: Config,
    data: Data,
    errors: dict[str, dict[str, float]],
    prices: dict[str, float],
    long: dict[str, Evaluation],
    names: tuple[str, str, str],
    folder: Path,
) -> None:
    """`front.png`, and `wakes.png` and `wakes.gif` of the middle test wake."""
    figure, axes = plotting.figure(1, 3, size=(4.4, 3.4))
    for ax, split in zip(axes[0], SPLITS, strict=False):
        plain, learned = parted(errors[split], prices)
        pairs = [
            [(1e3 * point.cost, point.error) for point in some]
            for some in (plain, front(plain), learned)
        ]
        plotting.cost_and_error(ax, *pairs)
        ax.set_title(f"Re {', '.join(f'{number:g}' for number in getattr(config, split))}")
    own, equal, best = names
    labels = {"coarse solver": own, "plain, as dear": equal, "hybrid": best}
    times = long[best].times
    lines = {label: long[name].relative_l2[:, 1:] for label, name in labels.items()}
    plotting.curves(
        axes[0, 2], lines, times[1:], xlabel="time", ylabel="relative L2 error", logarithmic=True
    )
    plotting.save(figure, folder / "front.png")

    which = len(config.test) // 2
    curl = jax.jit(jax.vmap(vorticity))

    def film(through: Fluxes) -> Array:
        return curl(jax.tree.map(lambda u: u[which], through))

    films = {
        f"simulation, Re {config.test[which]:g}": film(all_fluxes(data.test.streams[:, ::STRIDE]))
    }
    films |= {label: film(long[name].prediction) for label, name in labels.items()}
    # Beside the edges of the body vorticity is many times that of the wake.
    limit = 0.3 * float(jnp.max(jnp.abs(next(iter(films.values())))))
    films = {label: np.clip(np.asarray(each), -limit, limit) for label, each in films.items()}
    still = np.linspace(0, len(times) - 1, 4).round().astype(int)
    picture = plotting.compare(
        {label: each[still] for label, each in films.items()}, times[still].tolist(), LENGTHS,
        label="vorticity",
    )  # fmt: skip
    plotting.save(picture, folder / "wakes.png")
    plotting.animate(films, folder / "wakes.gif", LENGTHS, times=times.tolist(), seconds=8.0)


QUICK_PLAIN = tuple(row for row in PLAIN if row.finer <= 3 and not (row.limited and row.finer > 1))

EXPERIMENT = Experiment(
    name="wake-correction",
    summary="a network in a coarse solver of wakes against plain solvers: error over cost",
    presets={
        "quick": Config(plain=QUICK_PLAIN),
        "full": Config(
            hybrid=Hybrid(unroll=5, training=replace(Hybrid().training, updates=6000, batch=8))
        ),
    },
    run=run,
)
