"""Scattering of light by a dielectric sphere in three dimensions, beside Mie's exact series.

A plane wave travels along x with its electric field along y. The power that the sphere scatters
flows through a box in the scattered field; over the power that falls on its cross-section it is the
scattering efficiency (C. F. Bohren and D. R. Huffman, Absorption and Scattering of Light by Small
Particles, 1983, section 4.4). Sphere and wave are symmetric about two planes, so that a quarter of
the box is computed: y = 0, which E crosses, is an electric conductor, z = 0 a magnetic one. The
permittivity is a tensor in the cells that the surface cuts (`solvers.waves.interfaces`). From the
fields on the box follow those far away, and the asymmetry: the mean cosine of the angle between the
direction of travel and that of what is scattered (section 4.5).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.waves.scattering import (
    Frame,
    RoundBody,
    draw_circle,
    order_of_convergence,
    scattered,
)
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.waves import Fields, MaxwellStep, interface, maxwell, pulse
from jaxpbdl.solvers.waves.exact import sphere

COURANT = 0.95
"""dt over the largest stable one."""


@dataclass(frozen=True)
class Config(RoundBody):
    """Settings."""

    cells: Count = 10
    coarser: tuple[Count, ...] = (4, 6)
    gap: Positive = 0.25
    """Between the boxes and the absorbing layers, in wavelengths."""
    periods: Positive = 10.0

    @property
    def frame(self) -> Frame:
        """The boxes about the sphere."""
        return self.frame_with(3, self.gap)


def quarter(config: Config) -> MaxwellStep:
    """The step of light about a quarter of the sphere."""
    h, frame = config.width, config.frame
    dt = COURANT * h / 3**0.5 * min(1.0, config.permittivity) ** 0.5
    source = frame.wave(1, pulse(config.wavelength, cycles=0.5))

    @eqx.filter_jit
    def assembled(ball: Ball) -> MaxwellStep:
        body = interface(ball, config.permittivity, 1.0, h)
        sides = frame.sides()
        return maxwell(frame.grid(), dt, permittivity=body, sides=sides, sources=(source,))

    # The ball is an argument: of a known one the compiler would work out all cells itself, slowly.
    step = assembled(Ball((0.0, 0.0, 0.0), config.radius))
    step.refuse_above(step.largest_dt())
    return step


def across(fields: Fields) -> Array:
    """E_y in the plane z = 0."""
    return fields.electric[1][:, :, 0]


@dataclass(frozen=True)
class Found:
    """Efficiencies of scattering and absorption, the mean cosine of the angle of what is scattered,
    and E_y of the wavelength in the plane z = 0, y > 0, for an incident wave of 1 at the centre."""

    scattering: float
    absorption: float
    asymmetry: float
    field: np.ndarray


def efficiency(config: Config) -> Found:
    """Of the sphere on a grid."""
    duration = config.periods * config.wavelength
    found = scattered(config.frame, quarter(config), config.wavelength, duration, across)
    field = np.asarray(found.observed[0])
    # Gauss's points of the cosine, equal steps about the axis of travel.
    cosines, weights = np.polynomial.legendre.leggauss(int(config.size) + 12)
    around = 2 * np.pi * (np.arange(12) + 0.5) / 12
    cosine, angle = (one.ravel() for one in np.meshgrid(cosines, around, indexing="ij"))
    sine = np.sqrt(1 - cosine**2)
    pattern = found.pattern(np.stack([cosine, sine * np.cos(angle), sine * np.sin(angle)], 1))[0]
    power = weights * pattern.reshape(len(cosines), -1).sum(axis=1)
    return Found(
        float(found.scattering[0]),
        float(found.absorption[0]),
        float(np.sum(power * cosines) / np.sum(power)),
        field,
    )


def run(config: Config, folder: Path) -> Result:
    """Scatter a pulse; a picture goes to `folder`."""
    found = efficiency(config)
    known = sphere(config.size, config.permittivity)
    exact = known.scattering
    _picture(config, found.field, folder)
    errors = {config.cells: abs(found.scattering / exact - 1)}
    metrics = {
        "q_sca": found.scattering,
        "q_sca.exact": exact,
        "q_sca_error": errors[config.cells],
        "q_abs": found.absorption,
        "asymmetry": found.asymmetry,
        "asymmetry.exact": known.asymmetry,
    }
    for cells in config.coarser:
        errors[cells] = abs(efficiency(replace(config, cells=cells)).scattering / exact - 1)
        metrics[f"q_sca_error_{cells}"] = errors[cells]
    if config.coarser:
        metrics["order"] = order_of_convergence(errors)
    frame = config.frame
    note = f"size parameter {config.size:.4g}, {frame.domain} cells on half a side"
    return Result(metrics, notes={"q_sca": note, "q_abs": "0 for a sphere that does not absorb"})


def _picture(config: Config, field: np.ndarray, folder: Path) -> None:
    """`field.png`: E_y in the plane z = 0 at one time and its magnitude; in the frame what is
    scattered alone."""
    whole = np.concatenate([field[:, ::-1], field], axis=1)
    inner = slice(config.layer, -config.layer)
    shown = whole[inner, inner]
    side = 2 * (config.frame.domain - config.layer) * config.width
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    plotting.field(axes[0, 0], np.real(shown), (side, side), title="E_y", bar="")
    plotting.field(axes[0, 1], np.abs(shown), (side, side), title="|E_y|", bar="")
    for one in axes[0]:
        draw_circle(one, side / 2, config.radius)
    plotting.save(figure, folder / "field.png")


EXPERIMENT = Experiment(
    name="mie-sphere",
    summary="light scattered by a dielectric sphere in 3D, within 1 % of Mie's series",
    presets={
        "quick": Config(),
        "full": Config(cells=16, coarser=(6, 8, 12), gap=0.4, periods=15.0),
    },
    run=run,
)
