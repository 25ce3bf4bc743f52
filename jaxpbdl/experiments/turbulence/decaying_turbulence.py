"""Turbulence behind a grid that decays, on cells too coarse for it, with and without a closure.

The flow starts as random waves without divergence with the energy spectrum that Comte-Bellot and
Corrsin measured 42 mesh widths behind their grid, of all waves that the cells hold, and is compared
with the spectra they measured at 98 and 171 (J. Fluid Mech. 48 (1971) 273). A time is a distance
over the mean speed of the stream. The random phases are those of no real turbulence: it takes the
flow some time to begin to pass energy on to small scales.

The values of the table at 0.11 a cm, and at 0.15 for the first two stations, are not in that paper;
they make up the longest wave of the default box, about a hundredth of the energy.

Centimetres and seconds. Energies are of a unit of mass and of the shells of waves that a grid of
n^3 cells holds whole, 1 to n/2 - 1 times 2 pi over the length of the box.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.checks import DataError
from jaxpbdl.data import find
from jaxpbdl.diagnostics import power_spectrum
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells, Periodic
from jaxpbdl.solvers.flow import Closure, Flow, IncompressibleStep, Smagorinsky, incompressible
from jaxpbdl.solvers.time import substepped

STATIONS = (42, 98, 171)
"""Distances behind the grid, in mesh widths."""
MESH = 5.08
SPEED = 1000.0
"""Of the stream."""
VISCOSITY = 0.15
TIMES = tuple((station - STATIONS[0]) * MESH / SPEED for station in STATIONS)
SOURCE = "Comte-Bellot and Corrsin 1971, measured, of the same shells of waves"


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flows."""

    seed: int = 0
    data: str | None = None
    """The table of spectra; else looked for in the folder JAXPBDL_DATA."""
    cells: Count = 32
    """Along each axis, an even number of at least 8."""
    box: Positive = 11.0
    """Length of a side, in mesh widths."""
    constant: NonNegative = 0.17
    """Of Smagorinsky's closure."""
    members: Count = 3
    """Draws of the phases, over which energies are averaged."""

    def __post_init__(self):
        super().__post_init__()
        if self.cells % 2 or self.cells < 8:
            raise ValueError(f"cells must be even and at least 8, got {self.cells}")

    @property
    def grid(self) -> Cells:
        return Cells((self.cells,) * 3, self.box * MESH, periodic=True)


class Measured(NamedTuple):
    """Wavenumbers, and the energy in a unit of them at each station; zero where none is known."""

    wavenumbers: Float[np.ndarray, " rows"]
    spectra: Float[np.ndarray, "stations rows"]

    def energies(self, grid: Cells) -> Float[np.ndarray, "stations shells"]:
        """Of the shells 0 to n/2 - 1 at each station, interpolated between logarithms; none in 0.

        **Raises:** ValueError for a box or cells whose shells reach beyond what was measured.
        """
        first = 2 * np.pi / grid.lengths[0]
        k = first * np.arange(1, grid.shape[0] // 2)
        energies = np.zeros((len(self.spectra), grid.shape[0] // 2))
        for row, spectrum in zip(energies, self.spectra, strict=True):
            known = self.wavenumbers[spectrum > 0]
            if not known[0] <= k[0] <= k[-1] <= known[-1]:
                raise ValueError(
                    f"waves must lie within {known[0]:g}..{known[-1]:g} a cm, which were measured; "
                    f"those of the grid are {k[0]:g}..{k[-1]:g}"
                )
            logarithms = np.log(known), np.log(spectrum[spectrum > 0])
            row[1:] = first * np.exp(np.interp(np.log(k), *logarithms))
        return energies


def read_grid_turbulence(path: str | Path) -> Measured:
    """The spectra of a table with a column of wavenumbers and one of each station. Raises DataError
    for a file that is missing or of another layout."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if table.shape[1] != 1 + len(STATIONS) or not np.all(np.diff(table[:, 0]) > 0):
        raise DataError(
            f"{path}: increasing wavenumbers and {len(STATIONS)} columns of energies expected, got "
            f"shape {table.shape}"
        )
    if not np.all(np.isfinite(table)) or np.any(table < 0) or np.any(table[:2] == 0):
        raise DataError(f"{path}: energies must be finite, and positive in the first rows")
    return Measured(table[:, 0], table[:, 1:].T)


def step_of(config: Config, dt: float, closure: Closure | None) -> IncompressibleStep:
    """The step of the air in a periodic box."""
    return incompressible(IncompressibleFlow(VISCOSITY), config.grid, dt, closure=closure)


def shell_energies(velocity: Sequence[Array], grid: Cells) -> Float[Array, " shells"]:
    """Of the shells 0 to n/2 - 1."""
    points = Periodic(grid.shape, grid.lengths, dtype=grid.dtype)
    shells = [power_spectrum(u, points)[1][: grid.shape[0] // 2] for u in velocity]
    return jnp.sum(jnp.stack(shells), axis=0) / 2


def random_waves(
    key: PRNGKeyArray, step: IncompressibleStep, energies: Float[np.ndarray, " shells"]
) -> Flow:
    """Gaussian waves without divergence (of the differences of the grid) with given energies of the
    shells; none in those beyond."""
    grid = step.grid
    noise = jax.random.normal(key, (grid.ndim, *grid.shape), grid.dtype)
    free = step.start(tuple(noise))
    modes = np.meshgrid(*(np.fft.fftfreq(n) * n for n in grid.shape), indexing="ij")
    shell = np.rint(np.sqrt(sum(m**2 for m in modes))).astype(int)
    found = np.asarray(shell_energies(free.velocity, grid), float)
    # A factor that is the same for all waves of a shell leaves the divergence zero.
    factors = np.zeros(shell.max() + 1)
    factors[1 : len(energies)] = np.sqrt(energies[1:] / found[1:])
    scaled = (
        np.fft.ifftn(np.fft.fftn(np.asarray(u, float)) * factors[shell]).real for u in free.velocity
    )
    return step.start(tuple(jnp.asarray(u, grid.dtype) for u in scaled))


def decayed(
    config: Config, closure: Closure | None, energies: Float[np.ndarray, " shells"]
) -> Float[np.ndarray, "stations shells"]:
    """Energies of the shells at the stations, the mean over the members, from those at the
    first."""

    def make(dt: float) -> IncompressibleStep:
        return step_of(config, dt, closure)

    totals = np.zeros((len(STATIONS), config.cells // 2))
    turns: list[Callable[[Flow], Flow]] = []
    for key in jax.random.split(jax.random.key(config.seed), config.members):
        state = random_waves(key, make(1e-6), energies)
        if not turns:  # the largest speeds of the draws differ little, and fall: half the limit
            turns = [
                eqx.filter_jit(substepped(make, float(interval), state, 0.5))
                for interval in np.diff(TIMES)
            ]
        totals[0] += np.asarray(shell_energies(state.velocity, config.grid))
        for place, turn in enumerate(turns, 1):
            state = turn(state)
            totals[place] += np.asarray(shell_energies(state.velocity, config.grid))
    return totals / config.members


def compared(
    config: Config, closures: Mapping[str, Closure | None], folder: Path
) -> tuple[dict[str, float], dict[str, Published]]:
    """The decay with each closure beside what was measured, as metrics; a picture goes to
    `folder`."""
    measured = read_grid_turbulence(find("grid-turbulence", given=config.data))
    truth = measured.energies(config.grid)
    found = {name: decayed(config, closure, truth[0]) for name, closure in closures.items()}
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    for name, energies in found.items():
        for place in (1, 2):
            at = f"at_{STATIONS[place]}"
            ratios = energies[place, 1:] / truth[place, 1:]
            metrics[f"{name}.energy_{at}"] = float(energies[place].sum())
            metrics[f"{name}.energy_error_{at}"] = float(
                energies[place].sum() / truth[place].sum() - 1
            )
            # Root of the mean square over shells of log10 of the ratio to what was measured.
            metrics[f"{name}.spectrum_error_{at}"] = float(np.sqrt(np.mean(np.log10(ratios) ** 2)))
            metrics[f"{name}.last_shell_ratio_{at}"] = float(ratios[-1])
            published[f"{name}.energy_{at}"] = Published(float(truth[place].sum()), SOURCE)
    _picture(config, measured, found, folder)
    return metrics, published


def run(config: Config, folder: Path) -> Result:
    """Solve with and without the closure; a picture goes to `folder`."""
    closures = {"none": None, "smagorinsky": Smagorinsky(config.constant)}
    return Result(*compared(config, closures, folder))


def _picture(
    config: Config, measured: Measured, found: Mapping[str, np.ndarray], folder: Path
) -> None:
    """`spectra.png`: energy by wavenumber at the stations."""
    figure, axes = plotting.figure(1, len(found), size=(3.4, 2.8))
    first = 2 * np.pi / config.grid.lengths[0]
    k = first * np.arange(config.cells // 2)
    for ax, (name, energies) in zip(axes[0], found.items(), strict=True):
        for station, spectrum, row, colour in zip(
            STATIONS, measured.spectra, energies, plotting.LINES, strict=False
        ):
            known = (spectrum > 0) & (measured.wavenumbers < 2 * k[-1])
            ax.plot(measured.wavenumbers[known], spectrum[known], "o", color=colour, markersize=3)
            ax.plot(k[1:], row[1:] / first, color=colour, label=f"{station} mesh widths")
        ax.set(title=f"closure: {name}", xscale="log", yscale="log", xlabel="k [1/cm]")
        ax.set_ylabel("E [cm³/s²]")
    axes[0][0].legend()
    plotting.save(figure, folder / "spectra.png")


EXPERIMENT = Experiment(
    name="decaying-turbulence",
    summary="decay behind a grid with and without a large-eddy closure, beside measured spectra",
    presets={"quick": Config(), "full": Config(cells=64, members=1)},
    run=run,
    files=lambda config: [find("grid-turbulence", given=config.data)],
)
