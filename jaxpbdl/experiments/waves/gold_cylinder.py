"""Extinction of light by a cylinder of gold, its electric field across the axis (TE), beside the
exact series.

Gold is a Drude and a Lorentz pole fitted to the measured permittivity (P. B. Johnson and R. W.
Christy, Phys. Rev. B 6 (1972) 4370). One pulse holds all wavelengths. What is scattered flows
through a box in the scattered field, what is absorbed through one in the total field; both over the
power that falls on the diameter. The series (Bohren and Huffman 1983, section 8.4) is taken with
the fitted permittivity, which shows the error of the cells, and with the measured one, which shows
that of the fit besides.

The surface is made of whole cells (`surface` far below 1): errors were smaller than with smoothed
cells (`surface` 1). A likely reason, not checked, is that where the permittivities have opposite
signs the mean of the inverse passes through zero at some share of a cell, so that such cells ring.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpbdl import plotting
from jaxpbdl.data import find
from jaxpbdl.data.metals import Dispersion, fitted_metal
from jaxpbdl.data.optical_constants import read_measured
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.waves.scattering import Frame, Scattered, scattered
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.waves import interface, maxwell, pulse, te
from jaxpbdl.solvers.waves.exact import cylinder_extinction, te_coefficients

COURANT = 0.9
"""dt over the largest stable one."""
FITTED = (0.48, 1.0)
"""Wavelengths of the fit, in micrometres."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in micrometres, times in micrometres over the speed of light."""

    seed: int = 0
    """Of nothing: nothing is random."""
    data: Path | None = None
    """The measured indices; else looked for in the folder JAXPBDL_DATA."""
    radius: Positive = 0.05
    wavelengths: tuple[Positive, ...] = (0.5209, 0.5486, 0.5821, 0.6168, 0.6595, 0.7045)
    """Of the extinction."""
    cells: Count = 20
    """In the radius."""
    surface: Positive = 1e-3
    """Width over which the surface is smoothed, in cells."""
    layer: Count = 10
    """Cells of the absorbing layers."""
    periods: Positive = 10.0
    """Duration in periods of the longest wavelength."""


def efficiencies(config: Config, gold: Dispersion) -> Scattered:
    """Of scattering and of absorption by the cylinder on a grid."""
    h = config.radius / config.cells
    longest, middle = max(config.wavelengths), float(np.mean(config.wavelengths))
    gap = max(6, int(np.ceil(0.12 * longest / h)))
    frame = Frame(2, config.radius, h, gap, config.layer)
    smooth = config.surface * h
    body = interface(Ball((0.0, 0.0), config.radius), gold.permittivity, 1.0, smooth, gold.poles)
    step = maxwell(
        frame.grid(),
        COURANT * h / 2**0.5,
        permittivity=body,
        sides=frame.sides(),
        components=te,
        sources=(frame.wave(1, pulse(middle, cycles=0.6)),),
    )
    return scattered(frame, step, np.asarray(config.wavelengths), config.periods * longest)


def extinctions(config: Config, permittivity: np.ndarray) -> np.ndarray:
    """Of the exact series with a permittivity at each of the wavelengths."""
    sizes = 2 * np.pi * config.radius / np.asarray(config.wavelengths)
    return np.asarray(
        [
            cylinder_extinction(float(size), complex(eps), te_coefficients)
            for size, eps in zip(sizes, permittivity, strict=True)
        ]
    )


def files(config: Config) -> Sequence[Path]:
    """The measured indices.

    Raises `checks.DataError` if there are none.
    """
    return [find("gold", given=config.data)]


def run(config: Config, folder: Path) -> Result:
    """Fit, send a pulse, compare; a picture goes to `folder`."""
    measured = read_measured(files(config)[0])
    used = (measured.wavelength >= FITTED[0]) & (measured.wavelength <= FITTED[1])
    gold = fitted_metal(measured.wavelength[used], measured.permittivity[used])
    waves = np.asarray(config.wavelengths)
    found = efficiencies(config, gold)
    extinction = np.asarray(found.scattering + found.absorption)
    exact, of_measured = (extinctions(config, eps) for eps in (gold.at(waves), measured.at(waves)))
    metrics = {"fit.error": gold.error}
    for wave, here, known, other in zip(waves, extinction, exact, of_measured, strict=True):
        name = f"{1000 * wave:.4g} nm".replace(".", ",")
        metrics |= {
            f"{name}.q_ext": here,
            f"{name}.q_ext_exact": known,
            f"{name}.q_ext_exact_measured": other,
        }
    metrics["te.q_ext_error"] = float(np.max(abs(extinction / exact - 1)))
    metrics["te.q_ext_error_measured"] = float(np.max(abs(extinction / of_measured - 1)))
    _picture(waves, extinction, exact, of_measured, folder)
    return Result(metrics, notes={"te": "the largest of the wavelengths"})


def _picture(
    waves: np.ndarray,
    extinction: np.ndarray,
    exact: np.ndarray,
    of_measured: np.ndarray,
    folder: Path,
) -> None:
    """`extinction.png`: over the wavelength."""
    figure, axes = plotting.figure(1, 1, size=(4.4, 3.2))
    ax = axes[0, 0]
    ax.plot(1000 * waves, extinction, "o", color=plotting.LINES[0], label="cells")
    ax.plot(1000 * waves, exact, color=plotting.LINES[1], label="series, fitted gold")
    ax.plot(1000 * waves, of_measured, "--", color=plotting.LINES[2], label="series, measured gold")
    ax.set(xlabel="wavelength (nm)", ylabel="extinction efficiency", ylim=(0, None))
    ax.legend()
    plotting.save(figure, folder / "extinction.png")


EXPERIMENT = Experiment(
    name="gold-cylinder",
    summary="extinction by a gold cylinder, E across its axis, beside the exact series",
    presets={"quick": Config(), "full": Config(cells=32, periods=15.0)},
    run=run,
    files=files,
)
