"""The turbulence of `turbulence-correction` and `learned-interpolation`: grids, times, sizes."""

from dataclasses import dataclass
from pathlib import Path

from jaxpbdl.equations import NavierStokes2D, kolmogorov
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Positive, Validated
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.solvers.spectral import SpectralStep, semilinear


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths are in a box of side 2 pi, times in its natural units."""

    seed: int = 0
    data: Path | None = None
    """Trajectories to learn from instead of simulating them (PDEBench or The Well HDF5, npz)."""
    viscosity: Positive = 3e-3
    drag: float = 0.1
    wavenumber: int = 4
    """Of the force, sin(wavenumber y) along x."""
    coarse: int = 32
    """Points per side of the solver that is corrected."""
    fine: int = 128
    """Points per side of the simulations that training data are filtered from."""
    reference: int = 192
    """Points per side of the simulations that everything is tested against."""
    marks: tuple[float, ...] = (1.25, 1.5, 2.0, 4.0)
    """Finer grids, in multiples of the coarse one, whose plain solvers are the marks that a learned
    solver is measured by: each with `keep` and `mark_steps`, its best setting."""
    mark_steps: tuple[int, ...] = (3, 4, 5, 8, 20)
    """Steps in an interval of the plain solver on the coarse grid and on each mark: the fewest that
    stay finite and are as accurate as more."""
    dt: Positive = 0.05
    """Step of the coarse solver; finer grids take proportionally smaller ones."""
    substeps: Count = 4
    """Solver steps between corrections."""
    keep: float = 0.9
    """Share of the wavenumbers that the corrected solver and the marks keep. Beyond 2/3 they alias,
    but what they resolve more weighs more here: all of them follow the reference for longer.
    """
    warm_up: float = 20.0
    train_trajectories: Count = 12
    train_time: Positive = 25.0
    test_trajectories: Count = 8
    test_time: Positive = 10.0
    members: Count = 4
    emulators: Count = 2
    width: Count = 24
    depth: Count = 5
    unroll: Count = 4
    pretraining: NonNegativeInt = 200
    """Updates on single steps before those on unrolled ones."""
    training: Training = Training(
        updates=300, batch=8, learning_rate=3e-3, warmup_fraction=0.0, final_fraction=0.02,
        average=None,
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if len(self.mark_steps) != len(self.marks) + 1:
            raise ValueError(
                f"mark_steps must be {len(self.marks) + 1} numbers, of the coarse grid and of each "
                f"of the marks {self.marks}, got {self.mark_steps}"
            )
        if self.reference < self.fine or self.fine <= self.coarse:
            raise ValueError(
                "grids must satisfy coarse < fine <= reference, "
                f"got {self.coarse}, {self.fine}, {self.reference}"
            )

    @property
    def interval(self) -> float:
        """Time between snapshots, one step of the corrected solver."""
        return self.substeps * self.dt

    @property
    def flow(self) -> NavierStokes2D:
        return NavierStokes2D(self.viscosity, self.drag, forcing=kolmogorov(self.wavenumber))

    def solver(
        self, points: int, keep: float | None = None, steps: int | None = None
    ) -> tuple[SpectralStep, int]:
        """A solver with `points` per side, and how many of its steps make an interval, by default
        proportionally to `substeps` of the coarse one."""
        if steps is None:
            steps = max(1, round(self.substeps * points / self.coarse))
        return semilinear(
            self.flow, Periodic((points, points)), self.interval / steps, keep=keep
        ), steps

    def mark(self, points: int) -> tuple[SpectralStep, int]:
        """The plain solver with `points` per side, those of the coarse grid or of a mark, at its
        best setting."""
        return self.solver(points, self.keep, self.steps_of(points))

    def steps_of(self, points: int) -> int:
        """The entry of `mark_steps` for a grid of `points` per side."""
        sizes = [round(self.coarse * factor) for factor in (1.0, *self.marks)]
        return self.mark_steps[sizes.index(points)]
