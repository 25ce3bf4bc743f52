"""Scattering of light by a dielectric circular cylinder, beside the exact series.

A plane wave falls on the cylinder, with its electric field along the axis (TM) or across it (TE).
The power that it scatters flows through a box in the scattered field; over the power that falls on
the diameter it is the scattering efficiency; from the fields on that box follows how much goes into
which direction (`solvers.waves.far_field`). The series: Bohren and Huffman 1983, section 8.4. The
permittivity changes over the width of a cell at the surface; for TE it is a tensor there
(`solvers.waves.interfaces`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array

from jaxpbdl import plotting
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.waves.scattering import (
    Frame,
    RoundBody,
    draw_circle,
    order_of_convergence,
    scattered,
)
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.waves import (
    Components,
    Fields,
    MaxwellStep,
    interface,
    maxwell,
    pulse,
    smoothed,
    te,
    tm,
)
from jaxpbdl.solvers.waves.exact import (
    Coefficients,
    cylinder_efficiency,
    cylinder_pattern,
    te_coefficients,
    tm_coefficients,
)

COURANT = 0.95
"""dt over the largest stable one."""
ANGLES = 2 * np.pi * np.arange(90) / 90
"""Of the far field, from the direction of travel."""


@dataclass(frozen=True)
class Config(RoundBody):
    """Settings."""

    polarisation: Literal["tm", "te"] = "tm"
    """E along the axis of the cylinder, or H."""

    @property
    def frame(self) -> Frame:
        """The boxes about the cylinder."""
        return self.frame_with(2, 0.25)


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
    h, frame = config.width, config.frame
    kind = POLARISATIONS[config.polarisation]
    dt = COURANT * h / 2**0.5 * min(1.0, config.permittivity) ** 0.5
    body = Ball((0.0, 0.0), config.radius)
    # E_z lies along the surface everywhere, where the tensor is a number.
    smooth = smoothed if config.polarisation == "tm" else interface
    return maxwell(
        frame.grid(),
        dt,
        permittivity=smooth(body, config.permittivity, 1.0, h),
        sides=frame.sides(),
        components=kind.components,
        sources=(frame.wave(kind.incident, pulse(config.wavelength, cycles=0.5)),),
    )


class Found(NamedTuple):
    """The scattering efficiency; the transform of E_z (TM) or H_z (TE) at the wavelength over that
    of the incident E at the centre; the efficiency per radian at `ANGLES`."""

    efficiency: float
    field: np.ndarray
    pattern: np.ndarray


def efficiency(config: Config) -> Found:
    """Of the cylinder on a grid."""
    field = POLARISATIONS[config.polarisation].field
    duration = config.periods * config.wavelength
    found = scattered(config.frame, cylinder(config), config.wavelength, duration, field)
    pattern = found.pattern(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1))[0]
    return Found(
        float(found.scattering[0]), np.asarray(found.observed[0]), pattern / (2 * config.radius)
    )


def run(config: Config, folder: Path) -> Result:
    """Scatter a pulse; a picture goes to `folder`."""
    found = efficiency(config)
    kind = POLARISATIONS[config.polarisation]
    series = config.size, config.permittivity
    exact = cylinder_efficiency(*series, kind.coefficients)
    pattern = cylinder_pattern(*series, ANGLES, kind.coefficients)
    _picture(config, found, pattern, folder)
    prefix, joint = ("", ".") if config.polarisation == "tm" else ("te.", "_")
    error = abs(found.efficiency / exact - 1)
    metrics = {
        f"{prefix}q_sca": found.efficiency,
        f"{prefix}q_sca{joint}exact": exact,
        f"{prefix}q_sca_error": error,
        f"{prefix}far_field_error": float(
            np.linalg.norm(found.pattern - pattern) / np.linalg.norm(pattern)
        ),
    }
    errors = {config.cells: error}
    for cells in config.coarser:
        errors[cells] = abs(efficiency(replace(config, cells=cells)).efficiency / exact - 1)
        metrics[f"{prefix}q_sca_error_{cells}"] = errors[cells]
    if config.coarser:
        metrics[f"{prefix}order"] = order_of_convergence(errors)
    note = f"size parameter {config.size:.4g}, {2 * config.frame.domain} cells a side"
    return Result(metrics, notes={"q_sca" if config.polarisation == "tm" else "te": note})


def _picture(config: Config, found: Found, pattern: np.ndarray, folder: Path) -> None:
    """`field.png`: the component along the axis at one time and its magnitude, in the frame what is
    scattered alone; and the far field over the angle."""
    inner = slice(config.layer, len(found.field) - config.layer)
    shown = found.field[inner, inner]
    side = 2 * (config.frame.domain - config.layer) * config.width
    figure, axes = plotting.figure(1, 3, size=(3.6, 3.0))
    label = POLARISATIONS[config.polarisation].label
    plotting.field(axes[0, 0], np.real(shown), (side, side), title=label, bar="")
    plotting.field(axes[0, 1], np.abs(shown), (side, side), title=f"|{label}|", bar="")
    for one in axes[0, :2]:
        draw_circle(one, side / 2, config.radius)
    lines = {"cells": found.pattern, "series": pattern}
    plotting.curves(
        axes[0, 2], lines, np.degrees(ANGLES), xlabel="angle (degrees)", ylabel="dQ/dangle",
        logarithmic=True,
    )  # fmt: skip
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
