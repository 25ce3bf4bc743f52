"""A search by cuts, optimised by gradients through soft selections, against the best there are.

Cuts: events of two and of six observables are kept above one cut each (`counting`); the expected
significance of what is kept (`significance`) is raised by gradients at a falling temperature.
Beside it stand all cuts of a grid, the cuts of a grid one at a time, and the exact optimum. Kept
events: of a stream a fixed number of events is kept, those of highest score, and the score is
learned by gradients through a soft choice of these (`kept_events`), beside logistic regression and
the exact optimum. (A cut on sorted observables needs no soft sort: these are fixed numbers.)

Each method sees training events; what it has to choose besides (when to stop, how fine a grid) is
chosen by validation events; neither sees the test events. `significance` and `signal_kept` are the
exact expectations with what a method found, `hard_...` those by counting test events. `seconds` are
those of the processor, the median over the repeats, of which the first alone compiles.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.jets import counting, kept_events
from jaxpbdl.experiments.jets.counting import Cuts, Events, Search
from jaxpbdl.experiments.jets.kept_events import Stream


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the searches and of the ways to look for cuts."""

    seed: int = 0
    repeats: Annotated[int, at_least(2)] = 3
    """Independent events and fits; figures are their means, `..._spread` standard deviations."""
    few: Count = 2
    """Observables of the first search."""
    many: Count = 6
    """Observables of the second search, and of the stream."""
    events: Count = 20_000
    """Of signal and of background each, in each of training, validation and test; half as many in
    the stream, of which they are 1 and 19 parts in 20."""
    signal: Positive = 200.0
    """Expected before the cuts."""
    background: Positive = 10_000.0
    uncertainty: NonNegative = 0.1
    """Standard deviation of the background's size, relative to it."""
    updates: Annotated[int, at_least(20)] = 200
    learning_rate: Positive = 0.05
    hottest: Positive = 0.5
    """Temperature of the first update, in widths of the signal; twice that for the stream."""
    coldest: Positive = 0.2
    """Temperature of the last update, and of the counts by which cuts are chosen in the
    validation."""
    cells: tuple[Annotated[int, at_least(2)], ...] = (10, 20, 40)
    """Cuts an observable in the grids of the first search."""
    largest_grid: Count = 10**6
    """Combinations of cuts in the grid of the second search."""
    kept: Positive = 0.02
    """Share of the stream that is kept."""

    def search(self, observables: int) -> Search:
        means, rates = np.linspace(2.5, 1.5, observables), np.linspace(1.0, 0.5, observables)
        return Search(means, rates, self.signal, self.background, self.uncertainty)

    @property
    def stream(self) -> Stream:
        mean, widths = np.linspace(1.6, 0.4, self.many), np.linspace(2.0, 0.7, self.many)
        return Stream(mean, widths, signal=0.05, kept=self.kept)


Figures = dict[str, list[float]]
"""Of each repeat, by `method.metric`."""


def timed(figures: Figures, method: str, look: Callable[[], np.ndarray]) -> np.ndarray:
    """What was found; the time goes to the figures."""
    begin = time.process_time()
    found = look()
    figures.setdefault(f"{method}.seconds", []).append(time.process_time() - begin)
    return found


def cuts_of_all(
    config: Config, observables: int, tag: str, random: np.random.Generator
) -> tuple[Figures, Events, dict[str, Cuts]]:
    """Figures of all methods, their names ending in `tag`; training events and cuts of the last
    repeat."""
    search, figures = config.search(observables), Figures()
    exact, events, found = search.optimum(), None, {}
    temperatures = np.geomspace(config.hottest, config.coldest, config.updates)
    grid = cells_of(config, observables)
    for _ in range(config.repeats):
        events, validation, test = (counting.draw(search, config.events, random) for _ in range(3))
        start = np.quantile(events.signal, 0.1, axis=0).astype(float)
        looks: Mapping[str, Callable[[], list[Cuts]]] = {
            "gradient": partial(
                counting.by_gradient, search, events, start, temperatures, config.learning_rate
            ),
            "grid": partial(_each, partial(counting.by_grid, search, events), grid),
            "one_at_a_time": partial(
                _each, partial(counting.one_at_a_time, search, events, start), config.cells
            ),
        }
        found = {
            name: timed(
                figures,
                name + tag,
                partial(_chosen, search, validation, look, config.coldest),
            )
            for name, look in looks.items()
        }
        found["exact"] = exact
        for name, cuts in found.items():
            values = {
                "significance": search.expected(cuts),
                "hard_significance": counting.counted(search, test, cuts),
                "training_significance": counting.counted(search, events, cuts),
                "cut_error": float(np.sqrt(np.mean((cuts - exact) ** 2))),
            }
            for metric, value in values.items():
                figures.setdefault(f"{name}{tag}.{metric}", []).append(value)
    assert events is not None
    return figures, events, found


def _each(look: Callable[[int], Cuts], cells: tuple[int, ...]) -> list[Cuts]:
    return [look(number) for number in cells]


def _chosen(
    search: Search, validation: Events, look: Callable[[], list[Cuts]], temperature: float
) -> Cuts:
    return counting.best_of(search, validation, look(), temperature)


def cells_of(config: Config, observables: int) -> tuple[int, ...]:
    """Cuts an observable of the grids that are small enough; else of the largest that is."""
    fitting = tuple(c for c in config.cells if c**observables <= config.largest_grid)
    return fitting or (max(2, int(config.largest_grid ** (1 / observables) + 1e-9)),)


def kept_of_all(config: Config, random: np.random.Generator) -> Figures:
    """Figures of the stream."""
    stream, figures = config.stream, Figures()
    exact = stream.optimum()
    temperatures = np.geomspace(2 * config.hottest, config.coldest, config.updates)
    for _ in range(config.repeats):
        sets = [kept_events.draw(stream, config.events // 2, random) for _ in range(3)]
        training, validation, test = sets
        looks: Mapping[str, Callable[[], np.ndarray]] = {
            "kept_gradient": partial(
                kept_events.by_gradient, stream, training, validation, temperatures,
                config.learning_rate,
            ),
            "kept_classifier": partial(kept_events.by_classifier, training),
            "kept_start": partial(kept_events.start, training),
        }  # fmt: skip
        found = {name: timed(figures, name, look) for name, look in looks.items()}
        for name, direction in (found | {"kept_exact": exact}).items():
            values = {
                "signal_kept": stream.signal_kept(direction),
                "hard_signal_kept": kept_events.counted(stream, test, direction),
                "angle": float(np.degrees(np.arccos(np.clip(direction @ exact, -1, 1)))),
            }
            for metric, value in values.items():
                figures.setdefault(f"{name}.{metric}", []).append(value)
    return figures


def summary(figures: Figures) -> dict[str, float]:
    """Means over the repeats and the deviations of what was found; medians of the seconds."""
    metrics = {}
    for name, values in figures.items():
        seconds = name.endswith(".seconds")
        metrics[name] = float(np.median(values) if seconds else np.mean(values))
        if name.endswith((".significance", ".signal_kept")) and "exact" not in name:
            metrics[f"{name}_spread"] = float(np.std(values, ddof=1))
    return metrics


def run(config: Config, folder: Path) -> Result:
    """Look for the cuts and for the scores; a picture goes to `folder`."""
    random = np.random.default_rng(config.seed)
    with jax.enable_x64(True):
        many = f"_{config.many}"
        figures, few_events, few_cuts = cuts_of_all(config, config.few, "", random)
        more, many_events, many_cuts = cuts_of_all(config, config.many, many, random)
        kept = kept_of_all(config, random)
        metrics = summary(figures | more | kept)
        finest, coarse = max(config.cells), cells_of(config, config.many)[-1]
        growth = (finest / coarse) ** config.many
        metrics[f"grid{many}.seconds_at_finest"] = growth * metrics[f"grid{many}.seconds"]
        shown = [
            (config.search(config.few), few_events, few_cuts),
            (config.search(config.many), many_events, many_cuts),
        ]
        _picture(config, shown, folder)
    notes = {
        f"grid{many}": f"{coarse} cuts an observable; at_finest: {finest}, extrapolated",
        "one_at_a_time": "each cut on a grid while the others are held",
        "kept_classifier": "logistic regression, which aims at all events",
        "kept_start": "difference of the means, where the gradient starts",
    }
    return Result(metrics, notes=notes)


def _picture(
    config: Config, searches: list[tuple[Search, Events, dict[str, np.ndarray]]], folder: Path
) -> None:
    """`cuts.png`: the significance over the first cut, the others at their best places: exact, and
    of the training events, counted and softly counted; with the cuts that were found."""
    figure, axes = plotting.figure(1, len(searches), size=(3.6, 2.8))
    softly = jax.jit(
        lambda search, events, cuts, temperature: jax.lax.map(
            lambda one: counting.softly_counted(search, events, one, temperature), cuts
        )
    )
    for ax, (search, events, found) in zip(axes[0], searches, strict=True):
        exact = found["exact"]
        line = np.linspace(max(0.0, exact[0] - 1.5), exact[0] + 1.5, 121)
        cuts = np.tile(exact, (len(line), 1))
        cuts[:, 0] = line
        lines = {
            "counted": [counting.counted(search, events, each) for each in cuts],
            f"soft, T = {config.hottest:g}": softly(search, events, cuts, config.hottest),
            f"soft, T = {config.coldest:g}": softly(search, events, cuts, config.coldest),
            "exact": [search.expected(each) for each in cuts],
        }
        plotting.curves(ax, lines, line, xlabel="first cut", ylabel="expected significance")
        height = ax.get_ylim()[0]
        for (name, cut), marker in zip(found.items(), "o^s*", strict=True):
            ax.plot(cut[0], height, marker, color="#111827", clip_on=False, label=f"cut: {name}")
        ax.set_title(f"{len(exact)} observables")
    axes[0, 0].get_legend().remove()
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    plotting.save(figure, folder / "cuts.png")


EXPERIMENT = Experiment(
    name="cut-and-count",
    summary="cuts of a search and kept events, optimised by gradients through soft selections",
    presets={
        "quick": Config(),
        "full": Config(repeats=5, events=100_000, updates=400, largest_grid=10**7),
    },
    run=run,
)
