"""A cylinder that oscillates in fluid at rest, seen from a frame that goes with it.

    V = -U cos(2 pi t / T),   Reynolds number = U D / viscosity,   Keulegan-Carpenter = U T / D
    F = -1/2 C_D D |V| V - pi/4 C_A D^2 dV/dt

Lengths are in diameters D, velocities in the largest of the cylinder U. Drag coefficient C_D and
added mass C_A follow from the force of the last period by least squares (Morison et al., J. Petrol.
Technol. 2 (1950) 149). Published: H. Duetsch, F. Durst, S. Becker and H. Lienhart, J. Fluid Mech.
360 (1998) 249.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.flows.rotating_cylinder import grid_error
from jaxpbdl.grids import Cells, graded
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import (
    Flow,
    FrameStep,
    frame_inputs,
    in_frame,
    incompressible,
    inflow,
    slip,
    stable_dt,
)

DUETSCH = "Duetsch et al. 1998, J. Fluid Mech. 360, 249"
TABLE: Mapping[tuple[float, float], Mapping[str, float]] = {
    (100.0, 5.0): {"drag": 2.09, "added_mass": 1.45}
}
"""By Reynolds and Keulegan-Carpenter number."""
CENTRE = (0.003, 0.002)
"""Off the faces of the grid."""
FASTEST = (2.0, 1.4)
"""Speeds about the cylinder, along and across its path, stay below these."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flow."""

    seed: int = 0
    """Of nothing: the flow is not random."""
    reynolds: Positive = 100.0
    keulegan_carpenter: Positive = 5.0
    cells: Count = 16
    """A diameter, about the cylinder."""
    coarser: Count = 11
    """Cells of the run that gives the error of the grid."""
    far: Positive = 12.0
    """Distance of the sides, in diameters."""
    periods: Count = 5
    """Of which the last counts."""

    def __post_init__(self):
        super().__post_init__()
        if not self.coarser < self.cells:
            raise ValueError(f"coarser must be below cells = {self.cells}, got {self.coarser}")


class Morison(NamedTuple):
    """Coefficients of a force, and what is left of it, relative."""

    drag: float
    added_mass: float
    unexplained: float


class Oscillation(NamedTuple):
    """The last period: the step, the state at its end, times from its beginning, the velocity of
    the cylinder, and the force along its path, as a coefficient."""

    step: FrameStep
    state: Flow
    times: Float[np.ndarray, " times"]
    force: Float[np.ndarray, " times"]


def cylinder(config: Config, cells: int) -> tuple[FrameStep, int]:
    """The step of some cells a diameter, and how many make a period."""
    width, far, period = 1 / cells, config.far, config.keulegan_carpenter
    x = graded(-far, far, (-0.75 - period / (2 * np.pi), 0.75 + period / (2 * np.pi)), width, 1.08)
    y = graded(-far, far, (-0.8, 0.8), width, 1.08)
    grid = Cells((len(x) - 1, len(y) - 1), edges=(x, y))
    steps = int(
        np.ceil(period / (0.8 * float(stable_dt(FASTEST, (width, width), 1 / config.reynolds))))
    )
    still = inflow((0.0, 0.0))
    flow = incompressible(
        IncompressibleFlow(1 / config.reynolds),
        grid,
        period / steps,
        ((still, still), slip()),
        body=Ball(CENTRE, 0.5),
    )
    return in_frame(flow), steps


def velocity(phase: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times 2"]:
    """Of the cylinder, at parts of a period."""
    return np.stack([-np.cos(2 * np.pi * phase), 0 * phase], axis=1)


def oscillation(config: Config, cells: int) -> Oscillation:
    """The last period of some."""
    step, steps = cylinder(config, cells)
    path = frame_inputs(velocity(np.arange(steps + 1) / steps), steps)
    start = step.begin((-1.0, 0.0))

    @eqx.filter_jit
    def period(state: Flow) -> tuple[Flow, tuple[Array, Array]]:
        def once(state: Flow, given: Array) -> tuple[Flow, tuple[Array, Array]]:
            return step(state, given), (state.time, 2 * step.force(state, given)[0])

        return jax.lax.scan(once, state, path)

    state, times, force = start, np.zeros(0), np.zeros(0)
    for _ in range(config.periods):
        state, (times, force) = period(state)
    times = np.asarray(times, float)
    return Oscillation(step, state, times - times[0], np.asarray(force, float))


def morison(
    times: Float[np.ndarray, " times"], force: Float[np.ndarray, " times"], period: float
) -> Morison:
    """Of a force coefficient at times of a period."""
    phase = 2 * np.pi * times / period
    speed, acceleration = -np.cos(phase), 2 * np.pi / period * np.sin(phase)
    parts = np.stack([-np.abs(speed) * speed, -np.pi / 2 * acceleration], axis=1)
    found = np.linalg.lstsq(parts, force, rcond=None)[0]
    left = np.linalg.norm(force - parts @ found) / np.linalg.norm(force)
    return Morison(float(found[0]), float(found[1]), float(left))


def run(config: Config, folder: Path) -> Result:
    """Solve on two grids; a picture goes to `folder`."""
    period = config.keulegan_carpenter
    last = oscillation(config, config.cells)
    fine = morison(last.times, last.force, period)
    less = oscillation(config, config.coarser)
    coarse = morison(less.times, less.force, period)
    metrics: dict[str, float] = dict(fine._asdict())
    published: dict[str, Published] = {}
    finer = config.cells / config.coarser
    for what in ("drag", "added_mass"):
        metrics[f"{what}_grid_error"] = grid_error(
            getattr(fine, what), getattr(coarse, what), finer
        )
    for what, value in TABLE.get((config.reynolds, period), {}).items():
        published[what] = Published(value, DUETSCH)
        metrics[f"{what}_error"] = abs(getattr(fine, what) / value - 1)
    _picture(config, last, fine, folder)
    return Result(metrics, published)


def _picture(config: Config, last: Oscillation, found: Morison, folder: Path) -> None:
    """`oscillation.png`: vorticity about the cylinder at the end of a period, and the force in it
    beside what the coefficients give."""
    figure, (axes,) = plotting.figure(1, 2, size=(4.0, 2.8))
    grid, period = last.step.grid, config.keulegan_carpenter
    vorticity = np.asarray(grid.vorticity(last.state.velocity))
    x, y = (np.asarray(line)[1:-1] for line in grid.edges)
    axes[0].pcolormesh(
        x, y, vorticity.T, cmap="RdBu_r", vmin=-6, vmax=6, shading="nearest", rasterized=True
    )
    angles = np.linspace(0, 2 * np.pi, 100)
    axes[0].fill(0.5 * np.cos(angles), 0.5 * np.sin(angles), color="0.6")
    axes[0].set(title="vorticity", xlim=(-2.5, 2.5), ylim=(-1.8, 1.8), xticks=[], yticks=[])
    axes[0].set_aspect("equal")
    phase = 2 * np.pi * last.times / period
    fitted = found.drag * np.abs(np.cos(phase)) * np.cos(phase)
    fitted = fitted - np.pi**2 / period * found.added_mass * np.sin(phase)
    axes[1].plot(last.times / period, last.force, label="flow")
    axes[1].plot(last.times / period, fitted, "--", label="two coefficients")
    axes[1].set(xlabel="time / period", ylabel="force coefficient")
    axes[1].legend()
    plotting.save(figure, folder / "oscillation.png")


EXPERIMENT = Experiment(
    name="oscillating-cylinder",
    summary="drag and added mass of a cylinder that oscillates in fluid at rest, against Duetsch",
    presets={
        "quick": Config(),
        "full": Config(cells=32, coarser=22, far=20.0, periods=8),
    },
    run=run,
)
