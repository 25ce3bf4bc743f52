"""Growth of a shear layer (Kelvin and Helmholtz) beside linear theory, and how it rolls up.

A gas with the velocity tanh(y) along x, density 1 and a Mach number of that velocity, between walls
far away. A small wave along x grows as exp(s t) while it is small: s and its shape are those of the
most unstable mode of the linearised Euler equations,

    (s + i k U) u + U' v = -i k p,  (s + i k U) v = -p',  (s + i k U) p = -(i k u + v') / Mach^2

by Chebyshev collocation (at Mach 0 and k = 0.4446 the largest rate is 0.1897: A. Michalke, J. Fluid
Mech. 19 (1964) 543). Without walls waves grow where k^2 + Mach^2 < 1 (W. Blumen, J. Fluid Mech. 40
(1970) 769). The solvers start from means over the cells of this mode. The rate is that of the
wave's first harmonic over the second half of the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations import CompressibleFlow
from jaxpbdl.experiments.configuration import Count, NonNegativeInt, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.compressible import (
    FiniteVolumeStep,
    Weno5,
    finite_volumes,
    muscl,
    primitive,
    reflecting,
    sixth_order,
    van_leer,
    weno5,
)

GAMMA = 1.4
SMALL, LARGE = 1e-4, 0.05
"""The largest velocity of the wave across the layer: for the growth, and for the picture."""
SCHEMES: Mapping[str, Mapping] = {
    "van_leer": {"reconstruction": muscl(van_leer), "variables": primitive},
    "weno": {"reconstruction": weno5},
    "weno_smooth": {"reconstruction": Weno5(smooth=3e-3), "quadrature": sixth_order},
}
NOTES = {
    "theory": "linear, most unstable mode",
    "van_leer": "MUSCL, primitive variables",
    "weno": "WENO5-Z, characteristic variables",
    "weno_smooth": "the same with smooth=3e-3 and a quadrature of order 6 over faces",
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    """Of nothing: nothing is random."""
    mach: Positive = 0.5
    wavenumber: Positive = 0.4
    half_height: Positive = 10.0
    """From the layer to each wall."""
    cells: tuple[Count, ...] = (16, 32, 64)
    """A wave length."""
    time: Positive = 10.0
    courant: Positive = 0.5
    rolled: NonNegativeInt = 64
    """Cells a wave length of the picture; 0 leaves it out."""
    rolled_time: Positive = 40.0

    def __post_init__(self):
        super().__post_init__()
        if self.wavenumber**2 + self.mach**2 >= 1:
            raise ValueError(
                "wavenumber^2 + mach^2 must be below 1, beyond which no wave grows, got wavenumber "
                f"{self.wavenumber:g} and mach {self.mach:g}"
            )
        if min(self.cells, default=0) < 6:
            raise ValueError(f"there must be at least 6 cells a wave length, got {self.cells}")


class Mode(NamedTuple):
    """A wave exp(i k x + rate t) and its shape across the layer."""

    rate: complex
    y: np.ndarray
    """From the lower wall to the upper one."""
    shape: np.ndarray
    """u, v and p there, complex; the largest |v| is 1."""


def unstable_mode(wavenumber: float, mach: float, half_height: float, degree: int = 160) -> Mode:
    """The mode that grows fastest, without flow through the walls.

    **Raises:** ValueError if none grows: by symmetry those that do stand still, k^2 + Mach^2 < 1.
    """
    x = np.cos(np.pi * np.arange(degree + 1) / degree)
    signs = np.where(np.arange(degree + 1) % 2, -1.0, 1.0)
    signs[[0, -1]] *= 2
    derivative = np.outer(signs, 1 / signs) / (x[:, None] - x + np.eye(degree + 1))
    derivative -= np.diag(derivative.sum(axis=1))
    narrow = 0.15  # more points within the layer: y ~ narrow height x / sqrt(1 + narrow^2 - x^2)
    under = 1 + narrow**2 - x**2
    y = half_height * narrow * x / np.sqrt(under)
    derivative *= (under**1.5 / (half_height * narrow * (1 + narrow**2)))[:, None]
    along = np.diag(-1j * wavenumber * np.tanh(y))
    waves = -1j * wavenumber * np.eye(degree + 1)
    shear, none = np.diag(-1 / np.cosh(y) ** 2), np.zeros_like(derivative)
    matrix = np.block([
        [along, shear, waves],
        [none, along, -derivative],
        [waves / mach**2, -derivative / mach**2, along],
    ])  # fmt: skip
    free = np.ones(len(matrix), bool)
    free[[degree + 1, 2 * degree + 1]] = False  # v at the walls
    rates, modes = (np.asarray(one) for one in np.linalg.eig(matrix[np.ix_(free, free)]))
    fastest = int(np.argmax(np.real(rates)))
    # The points do not resolve sound of short waves, which seems to grow a little, moving.
    if np.real(rates)[fastest] < 1e-3 or abs(np.imag(rates)[fastest]) > 1e-3:
        raise ValueError(
            f"no wave of the layer grows at wavenumber {wavenumber:g}, mach {mach:g} between walls "
            f"at {half_height:g}: the largest rate is {complex(rates[fastest]):.1e}"
        )
    shape = np.zeros(len(matrix), complex)
    shape[free] = modes[:, fastest]
    shape = shape.reshape(3, -1)[:, ::-1]
    return Mode(complex(rates[fastest]), y[::-1], shape / abs(shape[1]).max())


def layer(config: Config, mode: Mode, cells: int, size: float) -> tuple[Cells, jax.Array]:
    """The grid, and the means over its cells of the layer with a wave of some size."""
    length, height = 2 * np.pi / config.wavenumber, 2 * config.half_height
    rows = max(round(cells * height / length), 6)
    grid = Cells(
        (cells, rows), (length, height), (0.0, -config.half_height), periodic=(True, False),
        dtype=float,
    )  # fmt: skip
    gas, shape = CompressibleFlow(2, GAMMA), CubicSpline(mode.y, mode.shape.T)
    places, weights = np.polynomial.legendre.leggauss(3)
    total = jnp.zeros(())
    for right, share in zip(places, weights / 2, strict=True):
        for up, other in zip(places, weights / 2, strict=True):
            x = grid.centres[0] + right * length / cells / 2
            y = grid.centres[1] + up * height / rows / 2
            wave = np.exp(1j * config.wavenumber * x)[:, None] * shape(y).T[:, None]
            u, v, p = size * np.real(wave)
            density = 1 + config.mach**2 * p  # no heat flows
            state = [density, np.tanh(y) + u, v, 1 / (GAMMA * config.mach**2) + p]
            total = total + share * other * gas.conserved(jnp.asarray(np.stack(state)))
    return grid, total


def solver(config: Config, grid: Cells, scheme: str, time: float) -> tuple[FiniteVolumeStep, int]:
    """A scheme, and the steps that it takes for a time, an even number."""
    waves = 2 * (1 + 1 / config.mach) + 0.5  # both axes together, and what a large wave adds
    steps = 2 * int(np.ceil(time * waves * grid.shape[0] / (2 * config.courant * grid.lengths[0])))
    gas = CompressibleFlow(2, GAMMA)
    return finite_volumes(gas, grid, time / steps, [None, reflecting], **SCHEMES[scheme]), steps


def growth(config: Config, mode: Mode, cells: int, scheme: str) -> float:
    """The rate of the wave in the second half of the time."""
    grid, state = layer(config, mode, cells, SMALL)
    step, steps = solver(config, grid, scheme, config.time)
    _, middle, end = jp.rollout(step, state, steps, every=steps // 2)
    sizes = [float(jnp.linalg.norm(jnp.fft.fft(one[2], axis=0)[1])) for one in (middle, end)]
    return float(np.log(sizes[1] / sizes[0]) / (config.time / 2))


def run(config: Config, folder: Path) -> Result:
    """All grids by each scheme; the picture goes to `folder`."""
    with jax.enable_x64(True):
        mode = unstable_mode(config.wavenumber, config.mach, config.half_height)
        theory = mode.rate.real
        metrics = {"theory.growth": theory}
        for scheme in SCHEMES:
            for cells in config.cells:
                found = growth(config, mode, cells, scheme)
                metrics[f"{scheme}.growth_{cells}"] = found
                metrics[f"{scheme}.error_{cells}"] = found / theory - 1
        if config.rolled:
            grid, state = layer(config, mode, config.rolled, LARGE)
            step, steps = solver(config, grid, "weno", config.rolled_time)
            states = jp.rollout(step, state, steps, every=steps // 2)
            _picture(config, grid, np.asarray(states), folder)
    return Result(metrics, notes=NOTES)


def _picture(config: Config, grid: Cells, states: np.ndarray, folder: Path) -> None:
    """`layer.png`: the vorticity, from the start until it has rolled up."""
    figure, axes = plotting.figure(1, len(states), size=(3.0, 3.6))
    times = np.linspace(0, config.rolled_time, len(states))
    length, height = grid.lengths
    for ax, state, time in zip(axes[0], states, times, strict=True):
        u, v = state[1:3] / state[0]
        along = (np.roll(v, -1, axis=0) - np.roll(v, 1, axis=0)) * len(v) / (2 * length)
        vorticity = along - np.gradient(u, grid.centres[1], axis=1)
        plotting.field(ax, vorticity, (length, height), title=f"time {time:g}", bar="vorticity")
    plotting.save(figure, folder / "layer.png")


EXPERIMENT = Experiment(
    name="shear-layer",
    summary="growth of a shear layer of gas beside linear theory, and how it rolls up",
    presets={"quick": Config(), "full": Config(cells=(16, 32, 64, 128), rolled=192)},
    run=run,
)
