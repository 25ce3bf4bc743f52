"""A warm cylinder in a cold stream: the mean Nusselt number beside published ones.

    Nu = h D / k = heat that leaves the cylinder / (pi diffusivity (T_cylinder - T_stream))

Lengths are in diameters D, velocities in that of the stream U, the temperature is 1 on the cylinder
and 0 in the stream; Reynolds number U D / viscosity, Prandtl number viscosity / diffusivity. The
heat is what `solvers.flow.scalar_from_body` says, a mean over the last part of the time. Up to a
Reynolds number of about 47 the flow becomes steady. A coarser run gives the error of the grid, if
it is of second order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow, Scalar
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.flows.rotating_cylinder import CENTRE, FASTEST, grid_error, kicked
from jaxpbdl.grids import Cells, graded
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    incompressible,
    inflow,
    outflow,
    scalar_from_body,
    slip,
    stable_dt,
)

BHARTI = "Bharti, Chhabra and Eswaran 2007, Heat Mass Transfer 43, 639, Pr 0.7, at second hand"
LANGE = "fit of Lange, Durst and Breuer 1998, Int. J. Heat Mass Transfer 41, 3409, Pr 0.71"
TABLE: Mapping[float, Published] = {
    20.0: Published(2.4653, BHARTI),
    40.0: Published(3.2825, BHARTI),
    100.0: Published(5.128, LANGE),
}
"""Mean Nusselt numbers by Reynolds number, in an unbounded stream."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flows."""

    seed: int = 0
    """Of nothing: the flows are not random."""
    reynolds: tuple[Positive, ...] = (20.0, 40.0)
    prandtl: Positive = 0.7
    cells: Count = 16
    """A diameter, about the cylinder."""
    coarser: Count = 11
    """Cells of the run that gives the error of the grid."""
    far: Positive = 25.0
    """Distance of the sides, in diameters; above and below there is no friction and no heat."""
    time: Positive = 40.0
    """In diameters over speed of the stream."""
    counted: Positive = 10.0
    """The last part of it, of which means are taken."""

    def __post_init__(self):
        super().__post_init__()
        if not self.counted < self.time:
            raise ValueError(f"counted must be below time = {self.time}, got {self.counted}")
        if not self.coarser < self.cells:
            raise ValueError(f"coarser must be below cells = {self.cells}, got {self.coarser}")


class Heated(NamedTuple):
    """A developed flow, and the Nusselt number over the last part of the time."""

    step: IncompressibleStep
    state: Flow
    times: Float[np.ndarray, " times"]
    nusselt: Float[np.ndarray, " times"]


def cylinder(config: Config, reynolds: float, cells: int) -> IncompressibleStep:
    """The step of a warm cylinder in a cold stream, of some cells a diameter."""
    width, far = 1 / cells, config.far
    x = graded(-far, 1.5 * far, (-0.8, 1.6), width, 1.07)
    y = graded(-far, far, (-0.8, 0.8), width, 1.07)
    grid = Cells((len(x) - 1, len(y) - 1), edges=(x, y))
    diffusivity = 1 / (reynolds * config.prandtl)
    dt = 0.8 * stable_dt((FASTEST, FASTEST), (width, width), 1 / reynolds, diffusivity=diffusivity)
    return incompressible(
        IncompressibleFlow(1 / reynolds, scalars={"temperature": Scalar(diffusivity)}),
        grid,
        dt,
        ((inflow((1.0, 0.0), temperature=0.0), outflow()), slip()),
        body=Ball(CENTRE, 0.5),
        on_body={"temperature": 1.0},
    )


def nusselt(step: IncompressibleStep, state: Flow) -> Float[Array, ""]:
    """Of the whole cylinder, now."""
    heat = scalar_from_body(step, state, "temperature")
    return heat / (jnp.pi * step.equation.scalars["temperature"].diffusivity)


def heated(config: Config, reynolds: float, cells: int) -> Heated:
    """The flow after a long time, and what leaves the cylinder in the last part of it."""
    step = cylinder(config, reynolds, cells)
    every = max(1, round(0.2 / float(step.dt)))
    before = round((config.time - config.counted) / float(step.dt))
    count = max(1, round(config.counted / float(step.dt) / every))
    developed = eqx.filter_jit(jp.repeat(step, before, checkpoint=False))(step.start(kicked))

    def turn(state: Flow, _: None) -> tuple[Flow, tuple[Array, Array]]:
        state = jp.repeat(step, every, checkpoint=False)(state)
        return state, (state.time, nusselt(step, state))

    scan = eqx.filter_jit(lambda state: jax.lax.scan(turn, state, length=count))
    state, (times, found) = scan(developed)
    return Heated(step, state, np.asarray(times, float), np.asarray(found, float))


def run(config: Config, folder: Path) -> Result:
    """Solve all flows; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    flows: dict[str, Heated] = {}
    for reynolds in config.reynolds:
        name = f"re{reynolds:g}".replace(".", "p")
        flows[name] = heated(config, reynolds, config.cells)
        fine = float(flows[name].nusselt.mean())
        coarse = heated(config, reynolds, config.coarser)
        metrics[f"{name}.nusselt"] = fine
        metrics[f"{name}.nusselt_range"] = float(np.ptp(flows[name].nusselt))
        metrics[f"{name}.nusselt_grid_error"] = grid_error(
            fine, float(coarse.nusselt.mean()), config.cells / config.coarser
        )
        if reynolds in TABLE and abs(config.prandtl / 0.7 - 1) < 1e-6:
            published[f"{name}.nusselt"] = TABLE[reynolds]
            metrics[f"{name}.nusselt_error"] = abs(fine / TABLE[reynolds].value - 1)
    _picture(flows, folder)
    return Result(metrics, published)


def _picture(flows: Mapping[str, Heated], folder: Path) -> None:
    """`temperature.png`: the temperature about the cylinder."""
    figure, axes = plotting.figure(1, len(flows), size=(4.2, 2.6))
    for ax, (name, found) in zip(axes[0], flows.items(), strict=True):
        grid = found.step.grid
        warmth = np.asarray(found.state.scalars["temperature"])
        x, y = (np.asarray(line) for line in grid.edges)
        drawn = ax.pcolormesh(x, y, warmth.T, cmap="inferno", vmin=0, vmax=1, rasterized=True)
        angles = np.linspace(0, 2 * np.pi, 100)
        ax.fill(CENTRE[0] + 0.5 * np.cos(angles), CENTRE[1] + 0.5 * np.sin(angles), color="0.6")
        ax.set(title=name, xlim=(-2, 8), ylim=(-3, 3), xlabel="x / D", ylabel="y / D")
        ax.set_aspect("equal")
        ax.grid(False)
        figure.colorbar(drawn, ax=ax, label="temperature")
    plotting.save(figure, folder / "temperature.png")


EXPERIMENT = Experiment(
    name="heated-cylinder",
    summary="heat from a warm cylinder in a cold stream beside published Nusselt numbers",
    presets={
        "quick": Config(),
        "full": Config(
            reynolds=(20.0, 40.0, 100.0), cells=32, coarser=22, far=40.0, time=120.0, counted=50.0
        ),
    },
    run=run,
)
