"""The settings of `wake-correction`, and its simulations."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.wakes.data import Wake, wakes
from jaxpbdl.experiments.wakes.flow import Body, Setting
from jaxpbdl.experiments.wakes.hybrid import Hybrid
from jaxpbdl.experiments.wakes.plain import Plain, chosen


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
    bodies: tuple[Body, ...] = ("wide", "pair", "square")
    """Tested at the Reynolds numbers `bodies_at`; all training is on the cylinder."""
    bodies_at: tuple[Positive, ...] = (130.0,)
    cells: tuple[Count, Count] = (64, 32)
    """Of the coarse grid."""
    finer: Count = 6
    """How many times finer the grid of the simulations is."""
    finest: Count | None = 8
    """Of those of the test `finest`, one window of each Reynolds number of `test`; None: no such
    test."""
    window: Positive = 10.0
    """Time from one rollout whose error is measured to the next."""
    horizon: Positive = 8.0
    """Length of such a rollout."""
    windows: Count = 2
    """Windows of a training or validation simulation, one after the other."""
    test_windows: Count = 5
    """Of a test simulation about the cylinder, whose whole length serves the forces."""
    body_windows: Count = 2
    """Of one about another body."""
    spin_up: Positive = 40.0
    """Time in which a wake develops, on a grid twice as fine as the coarse one."""
    settling: Positive = 4.0
    """Time after that on the grid of the simulation."""
    central_grids: tuple[Positive, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
    """How many times finer than the coarse one the grids of the plain solvers are, of those with
    central differences; each with two schemes, at its largest accurate dt (see `PLAIN`)."""
    limited_grids: tuple[Positive, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
    """Of those with the limiter."""
    multistep: bool = True
    """Whether those with Adams-Bashforth take part."""
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

        if self.horizon > self.window:
            raise ValueError(f"horizon must be at most window = {self.window}, got {self.horizon}")
        if 1.0 not in (self.limited_grids if self.hybrid.limited else self.central_grids):
            raise ValueError(
                "limited_grids (of a hybrid without a limiter central_grids) must have 1, the grid "
                "of the solver that the hybrid holds"
            )
        chosen(self.central_grids, self.limited_grids)

    @property
    def plain(self) -> tuple[Plain, ...]:
        """The plain solvers of the front."""
        rows = chosen(self.central_grids, self.limited_grids)
        return tuple(row for row in rows if self.multistep or not row.multistep)

    @property
    def setting(self) -> Setting:
        return Setting(self.cells)


class Test(NamedTuple):
    """Wakes about one body that every method is compared on; `parts`: the runs of each test by its
    name."""

    setting: Setting
    wake: Wake
    parts: dict[str, slice]


class Data(NamedTuple):
    """Wakes for each purpose. The first test is that of the cylinder, `inside` and `outside` the
    range of the training; `finest` is on a finer grid than that; those of other bodies have their
    names."""

    train: Wake
    validation: Wake
    tests: list[Test]


def simulated(config: Config, folder: Path) -> Data:
    """The wakes of all sets."""
    where = folder / "wakes" if config.data is None else config.data

    def some(
        setting: Setting, numbers: tuple[float, ...], count: int, finer: int = config.finer
    ) -> Wake:
        return wakes(
            where, setting, finer, numbers, count * config.window, config.window,
            spin_up=config.spin_up, settling=config.settling,
        )  # fmt: skip

    cylinder, inside = config.setting, len(config.test)
    numbers = config.test + config.outside
    parts = {"inside": slice(inside), "outside": slice(inside, None)}
    tests = [Test(cylinder, some(cylinder, numbers, config.test_windows), parts)]
    if config.finest is not None:
        wake = some(cylinder, config.test, 1, config.finest)
        tests.append(Test(cylinder, wake, {"finest": slice(None)}))
    for body in config.bodies:
        other = replace(cylinder, body=body)
        wake = some(other, config.bodies_at, config.body_windows)
        tests.append(Test(other, wake, {body: slice(None)}))
    return Data(
        some(cylinder, config.train, config.windows),
        some(cylinder, config.validation, config.windows),
        tests,
    )
