"""A cylinder that rotates in a stream, and one that oscillates in fluid at rest.

Lengths are in diameters, velocities in that of the stream or the largest of the cylinder. The rate
is the speed of the surface over that of the stream, anticlockwise, so that the lift points down.
Coefficients are forces over half the density times the squared velocity times the diameter.

The oscillating cylinder moves as `-A sin(2 pi t / KC)`, `A = KC / 2 pi`. Its force is fitted by

    F = -1/2 C_D |U| U - pi/4 C_M dU/dt

(Morison's equation) over the last period, by least squares.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import Cells, graded
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    force_on_body,
    incompressible,
    inflow,
    moving,
    outflow,
    sliding,
    slip,
    spin,
    stable_dt,
    torque_on_body,
)

KANG = "Kang, Choi and Lee 1999, Phys. Fluids 11, 3312, as later papers quote it"
MITTAL = "Mittal and Kumar 2003, J. Fluid Mech. 476, 303, as later papers quote it"
DUETSCH = "Duetsch et al. 1998, J. Fluid Mech. 360, 249"
ROTATING = {
    (100.0, 1.0): (
        {"mean_lift": -2.4881, "mean_drag": 1.1040, "strouhal": 0.1655},
        KANG,
    ),
    (200.0, 3.0): ({"mean_lift": -10.366, "mean_drag": 0.035}, MITTAL),
}
"""By Reynolds number and rate."""
OSCILLATING = {(100.0, 5.0): {"drag_coefficient": 2.09, "added_mass": 1.45}}
"""By Reynolds number and Keulegan-Carpenter number."""
CENTRE = (0.003, 0.002)
"""Off the faces of the grid."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the flows."""

    seed: int = 0
    """Of nothing: the flows are not random."""
    reynolds: tuple[Positive, ...] = (100.0,)
    """Of the rotating cylinders, one each."""
    rates: tuple[float, ...] = (1.0,)
    cells: Count = 16
    """A diameter, near the cylinder."""
    far: Positive = 20.0
    """Distance of the sides, in diameters."""
    time: Positive = 110.0
    """Of a rotating cylinder, in diameters over velocity of the stream."""
    counted: Positive = 40.0
    """The last part of it, of which means are taken."""
    oscillating_reynolds: Positive = 100.0
    keulegan_carpenter: Positive = 5.0
    """Period times velocity over diameter."""
    periods: Count = 4
    """Of the oscillation, of which the last counts."""
    oscillating_far: Positive = 10.0
    """Distance of the sides from the oscillating cylinder."""

    def __post_init__(self):
        super().__post_init__()
        if len(self.reynolds) != len(self.rates):
            raise ValueError(
                f"rates must be as many as reynolds, {len(self.reynolds)}; got {len(self.rates)}"
            )
        if not self.counted < self.time:
            raise ValueError(f"counted must be below time = {self.time}, got {self.counted}")


def rotating(config: Config, reynolds: float, rate: float) -> IncompressibleStep:
    """The step of a cylinder that rotates in a stream."""
    width, far = 1 / config.cells, config.far
    x = graded(-far, 1.5 * far, (-0.75, 1.5), width, 1.06)
    y = graded(-far, far, (-0.75, 0.75), width, 1.06)
    grid = Cells((len(x) - 1, len(y) - 1), edges=(x, y))
    fastest = 1.6 + abs(rate)
    dt = 0.8 * stable_dt((fastest, 0.8 * fastest), (width, width), 1 / reynolds)
    body = sliding(Ball(CENTRE, 0.5), spin(CENTRE, 2 * rate))
    sides = ((inflow((1.0, 0.0)), outflow()), slip())
    return incompressible(IncompressibleFlow(1 / reynolds), grid, dt, sides, body=body)


def turned(config: Config, reynolds: float, rate: float) -> tuple[dict[str, float], Flow]:
    """Mean lift, drag and torque, the amplitude of the lift and its Strouhal number (zero for a
    steady flow), and the flow before they are counted."""
    step = rotating(config, reynolds, rate)
    every = 20
    steps = every * round(config.time / float(step.dt) / every)

    def seen(state: Flow) -> tuple[jnp.ndarray, ...]:
        return state.time, 2 * force_on_body(step, state), 2 * torque_on_body(step, state, CENTRE)

    def kicked(point: jnp.ndarray) -> jnp.ndarray:
        return jnp.stack([1.0 + 0 * point[0], jnp.exp(-jnp.sum((point - 1.0) ** 2))])

    counted = every * round(config.counted / float(step.dt) / every)
    develop = jax.jit(jp.repeat(step, steps - counted, checkpoint=False))
    developed = develop(step.start(kicked))
    series = jp.rollout(step, developed, counted, every, observe=seen, checkpoint=False)
    times, force, torque = (np.asarray(part) for part in series)
    drag, lift = force.T
    amplitude = (lift.max() - lift.min()) / 2
    found = {
        "mean_lift": lift.mean(),
        "mean_drag": drag.mean(),
        "lift_amplitude": amplitude,
        "strouhal": frequency(times, lift) if amplitude > 0.01 else 0.0,
        "mean_torque": torque.mean(),
    }
    return {name: float(value) for name, value in found.items()}, developed


def frequency(times: np.ndarray, values: np.ndarray) -> float:
    """Of rises through the mean, between the first and the last; zero where there is but one."""
    values = values - values.mean()
    at = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    share = -values[at] / (values[at + 1] - values[at])
    rises = times[at] + share * (times[at + 1] - times[at])
    return (len(rises) - 1) / (rises[-1] - rises[0]) if len(rises) > 1 else 0.0


def oscillation(config: Config) -> IncompressibleStep:
    """The step of a cylinder that oscillates in fluid at rest."""
    width, far, period = 1 / config.cells, config.oscillating_far, config.keulegan_carpenter
    amplitude = period / (2 * np.pi)
    reach = amplitude + 0.75
    x = graded(-far, far, (-reach, reach), width, 1.08)
    y = graded(-far, far, (-0.75, 0.75), width, 1.08)
    grid = Cells((len(x) - 1, len(y) - 1), edges=(x, y))
    viscosity = 1 / config.oscillating_reynolds
    limit = 0.8 * stable_dt((1.6, 1.2), (width, width), viscosity)
    dt = period / (20 * np.ceil(period / float(limit) / 20))

    def path(time: jnp.ndarray) -> jnp.ndarray:
        return jnp.stack([-amplitude * jnp.sin(2 * jnp.pi * time / period), 0 * time])

    body = moving(Ball(CENTRE, 0.5), path)
    return incompressible(IncompressibleFlow(viscosity), grid, dt, (slip(), slip()), body=body)


def oscillated(config: Config) -> tuple[dict[str, float], Flow]:
    """The coefficients of Morison's equation, the largest drag, what is left of the force, and the
    flow at the beginning of the last period."""
    step, period = oscillation(config), config.keulegan_carpenter
    steps = round(period / float(step.dt))
    start = step.start()
    if config.periods > 1:
        develop = jp.repeat(step, steps * (config.periods - 1), checkpoint=False)
        start = jax.jit(develop)(start)

    def seen(state: Flow) -> tuple[jnp.ndarray, ...]:
        return state.time, 2 * force_on_body(step, state)

    every = steps // 20
    times, force = jp.rollout(step, start, steps, every, observe=seen, checkpoint=False)
    drag, added, left = morison(np.asarray(times)[:-1], np.asarray(force)[:-1, 0], period)
    found = {
        "drag_coefficient": drag,
        "added_mass": added,
        "unexplained": left,
        "largest_force": float(np.abs(np.asarray(force)[:, 0]).max()),
    }
    return found, start


def morison(times: np.ndarray, force: np.ndarray, period: float) -> tuple[float, float, float]:
    """C_D and C_M of a force coefficient, and what is left of it, relative."""
    phase = 2 * np.pi * times / period
    speed, acceleration = -np.cos(phase), 2 * np.pi / period * np.sin(phase)
    parts = np.stack([-np.abs(speed) * speed, -np.pi / 2 * acceleration], axis=1)
    (drag, added), *_ = np.linalg.lstsq(parts, force, rcond=None)
    left = np.linalg.norm(force - parts @ [drag, added]) / np.linalg.norm(force)
    return float(drag), float(added), float(left)


def run(config: Config, folder: Path) -> Result:
    """Solve all flows; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    flows: dict[str, tuple[IncompressibleStep, Flow]] = {}
    for reynolds, rate in zip(config.reynolds, config.rates, strict=True):
        name = f"re{reynolds:g}_rate{rate:g}".replace(".", "p")
        found, end = turned(config, reynolds, rate)
        flows[name] = rotating(config, reynolds, rate), end
        metrics |= {f"{name}.{metric}": value for metric, value in found.items()}
        figures, source = ROTATING.get((reynolds, rate), ({}, ""))
        published |= {f"{name}.{m}": Published(value, source) for m, value in figures.items()}
    found, end = oscillated(config)
    flows["oscillating"] = oscillation(config), end
    metrics |= {f"oscillating.{metric}": value for metric, value in found.items()}
    figures = OSCILLATING.get((config.oscillating_reynolds, config.keulegan_carpenter), {})
    published |= {f"oscillating.{m}": Published(value, DUETSCH) for m, value in figures.items()}
    _picture(flows, folder)
    return Result(metrics, published)


def _picture(flows: dict[str, tuple[IncompressibleStep, Flow]], folder: Path) -> None:
    """`vorticity.png`, near the cylinders."""
    figure, axes = plotting.figure(1, len(flows), size=(4.0, 2.6))
    for ax, (name, (step, state)) in zip(axes[0], flows.items(), strict=True):
        vorticity = np.asarray(step.grid.vorticity(state.velocity))
        x, y = (np.asarray(line)[1:-1] for line in step.grid.edges)
        ax.pcolormesh(
            x, y, vorticity.T, cmap="RdBu_r", vmin=-4, vmax=4, shading="nearest", rasterized=True
        )
        ax.set(title=name, xlim=(-2.5, 6), ylim=(-2.5, 2.5), xticks=[], yticks=[], aspect="equal")
    plotting.save(figure, folder / "vorticity.png")


EXPERIMENT = Experiment(
    name="rotating-cylinder",
    summary="lift and drag of a rotating and of an oscillating cylinder, against published figures",
    presets={
        "quick": Config(),
        "full": Config(
            reynolds=(100.0, 200.0), rates=(1.0, 3.0), cells=32, far=40.0, time=160.0, periods=6
        ),
    },
    run=run,
)
