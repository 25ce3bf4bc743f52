"""Plain solvers and hybrids of the wakes side by side: methods, numbers, pictures."""

from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.report import table
from jaxpbdl.experiments.wakes import hybrid as hybrids
from jaxpbdl.experiments.wakes import plain as plains
from jaxpbdl.experiments.wakes.flow import LENGTHS, Fluxes, vorticity
from jaxpbdl.experiments.wakes.measures import Shedding, forces, shedding, shedding_errors
from jaxpbdl.experiments.wakes.plain import SPAN, STRIDE, all_fluxes, windows
from jaxpbdl.experiments.wakes.setting import Config, Test
from jaxpbdl.learning import Corrected, Evaluation, Forced, pay_off
from jaxpbdl.learning.front import (
    Method,
    Point,
    costs,
    ensemble_pay_off,
    evaluations,
    front,
    mean_error,
    points,
    rows,
)

Model: TypeAlias = Corrected | Forced


def coarse(config: Config) -> str:
    """The name of the plain solver that the hybrid holds."""
    kind = [row for row in config.plain if row.limited == config.hybrid.limited]
    return min(kind, key=lambda row: (row.finer, row.multistep)).name


def suffix(test: str) -> str:
    """Of the metrics of a test."""
    return "" if test == "inside" else f"_{test}"


def all_methods(
    config: Config,
    models: list[Model],
    test: Test,
    names: Container[str] | None = None,
) -> dict[str, Method]:
    """Plain solvers and members by their names, from the start of every window of the wakes; those
    of some `names` from the starts of the wakes alone."""
    setting, wake = test.setting, test.wake
    starts = wake.starts if names is None else wake.starts[:, :1]
    found: dict[str, Method] = {}
    for row in config.plain:
        if names is None or row.name in names:
            found[row.name] = plains.method(row, setting, wake, starts)
    learned = hybrids.methods(models, config.hybrid, setting, wake, starts)
    return found | {f"hybrid_{number}": method for number, method in enumerate(learned)}


def window_errors(
    config: Config, methods: dict[str, Method], test: Test
) -> dict[str, dict[str, float]]:
    """The mean error of rollouts over the windows of the wakes: of each part, by method."""
    print(f"comparing {len(config.plain)} plain solvers: {', '.join(test.parts)}", flush=True)
    starts, truth, times = windows(test.wake, test.setting, config.horizon)
    found = evaluations(methods, truth, times)
    runs = {
        name: result.relative_l2.reshape(*starts.shape[:2], -1) for name, result in found.items()
    }
    return {
        part: {name: float(np.mean(each[which][..., 1:])) for name, each in runs.items()}
        for part, which in test.parts.items()
    }


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
    for part, found in errors.items():
        end = suffix(part)
        plain, learned = parted(found, prices)
        gains = ensemble_pay_off(learned, plain, invested, length)
        metrics |= {f"{name}{end}": gain for name, gain in gains.items()}
        metrics[f"hybrid.relative_l2{end}"] = float(np.median([p.error for p in learned]))
        metrics |= {f"{point.name}.relative_l2{end}": point.error for point in plain}
        for point in plain:
            best = f"{grid_of(point.name)}.relative_l2{end}"
            metrics[best] = min(metrics.get(best, point.error), point.error)
        for point in learned if part == "inside" else ():
            gain = pay_off(point, plain)
            metrics[f"{point.name}.relative_l2"] = point.error
            metrics[f"{point.name}.pay_off"] = gain.ratio
            if gain.bound:
                notes[point.name] = f"pay-off {gain}"
        columns, lines = rows(plain, learned)
        table(lines, columns, title=part)
    metrics |= {f"{name}.ms_per_time": 1e3 * price for name, price in prices.items()}
    metrics["hybrid.ms_per_time"] = metrics["hybrid_0.ms_per_time"]
    metrics["invested_seconds"] = invested
    return metrics, notes


def grid_of(name: str) -> str:
    """The first part of the name of a plain solver, such as `front_2x`."""
    return name.rsplit("_", 2)[0]


def same_cost(config: Config, errors: dict[str, float], prices: dict[str, float]) -> str:
    """The cheapest plain solver of the front that costs as much as the hybrid or more. Of grids
    whose corners include those of the coarse one: forces follow from the flow there."""
    plain, learned = parted(errors, prices)
    whole = {row.name for row in config.plain if float(row.finer).is_integer()}
    line = front([point for point in plain if point.name in whole])
    dearer = [point for point in line if point.cost >= learned[0].cost]
    return (dearer[0] if dearer else line[-1]).name


def over_whole_wakes(
    config: Config, models: list[Model], test: Test, names: list[str]
) -> dict[str, Evaluation]:
    """Rollouts over the whole length of the wakes, as fluxes on the coarse grid."""
    methods = {
        name: replace(method, observe=replace(method.observe, cells=config.cells))  # type: ignore[type-var]
        for name, method in all_methods(config, models, test, names).items()
    }
    truth = all_fluxes(test.wake.streams[:, ::STRIDE], config.cells)
    times = SPAN * np.arange(truth.x.shape[1])
    return evaluations(methods, truth, times)


def over_long_times(
    config: Config, test: Test, long: dict[str, Evaluation], equal: str
) -> dict[str, float]:
    """Errors of rollouts over the whole length of the wakes, and of the forces in them: the median
    of the members, the plain solver of the same cost, and the solver that the hybrid holds."""
    step = test.setting.solver(SPAN / STRIDE)
    numbers = [float(number) for number in test.wake.reynolds]

    def measured(through: Fluxes) -> list[Shedding]:
        runs = [jax.tree.map(lambda u, k=k: u[k], through) for k in range(len(numbers))]
        return [
            shedding(forces(step, one, number), SPAN)
            for one, number in zip(runs, numbers, strict=True)
        ]

    truth = measured(all_fluxes(test.wake.streams[:, ::STRIDE], config.cells))
    shed = {name: measured(result.prediction) for name, result in long.items()}
    metrics: dict[str, float] = {}
    for part, which in test.parts.items():
        found = {
            name: shedding_errors(shed[name][which], truth[which])
            | {"relative_l2_long": mean_error(result, which)}
            for name, result in long.items()
        }
        learned = [each for name, each in found.items() if name.startswith("hybrid")]
        kinds = {"same_cost": found[equal], "coarse": found[coarse(config)]}
        kinds["hybrid"] = {
            name: float(np.median([each[name] for each in learned])) for name in learned[0]
        }
        for name, each in kinds.items():
            metrics |= {f"{name}.{metric}{suffix(part)}": value for metric, value in each.items()}
    for metric in ("strouhal_error", "mean_drag_error", "lift_error"):
        metrics[metric] = metrics[f"hybrid.{metric}"]
    return metrics


def pictures(
    config: Config,
    test: Test,
    errors: dict[str, dict[str, float]],
    prices: dict[str, float],
    long: dict[str, Evaluation],
    names: tuple[str, str, str],
    folder: Path,
) -> None:
    """`front.png`, and `wakes.png` and `wakes.gif` of the middle test wake."""
    figure, axes = plotting.figure(1, 3, size=(4.4, 3.4))
    for ax, (part, which) in zip(axes[0], test.parts.items(), strict=False):
        plain, learned = parted(errors[part], prices)
        pairs = [
            [(1e3 * point.cost, point.error) for point in some]
            for some in (plain, front(plain), learned)
        ]
        plotting.cost_and_error(ax, *pairs)
        ax.set_title(f"Re {', '.join(f'{float(re):g}' for re in test.wake.reynolds[which])}")
    own, equal, best = names
    ratio = prices[equal] / prices[best]
    labels = {"coarse solver": own, f"plain, {ratio:.1f} times the cost": equal, "hybrid": best}
    times = long[best].times
    lines = {label: long[name].relative_l2[:, 1:] for label, name in labels.items()}
    plotting.curves(
        axes[0, 2], lines, times[1:], xlabel="time", ylabel="relative L2 error", logarithmic=True
    )
    plotting.save(figure, folder / "front.png")

    middle = len(config.test) // 2
    curl = jax.jit(jax.vmap(vorticity))

    def film(through: Fluxes) -> Array:
        return curl(jax.tree.map(lambda u: u[middle], through))

    streams = test.wake.streams[:, ::STRIDE]
    truth = film(all_fluxes(streams, config.cells))
    films = {f"simulation, Re {config.test[middle]:g}": truth}
    films |= {label: film(long[name].prediction) for label, name in labels.items()}
    # Beside the edges of the body vorticity is many times that of the wake.
    limit = 0.3 * float(jnp.max(jnp.abs(next(iter(films.values())))))
    films = {label: jnp.clip(each, -limit, limit) for label, each in films.items()}
    still = np.linspace(0, len(times) - 1, 4).round().astype(int)
    picture = plotting.compare(
        {label: np.asarray(each)[still] for label, each in films.items()},
        times[still].tolist(), LENGTHS, label="vorticity",
    )  # fmt: skip
    plotting.save(picture, folder / "wakes.png")
    plotting.animate(films, folder / "wakes.gif", LENGTHS, times=times.tolist(), seconds=8.0)
