"""Light that goes round in a dielectric ring and leaks out of it, beside the exact resonance.

A pulse rings the ring, E out of the plane; what is left of it at a point decays as exp(-i w t), and
Prony's method gives the complex w. The exact one is the root of the determinant of the conditions
at both faces of the ring (`solvers.waves.exact.ring_frequency`). Modes of an azimuthal order are
even about the axis y = 0, and odd or even about x = 0: a quarter of the ring is computed. Radii,
index and order are by default those of a test of meep (A. F. Oskooi et al., Comput. Phys. Commun.
181 (2010) 687), which has 10 cells in a unit.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.waves.scattering import draw_circle, order_of_convergence
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.plasma.growth import wave_frequencies
from jaxpbdl.solvers.waves import (
    Fields,
    MaxwellStep,
    absorbing,
    dipole,
    maxwell,
    pec,
    pmc,
    pulse,
    smoothed,
    tm,
)
from jaxpbdl.solvers.waves.exact import ring_frequency

SOURCE = "meep, python/tests/test_ring.py, 10 cells in a unit"
MEEP = 0.118101315 - 7.3151e-4j
"""Frequency in c over the unit, the imaginary part that of the decay."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in one unit, times in that unit over the speed of light."""

    seed: int = 0
    """Of nothing: nothing is random."""
    inner: Positive = 1.0
    outer: Positive = 2.0
    permittivity: Positive = 3.4**2
    azimuthal: NonNegativeInt = 3
    """Waves round the ring."""
    wavelength: Positive = 8.5
    """Of the pulse in vacuum; the resonance must be near it, and no other of the same symmetry."""
    cycles: Positive = 1.5
    """Of the pulse, as in `solvers.waves.pulse`."""
    cells: Count = 20
    """In a unit."""
    coarser: tuple[Count, ...] = (5, 10)
    """Numbers of cells of further runs, for the order of convergence."""
    gap: Positive = 4.0
    """Between the ring and the absorbing layer."""
    layer: Positive = 1.0
    """Thickness of the absorbing layer, 2 cells besides."""
    periods: Count = 28
    """Of the pulse's wavelength, in the record after it."""

    def __post_init__(self):
        super().__post_init__()
        if self.outer <= self.inner:
            raise ValueError(f"outer must be above inner, {self.inner}, got {self.outer}")


SAMPLES = 8
"""In a period of the record."""
COURANT = 0.95
"""The largest dt over the largest stable one."""


class Ringing(NamedTuple):
    """The complex angular frequency, the record and E_z at its end, in a quarter of the ring."""

    frequency: complex
    record: Float[np.ndarray, " times"]
    field: Float[np.ndarray, "nx ny"]


def ring(config: Config) -> tuple[MaxwellStep, int]:
    """The step of light in a quarter of the ring, and how many there are between two samples."""
    h = 1 / config.cells
    layer = int(np.ceil(config.layer * config.cells)) + 2
    n = int(np.ceil((config.outer + config.gap) * config.cells)) + layer
    interval = config.wavelength / SAMPLES
    every = int(np.ceil(interval / (COURANT * h / 2**0.5 * min(1.0, config.permittivity) ** 0.5)))
    middle, half = (config.outer + config.inner) / 2, (config.outer - config.inner) / 2

    def distance(point: Array) -> Array:
        # No slope of the root is asked for at the centre, where it has none.
        return jnp.abs(jnp.sqrt(jnp.sum(point**2)) - middle) - half

    side = absorbing(layer)
    across = pec if config.azimuthal % 2 else pmc
    place = config.inner + 0.1 * (config.outer - config.inner)
    source = dipole((place, 0.0), 2, pulse(config.wavelength, config.cycles))
    step = maxwell(
        Cells((n, n), n * h),
        interval / every,
        permittivity=smoothed(distance, config.permittivity, 1.0, h),
        sides=((across, side), (pmc, side)),
        components=tm,
        sources=(source,),
    )
    return step, every


def ringing(config: Config) -> Ringing:
    """What is left in the ring after the pulse."""
    step, every = ring(config)
    node = round((config.inner + config.outer) / 2 * config.cells)
    # The pulse is over as long after its middle as it starts before it.
    silent = int(np.ceil(2 * 5.7 * config.cycles * SAMPLES)) + 1

    def observe(fields: Fields) -> Array:
        return fields.electric[0][node, 0]

    @eqx.filter_jit
    def recorded(start: Fields) -> tuple[Array, Fields]:
        later = jp.repeat(step, silent * every)(start)

        def sample(fields: Fields, _: None) -> tuple[Fields, Array]:
            later = jp.repeat(step, every)(fields)
            return later, observe(later)

        last, record = jax.lax.scan(sample, later, length=config.periods * SAMPLES)
        return record, last

    record, last = recorded(step.start())
    record = np.asarray(record, float)
    found = wave_frequencies(record, config.wavelength / SAMPLES, 2)
    # A real wave is two, of w and of minus its conjugate.
    frequency = complex(found[np.argmax(np.real(found))])
    return Ringing(frequency, record, np.asarray(last.electric[0]))


def quality(frequency: complex) -> float:
    """2 pi times the energy over that which is lost in a period."""
    return float(-frequency.real / (2 * frequency.imag))


def run(config: Config, folder: Path) -> Result:
    """Ring, and compare; a picture goes to `folder`."""
    found = ringing(config)
    radii = config.inner, config.outer
    exact = ring_frequency(*radii, config.permittivity, config.azimuthal, found.frequency)
    _picture(config, found, exact, folder)
    metrics: dict[str, float] = {
        "frequency": found.frequency.real / (2 * np.pi),
        "frequency.exact": exact.real / (2 * np.pi),
        "quality": quality(found.frequency),
        "quality.exact": quality(exact),
    }
    errors = {}
    for cells in (config.cells, *config.coarser):
        each = found if cells == config.cells else ringing(replace(config, cells=cells))
        name = "" if cells == config.cells else f"_{cells}"
        errors[cells] = abs(each.frequency.real / exact.real - 1)
        metrics[f"frequency_error{name}"] = errors[cells]
        metrics[f"quality_error{name}"] = abs(quality(each.frequency) / quality(exact) - 1)
    if config.coarser:
        metrics["order"] = order_of_convergence(errors)
    published = {}
    if (*radii, config.permittivity, config.azimuthal) == (1.0, 2.0, 3.4**2, 3):
        published = {
            "frequency": Published(MEEP.real, SOURCE),
            "quality": Published(quality(MEEP), SOURCE),
        }
    return Result(metrics, published, notes={"frequency": "in c over the unit"})


def _picture(config: Config, found: Ringing, exact: complex, folder: Path) -> None:
    """`ring.png`: E_z at the end, and the record beside its envelope by the exact decay."""
    odd = -1 if config.azimuthal % 2 else 1
    half = np.concatenate([found.field[:, :0:-1], found.field], axis=1)
    whole = np.concatenate([odd * half[:0:-1], half])
    side = len(whole) / config.cells
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    plotting.field(axes[0, 0], whole, (side, side), title="E_z")
    for radius in (config.inner, config.outer):
        draw_circle(axes[0, 0], side / 2, radius)
    times = config.wavelength / SAMPLES * np.arange(len(found.record))
    ax = axes[0, 1]
    ax.plot(times, found.record, color=plotting.LINES[0], label="E_z in the ring")
    start = np.max(np.abs(found.record[: 2 * SAMPLES]))
    decay = start * np.exp(exact.imag * times)
    ax.plot(times, decay, "--", color=plotting.LINES[1], label="exact decay")
    ax.set(xlabel="time after the pulse")
    ax.legend()
    plotting.save(figure, folder / "ring.png")


EXPERIMENT = Experiment(
    name="ring-resonator",
    summary="frequency and quality of a dielectric ring, beside the exact resonance",
    presets={"quick": Config(), "full": Config(cells=40, coarser=(10, 20))},
    run=run,
)
