"""An ensemble of corrected solvers of wakes that knows how wrong it is.

The flow past a cylinder, its solver on few cells and the network that corrects it are those of
`wake-correction`, whose hybrid here changes the state after a few steps of the solver; the truth is
the solver on a finer grid. Each wake has a Reynolds number of its own: equally spaced in their
logarithm over one range, they are dealt out at random to training, calibration and test, so that
no two parts share one. How the ensembles are trained and judged stands in `forecasts.py`.

A state is a staggered velocity and its viscosity. What is trained on and judged is the velocity in
the faces of the coarse grid, both components in units of the inflow: errors are root mean squares
over all faces but those where the flow is given, at the inlet and on the lower side. Faces within
the body count, with no error.

Flows of another kind are those at lower and at higher Reynolds numbers, and those past another
body, in whose solver the same networks are put.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.experiments.configuration import Count, Positive
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.uncertainty.forecasts import Ensembles, Flows, judged
from jaxpbdl.experiments.wakes.data import INTERVAL, states, wakes
from jaxpbdl.experiments.wakes.flow import Body, Setting, flow_of
from jaxpbdl.experiments.wakes.hybrid import Hybrid, build, mirrored, moved, solver_of, velocity
from jaxpbdl.experiments.wakes.plain import SPAN, STRIDE
from jaxpbdl.learning import Corrected, Varied
from jaxpbdl.step import Step

STEPS = 20
"""Steps of the hybrid in a forecast, more than a period of shedding."""
WINDOW = 10.0
"""Time from the start of one forecast of a wake to that of the next."""


@dataclass(frozen=True)
class Config(Ensembles):
    """Settings of the wakes, the networks and their training; lengths in diameters, times in
    diameters over the speed of the stream."""

    data: Path | None = None
    """Folder of the simulations, read from it or left there; else in that of the run."""
    width: Count = 24
    depth: Count = 3
    updates: Count = 600
    batch: Count = 8
    short: Count = 2
    long: Count = 6
    cells: tuple[Count, Count] = (32, 16)
    """Of the coarse grid."""
    finer: Count = 4
    """How many times finer the grid of the simulations is."""
    substeps: Count = 2
    """Of the solver in one step of the hybrid."""
    inside: tuple[Positive, Positive] = (80.0, 200.0)
    """Reynolds numbers of training, calibration and test."""
    below: tuple[Positive, Positive] = (45.0, 60.0)
    above: tuple[Positive, Positive] = (280.0, 360.0)
    body: Body = "square"
    """The other one, at Reynolds numbers of the training's range."""
    train: Count = 16
    """Wakes."""
    calibration: Count = 120
    test: Count = 120
    strange: Count = 30
    """Of each other kind."""
    forecasts: Count = 2
    """From each wake."""
    spin_up: Positive = 40.0
    """Time in which a wake develops, before some more on the grid of the simulation."""

    def __post_init__(self):
        super().__post_init__()
        ends = (*self.below, *self.inside, *self.above)
        if list(ends) != sorted(set(ends)):
            raise ValueError(
                "below, inside and above must be ranges that rise and do not meet, got "
                f"{self.below}, {self.inside}, {self.above}"
            )
        if self.body == "cylinder":
            raise ValueError("body must be another than the cylinder of the training")

    @property
    def calibrated(self) -> int:
        return self.calibration * self.forecasts

    @property
    def hybrid(self) -> Hybrid:
        # With the limiter: on so few cells central differences blow up about other bodies.
        return Hybrid(
            limited=True, steps=self.substeps, form="correction", width=self.width, depth=self.depth
        )


class Numbers(NamedTuple):
    """Reynolds numbers of the wakes of each part."""

    train: Sequence[float]
    calibration: Sequence[float]
    test: Sequence[float]
    below: Sequence[float]
    above: Sequence[float]
    body: Sequence[float]


def dealt(config: Config) -> Numbers:
    """Those within the range of the training dealt out at random, so that calibration and test may
    change places."""
    sizes = (config.train, config.calibration, config.test)
    inside = np.random.default_rng(6000).permutation(_spaced(config.inside, sum(sizes)))
    ends = np.cumsum(sizes)
    parts = (inside[: ends[0]], inside[ends[0] : ends[1]], inside[ends[1] :])
    others = (_spaced(each, config.strange) for each in (config.below, config.above, config.inside))
    return Numbers(*([float(n) for n in part] for part in (*parts, *others)))


def _spaced(ends: tuple[float, float], count: int) -> np.ndarray:
    """Equally in the logarithm."""
    return np.round(np.geomspace(*ends, count), 3)


def cut(
    streams: Float[Array, "runs snapshots ..."], count: int
) -> Float[Array, "forecasts times ..."]:
    """`count` forecasts of each run, one behind the other: for each forecast all runs."""
    reach, apart = STEPS * STRIDE + 1, round(WINDOW / INTERVAL)
    starts = [streams[:, apart * k : apart * k + reach : STRIDE] for k in range(count)]
    return jnp.concatenate(starts)


def in_faces(state: Varied) -> Float[Array, "2 nx ny"]:
    """The velocity in the right and the upper face of each cell, all faces whose flow is not
    given."""
    along, across = velocity(state)
    return jnp.stack([along[1:], across[:, 1:]])


def flows(config: Config, folder: Path) -> Flows:
    """The flows of all parts, their simulations read from `folder` or left there."""
    cylinder = Setting(config.cells)
    other = replace(cylinder, body=config.body)
    numbers = dealt(config)

    def some(setting: Setting, reynolds: Sequence[float], whole: bool = False) -> Varied:
        wake = wakes(
            folder, setting, config.finer, reynolds, config.forecasts * WINDOW, WINDOW,
            spin_up=config.spin_up,
        )  # fmt: skip
        step = flow_of(solver_of(config.hybrid, setting))
        if whole:
            return states(step, wake, wake.streams[:, ::STRIDE])
        again = wake._replace(reynolds=jnp.tile(wake.reynolds, config.forecasts))
        return states(step, again, cut(wake.streams, config.forecasts))

    train = some(cylinder, numbers.train, whole=True)
    return Flows(
        jax.tree.map(lambda *both: jnp.concatenate(both), train, mirrored(train)),
        some(cylinder, numbers.calibration),
        some(cylinder, numbers.test),
        {
            "lower_reynolds": some(cylinder, numbers.below),
            "higher_reynolds": some(cylinder, numbers.above),
            "other_body": some(other, numbers.body),
        },
    )


def run(config: Config, folder: Path) -> Result:
    """Train the ensembles and judge them; a picture goes to `folder`."""
    where = folder / "wakes" if config.data is None else config.data
    known = flows(config, where)
    cylinder = Setting(config.cells)
    solver, there = (
        solver_of(config.hybrid, setting)
        for setting in (cylinder, replace(cylinder, body=config.body))
    )

    def hybrid(key: PRNGKeyArray, more: int) -> Step:
        return build(config.hybrid, solver, key, more)

    def past_the_body(step: Step) -> Step:
        assert isinstance(step, Corrected)
        return moved(step, config.hybrid, there)

    return judged(
        config, hybrid, known, SPAN, folder, measure=in_faces, moved={"other_body": past_the_body}
    )


EXPERIMENT = Experiment(
    name="ensemble-wake",
    summary="corrected solvers of wakes whose spread is trained to equal their error, with bands",
    presets={
        "quick": Config(),
        "full": Config(
            members=8,
            depth=4,
            updates=3000,
            cells=(64, 32),
            train=32,
            calibration=300,
            test=300,
            strange=60,
        ),  # fmt: skip
    },
    run=run,
)
