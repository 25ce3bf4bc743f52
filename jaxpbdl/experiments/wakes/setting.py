"""The settings of `wake-correction`, and its simulations."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.wakes.data import Wake, wakes
from jaxpbdl.experiments.wakes.flow import Setting
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
    central_grids: tuple[Positive, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
    """How many times finer than the coarse one the grids of the plain solvers are, of those with
    central differences; each with two schemes, at its largest accurate dt (see `PLAIN`)."""
    limited_grids: tuple[Positive, ...] = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
    """Of those with the limiter."""
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

        if 1.0 not in (self.limited_grids if self.hybrid.limited else self.central_grids):
            raise ValueError(
                "limited_grids (of a hybrid without a limiter central_grids) must have 1, the grid "
                "of the solver that the hybrid holds"
            )
        chosen(self.central_grids, self.limited_grids)

    @property
    def plain(self) -> tuple[Plain, ...]:
        """The plain solvers of the front."""
        return chosen(self.central_grids, self.limited_grids)

    @property
    def setting(self) -> Setting:
        return Setting(self.cells)


class Data(NamedTuple):
    """Wakes for each purpose."""

    train: Wake
    validation: Wake
    test: Wake
    outside: Wake


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
