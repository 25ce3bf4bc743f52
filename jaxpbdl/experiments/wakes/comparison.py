"""Plain solvers and hybrids of the wakes side by side: methods, numbers, pictures."""

from collections.abc import Container
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.report import table
from jaxpbdl.experiments.wakes import hybrid as hybrids
from jaxpbdl.experiments.wakes import plain as plains
from jaxpbdl.experiments.wakes.data import Wake
from jaxpbdl.experiments.wakes.flow import LENGTHS, Fluxes, vorticity
from jaxpbdl.experiments.wakes.measures import Shedding, forces, shedding, shedding_errors
from jaxpbdl.experiments.wakes.plain import SPAN, STRIDE, all_fluxes, windows
from jaxpbdl.experiments.wakes.setting import Config, Data
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

Model = Corrected | Forced
SPLITS = ("test", "outside")


def coarse(config: Config) -> str:
    """The name of the plain solver that the hybrid holds."""
    kind = [row for row in config.plain if row.limited == config.hybrid.limited]
    return min(kind, key=lambda row: (row.finer, row.multistep)).name


def all_methods(
    config: Config,
    models: list[Model],
    wake: Wake,
    names: Container[str] | None = None,
) -> dict[str, Method]:
    """Plain solvers and members by their names, from the start of every window of the wakes; those
    of some `names` from the starts of the wakes alone."""
    starts = wake.starts if names is None else wake.starts[:, :1]
    made: dict[str, Method] = {}
    for row in config.plain:
        if names is None or row.name in names:
            made[row.name] = plains.method(row, config.setting, wake, starts)
    for number, model in enumerate(models):
        made[f"hybrid_{number}"] = hybrids.method(
            model, config.hybrid, config.setting, wake, starts
        )
    return made


def window_errors(methods: dict[str, Method], wake: Wake) -> dict[str, float]:
    """The mean error of rollouts over the windows of the wakes."""
    _, truth, times = windows(wake)
    found = evaluations(methods, truth, times)
    return {name: mean_error(result) for name, result in found.items()}


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
    seconds of data and training; `length` of a solve for the break-even.
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
                where = f"{split if end else 'inside'}: pay-off {gain}"
                notes[name] = "; ".join(filter(None, [notes.get(name), where]))
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


def over_whole_wakes(
    config: Config, models: list[Model], wake: Wake, names: list[str]
) -> dict[str, Evaluation]:
    """Rollouts over the whole length of the wakes."""
    methods = all_methods(config, models, wake, names)
    truth = all_fluxes(wake.streams[:, ::STRIDE])
    times = SPAN * np.arange(truth.x.shape[1])
    return evaluations(methods, truth, times)


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


def pictures(
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
