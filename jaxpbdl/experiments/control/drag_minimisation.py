"""The shape of minimum drag at a given area, by the gradient of the flow with respect to the shape.

A body in a uniform stream, its outline `radius exp(sum_k a_k cos k angle + b_k sin k angle)` with
the radius that keeps the area. Each turn goes on from the flow of the one before, lets it settle
about the new shape, and follows the gradient of the drag over the last part of it: through the
steps, the pressure, the openings of the cells and the velocity continued into the body. The
gradient is compared with finite differences along random directions, over a short horizon and over
the whole.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.learning.progress import report
from jaxpbdl.shapes import Star
from jaxpbdl.solvers.flow import (
    Flow,
    IncompressibleStep,
    force_on_body,
    incompressible,
    inflow,
    outflow,
    slip,
    stable_dt,
)

MOSAIC = "the directional derivative's bar in a public benchmark of solver gradients (Mosaic)"
NUDGE = 1e-6


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in diameters of the disc of the same area."""

    seed: int = 0
    """Of the directions in which the gradient is checked."""
    reynolds: Positive = 40.0
    cells: Annotated[int, at_least(6)] = 12
    """Per diameter."""
    waves: Count = 5
    """Of the outline."""
    turns: Count = 40
    horizon: Positive = 6.0
    """Time of a turn; the drag is the mean over its second half."""
    learning_rate: Positive = 0.06


Coefficients = tuple[Array, Array]
"""Cosines and sines of the outline, times the square of their number: equal steps in them change
its curvature, not its wiggles, equally."""


def outline(coefficients: Coefficients) -> Star:
    """The shape with the area of a disc of diameter one."""
    squares = jnp.arange(1, len(coefficients[0]) + 1) ** 2
    cosines, sines = (values / squares for values in coefficients)
    bare = Star((0.0, 0.0), 1.0, cosines, sines)
    return eqx.tree_at(lambda s: s.radius, bare, jnp.sqrt(jnp.pi / 4 / bare.area))


class Stream(eqx.Module):
    """A box about the body, with space for other outlines."""

    grid: jp.grids.Cells
    viscosity: float
    dt: float
    max_cut_faces: int = eqx.field(static=True)

    def __init__(self, config: Config):
        width = 1 / config.cells
        x = jp.grids.graded(-5.0, 10.0, (-1.2, 1.4), width, 1.1)
        y = jp.grids.graded(-5.0, 5.0, (-0.9, 0.9), width, 1.12)
        self.grid = jp.grids.Cells((len(x) - 1, len(y) - 1), edges=(x, y))
        self.viscosity = 1 / config.reynolds
        self.dt = float(0.7 * stable_dt((1.6, 1.0), (width, width), self.viscosity))
        none = jnp.zeros(config.waves)
        # Twice the faces that the disc cuts: longer outlines cut more.
        self.max_cut_faces = 2 * self.step((none, none), None).surface_faces

    def step(self, coefficients: Coefficients, max_cut_faces: int | None) -> IncompressibleStep:
        sides = ((inflow((1.0, 0.0)), outflow()), slip())
        equation = IncompressibleFlow(self.viscosity)
        shape = outline(coefficients)
        return incompressible(
            equation, self.grid, self.dt, sides, body=shape, max_cut_faces=max_cut_faces
        )

    def drag(
        self, coefficients: Coefficients, start: Flow, steps: int
    ) -> tuple[Float[Array, ""], Flow]:
        """The mean drag coefficient over the second half of `steps`, and the flow at the end."""
        step = self.step(coefficients, self.max_cut_faces)
        settled = Flow(step.projected(start.velocity, start.time)[0], start.time)

        def seen(flow: Flow) -> tuple[Array, Flow]:
            return 2 * force_on_body(step, flow)[0], flow

        drags, flows = jp.rollout(step, settled, steps, steps // 16, observe=seen)
        return jnp.mean(drags[9:]), jax.tree.map(lambda leaf: leaf[-1], flows)


@eqx.filter_jit
def _drag(
    stream: Stream, coefficients: Coefficients, start: Flow, steps: int
) -> tuple[Array, Flow]:
    return stream.drag(coefficients, start, steps)


@eqx.filter_jit
def _slope(
    stream: Stream, coefficients: Coefficients, start: Flow, steps: int
) -> tuple[tuple[Array, Flow], Coefficients]:
    """`drag` with the flow, and its gradient with respect to the coefficients."""

    def drag(coefficients: Coefficients) -> tuple[Array, Flow]:
        return stream.drag(coefficients, start, steps)

    return jax.value_and_grad(drag, has_aux=True)(coefficients)


def run(config: Config, folder: Path) -> Result:
    """Check the gradient, follow it, draw; pictures go to `folder`."""
    with jax.enable_x64(True):
        return _run(config, folder)


def _run(config: Config, folder: Path) -> Result:
    stream = Stream(config)
    none = (jnp.zeros(config.waves), jnp.zeros(config.waves))
    steps = 16 * max(1, round(config.horizon / stream.dt / 16))
    first = stream.step(none, stream.max_cut_faces).start((1.0, 0.0))
    flow = first
    for _ in range(4):
        before, flow = _drag(stream, none, flow, steps)
    metrics = {"disc.drag": float(before)}
    checked = {
        "gradient.short": _mismatch(stream, first, 32, config),
        "gradient.long": _mismatch(stream, flow, steps, config),
    }

    optimiser = optax.adam(config.learning_rate)
    coefficients: Any = none
    optimiser_state = optimiser.init(coefficients)
    drags, shapes = [], []
    with report("drag-minimisation", 0, config.turns, True) as progress:
        for turn in range(config.turns):
            (drag, flow), change = _slope(stream, coefficients, flow, steps)
            drags.append(float(drag))
            shapes.append(coefficients)
            updates, optimiser_state = optimiser.update(change, optimiser_state)
            coefficients = optax.apply_updates(coefficients, updates)
            progress(turn + 1, drags[-1], float("nan"))
    for _ in range(3):
        after, flow = _drag(stream, coefficients, flow, steps)
    metrics["optimal.drag"] = float(after)
    metrics["reduction"] = 1 - metrics["optimal.drag"] / metrics["disc.drag"]
    metrics["area_error"] = abs(float(outline(coefficients).area) / (np.pi / 4) - 1)
    _picture(stream, [*shapes, coefficients], drags, flow, folder / "shape.png")
    bar = Published(1e-3, MOSAIC)
    published = {name: bar for name in checked}
    return Result({**metrics, **checked}, published, {"drag": np.asarray(drags)})


def _mismatch(stream: Stream, start: Flow, steps: int, config: Config) -> float:
    """The largest relative distance of the gradient along three random directions from central
    differences, about a shape that is no disc."""
    keys = jax.random.split(jax.random.key(config.seed), 4)

    def some(key: Array) -> Coefficients:
        values = jax.random.normal(key, (2, config.waves))
        return values[0], values[1]

    at = jax.tree.map(lambda value: 0.1 * value, some(keys[0]))
    _, slope = _slope(stream, at, start, steps)
    worst = 0.0
    for key in keys[1:]:
        direction = some(key)
        along = sum(float(jnp.vdot(a, b)) for a, b in zip(slope, direction, strict=True))
        near = [
            jax.tree.map(lambda a, d, s=sign: a + s * NUDGE * d, at, direction) for sign in (1, -1)
        ]
        up, down = (_drag(stream, place, start, steps)[0] for place in near)
        difference = float(up - down) / (2 * NUDGE)
        worst = max(worst, abs(along - difference) / abs(difference))
    return worst


def _picture(
    stream: Stream, shapes: list[Coefficients], drags: list[float], flow: Flow, path: Path
) -> None:
    figure, axes = plotting.figure(1, 3, size=(3.6, 2.8))
    angles = np.linspace(0, 2 * np.pi, 200)
    for share in (0.0, 0.25, 1.0):
        coefficients = shapes[round(share * (len(shapes) - 1))]
        star = outline(coefficients)
        radius = np.exp([float(star.logarithm(angle)[0]) for angle in angles])
        axes[0, 0].plot(radius * np.cos(angles), radius * np.sin(angles), label=f"{share:.0%}")
    axes[0, 0].set(title="outline over the turns", aspect="equal")
    axes[0, 0].legend(fontsize=7)
    axes[0, 1].plot(drags, color=plotting.LINES[0])
    axes[0, 1].set(title="drag coefficient", xlabel="turn")
    speed = np.linalg.norm(np.asarray(stream.grid.to_cells(flow.velocity)), axis=0)
    x, y = stream.grid.centres
    axes[0, 2].pcolormesh(x, y, speed.T, shading="nearest", cmap="viridis")
    axes[0, 2].set(title="speed", xlim=(-1.5, 3), ylim=(-1.5, 1.5), aspect="equal")
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="drag-minimisation",
    summary="the shape of minimum drag at a given area, by gradients through the flow",
    presets={
        "quick": Config(),
        "full": Config(cells=24, waves=8, turns=100, horizon=12.0, learning_rate=0.03),
    },
    run=run,
)
