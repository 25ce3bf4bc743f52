"""Air in a square box between a hot and a cold wall, and the heat that it carries across.

    du/dt + (u . grad) u = -grad p + Pr lap u + Ra Pr T e_y,   div u = 0
    dT/dt + u . grad T = lap T,   T = 1 on the left, 0 on the right, insulated below and above

Lengths are in sides of the box, times in those that heat takes to diffuse across it. The Nusselt
number is the heat that crosses the box over what conduction alone would carry (G. de Vahl Davis,
Int. J. Numer. Meth. Fluids 3 (1983) 249; air, Pr = 0.71). The flow is marched until it is steady,
on cells graded towards the walls.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow, Scalar
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    central,
    incompressible,
    scalar_through_sides,
    wall,
)
from jaxpbdl.solvers.time import substepped

SOURCE = "de Vahl Davis 1983, extrapolated from grids of up to 81 x 81"
TABLE = {
    "nusselt": {"1e3": 1.118, "1e4": 2.243, "1e5": 4.519, "1e6": 8.800},
    "u_max": {"1e3": 3.649, "1e4": 16.178, "1e5": 34.73, "1e6": 64.63},
    "v_max": {"1e3": 3.697, "1e4": 19.617, "1e5": 68.59, "1e6": 219.36},
}
"""By the Rayleigh number; velocities are the largest on the middle lines."""
INTERVAL = 0.02
"""Between two looks at the Nusselt number."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flow."""

    seed: int = 0
    """Of nothing: the flow is not random."""
    rayleigh: tuple[Positive, ...] = (1e3, 1e4, 1e5)
    prandtl: Positive = 0.71
    cells: Count = 48
    """Along a side."""
    grading: float = 0.5
    """From 0, equal cells, to below 1, where those at the walls vanish."""
    tolerance: Positive = 2e-5
    """Relative change of the Nusselt number in an interval of 0.02 below which a flow is steady."""
    longest: Positive = 3.0
    """Time after which one that is not is given up."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.grading < 1:
            raise ValueError(f"grading must be in [0, 1), got {self.grading}")

    @property
    def grid(self) -> Cells:
        line = np.linspace(0, 1, self.cells + 1)
        edges = line - self.grading * np.sin(2 * np.pi * line) / (2 * np.pi)
        return Cells((self.cells, self.cells), edges=(edges, edges))


class Steady(NamedTuple):
    """A flow that does not change any more; `change`: of the Nusselt number in the last interval,
    relative."""

    state: Flow
    nusselt: float
    change: float


def cavity(config: Config, rayleigh: float, dt: float) -> IncompressibleStep:
    """The step of the heated box."""
    heat = Scalar(1.0, buoyancy=(0.0, rayleigh * config.prandtl), reference=0.5)
    air = IncompressibleFlow(config.prandtl, scalars={"temperature": heat})
    sides = (wall(temperature=1.0), wall(temperature=0.0)), wall()
    return incompressible(air, config.grid, dt, sides, scalar_interpolation=central)


def heat_flows(step: IncompressibleStep, state: Flow) -> jax.Array:
    """What enters through the hot wall, and leaves through the cold one, a unit of time."""
    through = scalar_through_sides(step, state, "temperature")[0]
    assert through is not None  # the axis has walls
    return jnp.stack([through[0], -through[1]])


def steady(config: Config, rayleigh: float) -> Steady:
    """March from conduction to a steady flow."""
    slow = cavity(config, rayleigh, 1e-6)
    state = slow.start(temperature=lambda point: 1 - point[0])
    # Faster than any flow to come: velocities of the table are 0.26 of this root at most.
    fast = _moving(slow, state, 0.5 * np.sqrt(rayleigh * config.prandtl))
    turn = jax.jit(substepped(lambda dt: cavity(config, rayleigh, dt), INTERVAL, fast))
    look = jax.jit(lambda state: heat_flows(slow, state))
    nusselt, change = 1.0, 1.0
    while change > config.tolerance and float(state.time) < config.longest:
        state = turn(state)
        hot, cold = (float(one) for one in look(state))
        change = max(abs(hot - nusselt), abs(hot - cold)) / hot
        nusselt = hot
    return Steady(state, nusselt, change)


def _moving(step: IncompressibleStep, state: Flow, speed: float) -> Flow:
    """The state with a uniform vertical velocity, for the stability limit."""
    u, v = state.velocity
    return state._replace(velocity=(0 * u + speed / 2, 0 * v + speed))


def run(config: Config, folder: Path) -> Result:
    """Solve at every Rayleigh number; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    flows = {}
    for rayleigh in config.rayleigh:
        name = label(rayleigh)
        flows[name] = found = steady(config, rayleigh)
        u, v = (np.asarray(part) for part in found.state.velocity)
        middle = config.cells // 2
        metrics[f"nusselt_{name}"] = found.nusselt
        metrics[f"u_max_{name}"] = peak(config.grid.centres[1], u[middle])
        metrics[f"v_max_{name}"] = peak(config.grid.centres[0], v[:, middle])
        metrics[f"change_{name}"] = found.change
        for quantity, values in TABLE.items():
            if name in values and config.prandtl == 0.71:
                published[f"{quantity}_{name}"] = Published(values[name], SOURCE)
    _picture(config, flows, folder)
    return Result(metrics, published)


def label(rayleigh: float) -> str:
    """Such as 1e3, or 2p5e4 for 25000: names of metrics have no point."""
    mantissa, exponent = f"{rayleigh:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace(".", "p")


def peak(places: np.ndarray, values: np.ndarray) -> float:
    """The largest value between places, of the parabola through the three about it."""
    at = int(np.clip(np.argmax(values), 1, len(values) - 2))
    curve = np.polyfit(places[at - 1 : at + 2] - places[at], values[at - 1 : at + 2], 2)
    return float(curve[2] - curve[1] ** 2 / (4 * curve[0]))


def _picture(config: Config, flows: dict[str, Steady], folder: Path) -> None:
    """`temperature.png`: temperature, and the lines along which the air goes."""
    figure, axes = plotting.figure(1, len(flows), size=(2.6, 2.6))
    grid = config.grid
    x, y = (np.asarray(line) for line in grid.edges)
    for ax, (name, found) in zip(axes[0], flows.items(), strict=True):
        warmth = np.asarray(found.state.scalars["temperature"])
        ax.pcolormesh(x, y, warmth.T, cmap="coolwarm", vmin=0, vmax=1, rasterized=True)
        # The stream function at the corners: what flows between a corner and the floor.
        u = np.asarray(found.state.velocity[0])
        stream = np.concatenate([np.zeros((len(x), 1)), np.cumsum(u * grid.widths[1], 1)], 1)
        levels = np.linspace(stream.min(), stream.max(), 11)[1:-1]
        ax.contour(x, y, stream.T, levels, colors="black", linewidths=0.6, linestyles="solid")
        ax.set(title=f"Ra {name}, Nu {found.nusselt:.3f}", xticks=[], yticks=[], aspect="equal")
    plotting.save(figure, folder / "temperature.png")


EXPERIMENT = Experiment(
    name="heated-cavity",
    summary="heat that air carries between a hot and a cold wall, against de Vahl Davis",
    presets={
        "quick": Config(),
        "full": Config(rayleigh=(1e3, 1e4, 1e5, 1e6), cells=96),
    },
    run=run,
)
