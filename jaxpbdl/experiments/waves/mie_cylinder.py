"""Scattering of light by a dielectric circular cylinder, beside the exact series.

A plane wave falls on the cylinder, with its electric field along the axis (TM) or across it (TE).
The power that it scatters flows through a box in the scattered field; over the power that falls on
the diameter it is the scattering efficiency. The series: Bohren and Huffman 1983, section 8.4. The
permittivity changes over the width of a cell at the surface; for TE it is a tensor there
(`solvers.waves.interfaces`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Cells
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.waves import (
    Components,
    Fields,
    MaxwellStep,
    absorbing,
    box,
    interface,
    maxwell,
    plane_wave,
    pulse,
    smoothed,
    spectra,
    te,
    tm,
    transformed,
)
from jaxpbdl.solvers.waves.exact import (
    Coefficients,
    cylinder_efficiency,
    te_coefficients,
    tm_coefficients,
)
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
    polarisation: Literal["tm", "te"] = "tm"
    """E along the axis of the cylinder, or H."""
    radius: Positive = 0.175
    wavelength: Positive = 1.0
    permittivity: Positive = 4.0
    cells: Count = 20
    """In a wavelength inside of the cylinder or in its radius, whichever is shorter."""
    coarser: tuple[Count, ...] = ()
    """Numbers of cells of further runs, for the order of convergence."""
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


@dataclass(frozen=True)
class Polarisation:
    """The components that there are, the electric one of the incident wave, which component `field`
    of the state the picture shows, its name, and the coefficients of the exact series."""

    components: Components
    incident: int
    field: Callable[[Fields], Array]
    label: str
    coefficients: Coefficients


POLARISATIONS = {
    "tm": Polarisation(tm, 2, lambda fields: fields.electric[0], "E_z", tm_coefficients),
    "te": Polarisation(te, 1, lambda fields: fields.magnetic[0], "H_z", te_coefficients),
}


def cylinder(config: Config) -> MaxwellStep:
    """The step of light about the cylinder."""
    total, _, domain = config.halves
    h = config.width
    kind = POLARISATIONS[config.polarisation]
    grid = Cells((2 * domain, 2 * domain), 2 * domain * h, -domain * h)
    signal = pulse(config.wavelength, cycles=0.5)
    wave = plane_wave((-total * h,) * 2, (total * h,) * 2, 0, kind.incident, signal)
    dt = COURANT * h / 2**0.5 * min(1.0, config.permittivity) ** 0.5
    body = Ball((0.0, 0.0), config.radius)
    # E_z lies along the surface everywhere, where the tensor is a number.
    smooth = smoothed if config.polarisation == "tm" else interface
    side = absorbing(config.layer)
    return maxwell(
        grid,
        dt,
        permittivity=smooth(body, config.permittivity, 1.0, h),
        sides=(side, side),
        components=kind.components,
        sources=(wave,),
    )


def efficiency(config: Config) -> tuple[float, np.ndarray]:
    """The scattering efficiency, and the transform of E_z (TM) or H_z (TE) at the wavelength over
    that of the incident E at the centre."""
    step = cylinder(config)
    _, outside, domain = config.halves
    around = box(step, (-outside * config.width,) * 2, (outside * config.width,) * 2)
    wave, kind = step.sources[0], POLARISATIONS[config.polarisation]
    assert isinstance(wave, BoundPlaneWave)

    def observe(fields: Fields) -> tuple:
        incident = wave.incident_electric(fields.sources[0])[domain, 0]
        return around(fields), incident, kind.field(fields)

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
    kind = POLARISATIONS[config.polarisation]
    exact = cylinder_efficiency(config.size, config.permittivity, kind.coefficients)
    _picture(config, field, folder)
    prefix, joint = ("", ".") if config.polarisation == "tm" else ("te.", "_")
    error = abs(found / exact - 1)
    metrics = {
        f"{prefix}q_sca": found,
        f"{prefix}q_sca{joint}exact": exact,
        f"{prefix}q_sca_error": error,
    }
    errors = {config.cells: error}
    for cells in config.coarser:
        errors[cells] = abs(efficiency(replace(config, cells=cells))[0] / exact - 1)
        metrics[f"{prefix}q_sca_error_{cells}"] = errors[cells]
    if config.coarser:
        slope = np.polyfit(np.log(list(errors)), np.log(list(errors.values())), 1)[0]
        metrics[f"{prefix}order"] = -float(slope)
    note = f"size parameter {config.size:.4g}, {2 * config.halves[2]} cells a side"
    return Result(metrics, notes={"q_sca" if config.polarisation == "tm" else "te": note})


def _picture(config: Config, field: np.ndarray, folder: Path) -> None:
    """`field.png`: the component along the axis at one time and its magnitude; in the frame what is
    scattered alone."""
    inner = slice(config.layer, len(field) - config.layer)
    shown = field[inner, inner]
    side = 2 * (config.halves[2] - config.layer) * config.width
    figure, axes = plotting.figure(1, 2, size=(3.6, 3.0))
    label = POLARISATIONS[config.polarisation].label
    plotting.field(axes[0, 0], np.real(shown), (side, side), title=label, bar="")
    plotting.field(axes[0, 1], np.abs(shown), (side, side), title=f"|{label}|", bar="")
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
    presets={
        "quick": Config(),
        "te": Config(polarisation="te", coarser=(10,)),
        "full": Config(cells=40, periods=25.0),
    },
    run=run,
)
