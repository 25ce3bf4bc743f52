"""Scattering of light by a dielectric circular cylinder, beside the exact series.

A plane wave with its electric field along the axis (TM) falls on the cylinder. The power that it
scatters flows through a box in the scattered field; over the power that falls on the diameter it is
the scattering efficiency. The series: Bohren and Huffman 1983, section 8.4. The permittivity
changes over the width of a cell at the surface.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Cells
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.waves import (
    Fields,
    MaxwellStep,
    absorbing,
    box,
    maxwell,
    plane_wave,
    pulse,
    smoothed,
    spectra,
    tm,
    transformed,
)
from jaxpbdl.solvers.waves.exact import cylinder_efficiency
from jaxpbdl.solvers.waves.monitors import Transformed
from jaxpbdl.solvers.waves.plane_wave import BoundPlaneWave

COURANT = 0.95
"""dt over the largest stable one."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings; `radius` and `wavelength` in one unit, times in that unit over the speed of
    light."""

    seed: int = 0
    """Of nothing: nothing is random."""
    radius: Positive = 0.175
    wavelength: Positive = 1.0
    permittivity: Positive = 4.0
    cells: Count = 20
    """In a wavelength inside of the cylinder or in its radius, whichever is shorter."""
    layer: Count = 10
    """Cells of the absorbing layers."""
    periods: Positive = 15.0
    """Duration; sharp resonances need more."""

    @property
    def size(self) -> float:
        """The circumference over the wavelength."""
        return 2 * np.pi * self.radius / self.wavelength

    @property
    def width(self) -> float:
        """Of a cell."""
        inside = self.wavelength / max(1.0, self.permittivity**0.5)
        return min(inside, self.radius) / self.cells

    @property
    def halves(self) -> tuple[int, int, int]:
        """Half the sides of the box of the total field, of that of the flux, and of the domain, in
        cells."""
        total = int(np.ceil(self.radius / self.width)) + 4
        gap = max(6, int(np.ceil(0.25 * self.wavelength / self.width)))
        return total, total + 4, total + 4 + gap + self.layer


def cylinder(config: Config) -> MaxwellStep:
    """The step of light about the cylinder."""
    total, _, domain = config.halves
    h = config.width
    grid = Cells((2 * domain, 2 * domain), 2 * domain * h, -domain * h)
    wave = plane_wave(
        (-total * h,) * 2, (total * h,) * 2, 0, 2, pulse(config.wavelength, cycles=0.5)
    )
    dt = COURANT * h / 2**0.5 * min(1.0, config.permittivity) ** 0.5
    permittivity = smoothed(Ball((0.0, 0.0), config.radius), config.permittivity, 1.0, h)
    side = absorbing(config.layer)
    return maxwell(
        grid, dt, permittivity=permittivity, sides=(side, side), components=tm, sources=(wave,)
    )


def efficiency(config: Config) -> tuple[float, np.ndarray]:
    """The scattering efficiency, and the transform of E_z at the wavelength over that of the
    incident wave at the centre."""
    step = cylinder(config)
    _, outside, domain = config.halves
    around = box(step, (-outside * config.width,) * 2, (outside * config.width,) * 2)
    wave = step.sources[0]
    assert isinstance(wave, BoundPlaneWave)

    def observe(fields: Fields) -> tuple:
        incident = wave.incident_electric(fields.sources[0])[domain, 0]
        return around(fields), incident, fields.electric[0]

    watched = transformed(step, observe, config.wavelength)
    steps = int(np.ceil(config.periods * config.wavelength / float(step.dt)))
    final: Transformed = eqx.filter_jit(jp.repeat(watched, steps))(watched.start(step.start()))
    faces, incident, field = spectra(final)
    power = around.flux(faces, watched.wavelengths)[0]
    falling = jnp.abs(incident[0]) ** 2 / 2 * 2 * config.radius
    return float(power / falling), np.asarray(field[0] / incident[0])


def run(config: Config, folder: Path) -> Result:
    """Scatter a pulse; a picture goes to `folder`."""
    found, field = efficiency(config)
    exact = cylinder_efficiency(config.size, config.permittivity)
    _picture(config, field, folder)
    return Result(
        {"q_sca": found, "q_sca.exact": exact, "q_sca_error": abs(found / exact - 1)},
        notes={"q_sca": f"size parameter {config.size:.4g}, {field.shape[0] - 1} cells a side"},
    )


def _picture(config: Config, field: np.ndarray, folder: Path) -> None:
    """`field.png`: E_z at one time and its magnitude; in the frame what is scattered alone."""
    inner = slice(config.layer, len(field) - config.layer)
    shown = field[inner, inner]
    side = (len(shown) - 1) * config.width
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    plotting.field(axes[0, 0], np.real(shown), (side, side), title="E_z", bar="")
    plotting.field(axes[0, 1], np.abs(shown), (side, side), title="|E_z|", bar="")
    angles = np.linspace(0, 2 * np.pi, 100)
    for one in axes[0]:
        one.plot(
            side / 2 + config.radius * np.cos(angles),
            side / 2 + config.radius * np.sin(angles),
            color="black",
            linewidth=0.7,
        )
    plotting.save(figure, folder / "field.png")


EXPERIMENT = Experiment(
    name="mie-cylinder",
    summary="light scattered by a dielectric cylinder, within 1 % of the exact series",
    presets={"quick": Config(), "full": Config(cells=40, periods=25.0)},
    run=run,
)
