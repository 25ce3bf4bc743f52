"""Waves of a kinetic plasma: damped, unstable, trapped; on a grid of phase space and by particles.

A uniform plasma with a wave of a size of 1e-8 (damped: 1e-5) is followed while it is linear. The
frequencies and rates of its field stand beside the roots of the dispersion relation
(`solvers.plasma.dispersion`). Two streams of a larger wave go on until they roll up, for what is
kept over fifty plasma periods. Lengths in Debye lengths, times in 1/omega_p.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Periodic
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.plasma import (
    ColdBeams,
    HollowMaxwellian,
    Maxwellians,
    VelocityDistribution,
    VlasovStep,
    leading_wave,
    particle_in_cell,
    quiet_beam,
    velocity_grid,
    vlasov_poisson,
    wave_frequencies,
)
from jaxpbdl.solvers.time import yoshida

SOURCE = "cold beams, 1 / sqrt(8)"
NARROW = 0.03
"""Width of the streams that stand for cold ones on the grid, over their speed."""
COLD = 0.375**0.5
"""The wavenumber at which cold streams of speed 1 grow fastest."""
PERIODS = 50
"""Of the plasma, in which mass and energy are watched."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of both methods."""

    seed: int = 0
    """Of nothing: the particles are spread, not drawn."""
    velocities: Count = 128
    """Points in velocity; twice as many for the bump, cold streams and trapped electrons."""
    dt: Positive = 0.1
    particles: Count = 20000
    """Of each beam."""
    cells: Count = 64
    """Of the particles' grid."""


class Case(NamedTuple):
    """A linear wave: the plasma, its wavenumber, the fastest velocity of the grid, the times
    between which the field is looked at, and the waves that are in it then."""

    plasma: Callable[[], VelocityDistribution]
    wavenumber: float
    fastest: float
    window: tuple[float, float]
    waves: int = 1
    size: float = 1e-8
    points: int = 1
    """In velocity, over the setting."""


class Beam(NamedTuple):
    """Of particles."""

    drift: float
    width: float


class ParticleCase(NamedTuple):
    """A linear wave by particles: beams of the same density."""

    beams: tuple[Beam, ...]
    wavenumber: float
    window: tuple[float, float]
    waves: int
    size: float


def streams(drift: float, width: float = 1.0) -> Maxwellians:
    """Two of the same density, against each other."""
    return Maxwellians(0.5, np.array([drift, -drift]), width)


def bump() -> Maxwellians:
    """A tenth of the electrons, fast and narrow."""
    return Maxwellians(np.array([0.9, 0.1]), np.array([0.0, 4.5]), np.array([1.0, 0.5]))


CASES = {
    "landau_k02": Case(Maxwellians, 0.2, 8.0, (50, 100), 2, 1e-5),
    "landau_k03": Case(Maxwellians, 0.3, 8.0, (30, 60), 2, 1e-5),
    "landau_k04": Case(Maxwellians, 0.4, 8.0, (20, 40), 2, 1e-5),
    "landau_k05": Case(Maxwellians, 0.5, 7.0, (12, 25), 2, 1e-5),
    "streams_cold": Case(lambda: streams(1.0, NARROW), COLD, 1.5, (20, 40), points=2),
    "streams_24": Case(lambda: streams(2.4), 0.2, 10.0, (30, 60)),
    "streams_30": Case(lambda: streams(3.0), 0.2, 10.0, (30, 50)),
    "hollow": Case(HollowMaxwellian, 0.5, 8.0, (20, 40)),
    "bump": Case(bump, 0.3, 8.0, (40, 60), 3, 1e-9, 2),
}
PARTICLES = {
    "particles_cold": ParticleCase((Beam(1, 0), Beam(-1, 0)), COLD, (15, 30), 1, 1e-6),
    "particles_streams_30": ParticleCase((Beam(3, 1), Beam(-3, 1)), 0.2, (12, 24), 1, 1e-4),
    "particles_landau_k05": ParticleCase((Beam(0, 1),), 0.5, (2, 12), 2, 2e-2),
}


def perturbed(
    step: VlasovStep, plasma: VelocityDistribution, wavenumber: float, size: float
) -> jax.Array:
    """The uniform plasma with a wave of its density."""
    return step.start(
        lambda point: (1 + size * jnp.cos(wavenumber * point[0])) * plasma(point[1])  # pyright: ignore[reportCallIssue]
    )


def on_the_grid(case: Case, config: Config) -> np.ndarray:
    """The amplitude of the field of the wave at every step of the window."""
    points = config.velocities * case.points
    grid = velocity_grid((8, points), (2 * np.pi / case.wavenumber,), case.fastest)
    step = vlasov_poisson(grid, config.dt, yoshida)
    step.check_duration(case.window[1])
    state = perturbed(step, case.plasma(), case.wavenumber, case.size)
    begin, end = (round(time / config.dt) for time in case.window)
    series = rollout(step, state, end, observe=lambda one: jnp.fft.fft(step.field(one)[0])[1])
    return _seen(np.asarray(series)[begin:], case.waves)


def by_particles(case: ParticleCase, config: Config) -> tuple[np.ndarray, float]:
    """The same of particles, and the largest change of their energy, relative."""
    length = 2 * np.pi / case.wavenumber
    step = particle_in_cell(Periodic(config.cells, length), config.dt)
    beams = [quiet_beam(config.particles, length, beam.drift, beam.width) for beam in case.beams]
    even = jnp.concatenate([positions for positions, _ in beams])
    moved = even + case.size / case.wavenumber * jnp.sin(case.wavenumber * even)
    state = step.start(moved, jnp.concatenate([velocities for _, velocities in beams]))
    begin, end = (round(time / config.dt) for time in case.window)
    series, energy = rollout(
        step, state, end, observe=lambda one: (jnp.fft.fft(one.electric)[1], step.energy(one))
    )
    change = float(jnp.max(jnp.abs(energy / energy[0] - 1)))
    return _seen(np.asarray(series)[begin:], case.waves), change


def _seen(series: np.ndarray, waves: int) -> np.ndarray:
    """Two waves are those of a standing one, whose amplitude has one phase: rounding and noise of
    the other do not count."""
    return np.imag(series) if waves == 2 else series


def rates(name: str, found: complex, exact: complex) -> dict[str, float]:
    """The metrics of a wave; a relative error of the frequency only where there is one."""
    sign, kind = (1, "growth") if exact.imag > 0 else (-1, "damping")
    metrics = {
        f"{name}.{kind}": sign * found.imag,
        f"{name}.{kind}_exact": sign * exact.imag,
        f"{name}.{kind}_error": abs(found.imag / exact.imag - 1),
    }
    if abs(exact.real) > 1e-6:
        metrics[f"{name}.frequency"] = found.real
        metrics[f"{name}.frequency_exact"] = exact.real
        metrics[f"{name}.frequency_error"] = abs(found.real / exact.real - 1)
    return metrics


def trapped(config: Config) -> tuple[VlasovStep, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two streams that roll up: the step, mass and energy over fifty periods, and the density of
    phase space at four times."""
    step = vlasov_poisson(
        velocity_grid((32, 2 * config.velocities), (4 * np.pi,), 7.0), 0.2, yoshida
    )
    state = perturbed(step, HollowMaxwellian(), 0.5, 0.01)
    every = 25
    steps = every * int(np.ceil(PERIODS * 2 * np.pi / 0.2 / every))
    states = rollout(step, state, steps, every)
    mass, energy = jax.jit(jax.vmap(lambda one: (step.mass(one), step.energy(one))))(states)
    shown = np.asarray(SHOWN)
    return (
        step,
        np.asarray(mass),
        np.asarray(energy),
        np.asarray(states)[shown],
        0.2 * every * shown,
    )


SHOWN = (0, 3, 5, 12)
"""Of the states of trapped electrons, a time of 5 apart."""


def run(config: Config, folder: Path) -> Result:
    """Follow every plasma; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    with jax.enable_x64(True):
        for name, case in CASES.items():
            found = wave_frequencies(on_the_grid(case, config), config.dt, case.waves)[0]
            exact = complex(leading_wave(case.plasma(), case.wavenumber))
            metrics |= rates(name, complex(found), exact)
        for name, case in PARTICLES.items():
            series, change = by_particles(case, config)
            found = wave_frequencies(series, config.dt, case.waves)[0]
            exact = complex(leading_wave(_plasma(case), case.wavenumber))
            metrics |= rates(name, complex(found), exact)
            metrics[f"{name}.energy_change"] = change
        step, mass, energy, states, times = trapped(config)
    metrics["trapped.mass_change"] = float(np.max(np.abs(mass / mass[0] - 1)))
    metrics["trapped.energy_change"] = float(np.max(np.abs(energy / energy[0] - 1)))
    _picture(step, states, times, folder)
    published = {f"{name}.growth": Published(8**-0.5, SOURCE) for name in
                 ("streams_cold", "particles_cold")}  # fmt: skip
    return Result(metrics, published, notes=_notes(config))


def _plasma(case: ParticleCase) -> VelocityDistribution:
    """What the beams of particles stand for."""
    density = 1 / len(case.beams)
    drifts = np.array([float(beam.drift) for beam in case.beams])
    widths = np.array([float(beam.width) for beam in case.beams])
    return Maxwellians(density, drifts, widths) if widths.all() else ColdBeams(density, drifts)


def _notes(config: Config) -> dict[str, str]:
    return {
        "streams_cold": f"of a width of {NARROW} of their speed, which is that of the exact rate",
        "trapped": f"{PERIODS} periods, 32 x {2 * config.velocities} points, dt 0.2, order 4",
        "particles_landau_k05": f"a wave of 2 %, {config.particles} particles: not quite linear",
    }


def _picture(step: VlasovStep, states: np.ndarray, times: np.ndarray, folder: Path) -> None:
    """`phase_space.png`: two streams that grow, trap electrons and roll up."""
    figure, axes = plotting.figure(1, len(states), size=(2.3, 2.3))
    length, fastest = step.grid.lengths[0], step.grid.lengths[1] / 2
    for ax, state, time in zip(axes[0], states, times, strict=True):
        ax.imshow(
            state.T, origin="lower", extent=(0, length, -fastest, fastest), aspect="auto",
            cmap=plotting.POSITIVE, vmin=0, vmax=float(states[0].max()), interpolation="bilinear",
        )  # fmt: skip
        ax.set(title=f"t = {time:.0f}", xlabel="x", ylabel="v", ylim=(-5, 5))
        ax.label_outer()
        ax.grid(False)
    plotting.save(figure, folder / "phase_space.png")


EXPERIMENT = Experiment(
    name="plasma-waves",
    summary="damped and unstable waves of a kinetic plasma beside the dispersion relation",
    presets={
        "quick": Config(),
        "full": Config(velocities=256, dt=0.05, particles=200000),
    },
    run=run,
)
