"""The steady flow over a backward-facing step, by Newton's method.

    du/dt + (u . grad) u = -grad p + lap u / Re,   div u = 0

A channel of height 1, twice that of the step: fluid enters through the upper half with the profile
u = 24 y (1/2 - y) of mean velocity 1, y from the middle of the channel. At Re 800, of the channel's
height and the mean velocity, it separates at the step and comes back to the lower wall, and
separates from the upper wall in between (Gartling, Int. J. Numer. Meth. Fluids 11 (1990) 953).
Lengths are from the step, in heights of the channel. Each Reynolds number starts from the flow of
the one before.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells, graded
from jaxpbdl.solvers.flow import (
    Flow,
    SemiImplicitStep,
    incompressible,
    inflow,
    outflow,
    semi_implicit,
    steady,
    wall,
)

SOURCE = "Gartling 1990"
PUBLISHED = {"lower_reattachment": 6.10, "upper_separation": 4.85, "upper_reattachment": 10.48}
"""At Re 800."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flow."""

    seed: int = 0
    """Of nothing: the flow is not random."""
    reynolds: tuple[Positive, ...] = (100.0, 200.0, 400.0, 600.0, 800.0)
    """Each starts from the one before; figures are those of the last."""
    cells: Count = 40
    """Over the height of the channel; along it they are twice as long up to 12 heights."""
    length: Positive = 18.0
    """Of the channel, in heights."""
    dt: Positive = 2.0
    """Of the step that preconditions Newton's equations; the flow does not depend on it."""
    krylov: Count = 150
    """Vectors of GMRES between restarts."""

    @property
    def grid(self) -> Cells:
        width = 2 / self.cells
        along = graded(0.0, self.length, (0.0, min(12.0, self.length)), width, 1.05)
        across = np.linspace(-0.5, 0.5, self.cells + 1)
        return Cells((len(along) - 1, self.cells), edges=(along, across))


def entering(point: jax.Array) -> jax.Array:
    """The velocity at the step."""
    y = point[1]
    return jnp.stack([jnp.where(y > 0, 24 * y * (0.5 - y), 0.0), 0 * y])


def stepped_channel(config: Config, reynolds: float) -> SemiImplicitStep:
    sides = ((inflow(entering), outflow()), wall())
    flow = IncompressibleFlow(1 / reynolds)
    return semi_implicit(incompressible(flow, config.grid, config.dt, sides))


def friction(state: Flow, grid: Cells) -> tuple[np.ndarray, np.ndarray]:
    """du/dn into the fluid at the lower and the upper wall, on the faces along the channel: of the
    parabola through the wall and two cells."""
    u, h = np.asarray(state.velocity[0]), grid.widths[1][0]
    lower, upper = ((9 * u[:, near] - u[:, next_]) / (3 * h) for near, next_ in ((0, 1), (-1, -2)))
    return lower, upper


def crossings(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where values change their sign, on the line between places."""
    before = np.flatnonzero(values[:-1] * values[1:] < 0)
    share = values[before] / (values[before] - values[before + 1])
    return places[before] + share * (places[before + 1] - places[before])


def run(config: Config, folder: Path) -> Result:
    """Solve for the steady flow; a picture goes to `folder`."""
    with jax.enable_x64(True):
        state = stepped_channel(config, config.reynolds[0]).start(entering)
        for reynolds in config.reynolds:
            state = steady(stepped_channel(config, reynolds), state, krylov=config.krylov)
        grid = config.grid
        lower, upper = friction(state, grid)
        x = np.asarray(grid.edges[0])
        # The corner behind the step may hold a small vortex of its own.
        back = crossings(x, lower)[-1:]
        metrics = {"lower_reattachment": float(back[0])} if len(back) else {}
        names = ("upper_separation", "upper_reattachment")
        metrics |= dict(zip(names, map(float, crossings(x, upper)), strict=False))
        _picture(state, grid, folder)
    last = config.reynolds[-1] == 800
    published = {n: Published(v, SOURCE) for n, v in PUBLISHED.items() if last and n in metrics}
    return Result(metrics, published)


def _picture(state: Flow, grid: Cells, folder: Path) -> None:
    """`streamlines.png`: velocity along the channel, and the lines along which the fluid goes."""
    figure, axes = plotting.figure(1, 1, size=(8.0, 2.0))
    x, y = (np.asarray(line) for line in grid.edges)
    u = np.asarray(state.velocity[0])
    stream = np.concatenate([np.zeros((len(x), 1)), np.cumsum(u * grid.widths[1], 1)], 1)
    ax = axes[0, 0]
    ax.pcolormesh(x, y, ((u[1:] + u[:-1]) / 2).T, cmap="RdBu_r", vmin=-1.5, vmax=1.5)
    levels = np.unique(np.concatenate([np.linspace(-0.06, 0, 5), np.linspace(0, 0.5, 9)]))
    ax.contour(x, y, stream.T, levels, colors="black", linewidths=0.6)
    ax.set(xlim=(0, min(14, x[-1])), xlabel="x", ylabel="y")
    plotting.save(figure, folder / "streamlines.png")


EXPERIMENT = Experiment(
    name="backward-step",
    summary="steady flow over a backward-facing step at Re 800 by Newton, against Gartling",
    presets={"quick": Config(), "full": Config(cells=80, length=24.0)},
    run=run,
)
