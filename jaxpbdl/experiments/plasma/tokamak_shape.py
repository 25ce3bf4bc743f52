"""Coil currents that give the plasma of a tokamak a wanted boundary.

The machine is of the size of TCV (major radius 0.88 m, vessel 1.50 m x 0.512 m; Degrave et al.,
Nature 602 (2022) 414), with eight coils on each side; their places are not those of TCV. A target
boundary is

    R = R_0 + a cos(t + asin(delta) sin t),   Z = elongation a sin t

with an X-point beneath where it is diverted. Least squares on the flux at its points less that of
the boundary, through the implicit derivative of the free-boundary equilibrium; beside it the
simplex method of Nelder and Mead on the same sum of squares. Both start from the currents that suit
a plasma of elliptic shape whose current is not an equilibrium.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.inference import least_squares
from jaxpbdl.solvers.plasma import (
    AxisPressure,
    Equilibrium,
    PowerShape,
    Rectangle,
    ShapeTargets,
    Tokamak,
    coils,
    filaments,
    free_boundary,
    round_plasma,
    tokamak,
)

RADIUS = 0.88
"""Of the machine and its profiles, in m."""
VESSEL = (0.624, 1.136), 0.75
"""Radii of the walls, half the height."""
CONVERGED = 1e-6
"""Residual of an equilibrium above which a trial counts as failed."""
FAILED = 1e2
"""Residual in cm of each point of such a trial."""


class Target(NamedTuple):
    """A boundary: centre and half the width (m), elongation, triangularity, and whether there is an
    X-point beneath."""

    radius: float
    minor: float
    elongation: float
    triangularity: float
    diverted: bool

    @property
    def x_point(self) -> np.ndarray:
        """Where it is, or would be: a tenth beyond the lowest point."""
        radius = self.radius - 1.1 * self.triangularity * self.minor
        return np.array([radius, -1.1 * self.elongation * self.minor])

    def points(self, count: int) -> np.ndarray:
        """Points `(count, 2)` of the boundary; none near an X-point."""
        gap = 0.8 if self.diverted else np.pi / count
        t = np.linspace(gap - np.pi / 2, 1.5 * np.pi - gap, count)
        across = np.cos(t + np.arcsin(self.triangularity) * np.sin(t))
        return np.stack(
            [self.radius + self.minor * across, self.elongation * self.minor * np.sin(t)], axis=-1
        )


TARGETS = {
    "limited": Target(0.86, 0.235, 1.1, 0.0, False),
    "elongated": Target(0.87, 0.22, 1.5, 0.2, True),
    "negative": Target(0.88, 0.22, 1.3, -0.2, True),
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings. Nothing is random: `seed` is of no account."""

    seed: int = 0
    nodes: Count = 33
    """Along R; twice as many along Z."""
    points: Count = 32
    """Of a boundary."""
    current: Positive = 1.5e5
    """Of the plasma, in A."""
    pressure: Positive = 3e3
    """On the axis, in Pa."""
    steps: Count = 15
    """Of least squares, at most."""
    simplex_solves: Count = 150
    """Equilibria that the method without derivatives may solve for."""


QUICK = Config()
FULL = Config(nodes=65, steps=30, simplex_solves=1000)


def machine(config: Config) -> Tokamak:
    """Eight coils within and eight without, in a grid that reaches a little beyond the vessel."""
    (inner, outer), half = VESSEL
    heights = 0.11 + 0.22 * np.arange(4)
    heights = np.concatenate([-heights[::-1], heights])
    circuits = [filaments(radius, height) for radius in (0.505, 1.31) for height in heights]
    grid = Rectangle((config.nodes, 2 * config.nodes - 1), (0.56, -0.85), (1.2, 0.85))
    corners = [[inner, -half], [outer, -half], [outer, half], [inner, half]]
    return tokamak(grid, coils(*circuits), corners)


class Problem(eqx.Module):
    """One target: from the currents in kA to residuals. All targets share one compiled program."""

    machine: Tokamak
    profile: AxisPressure
    plasma: Float[Array, "nr nz"]
    """The start of each equilibrium."""
    points: Float[Array, "n 2"]
    x_point: Float[Array, "2"]
    minor: Float[Array, ""]
    weight: Float[Array, ""]
    """Of the field at the X-point, zero for none."""

    def solve(self, currents: Float[Array, " circuits"]) -> Equilibrium:
        """The equilibrium of currents in kA."""
        return free_boundary(
            self.machine, 1e3 * currents, self.profile, start=self.plasma, picard=4, tolerance=1e-9
        )

    def __call__(self, currents: Float[Array, " circuits"]) -> Float[Array, " residuals"]:
        """About the distances in cm, and the currents so weakly that they do not count."""
        found, grid = self.solve(currents), self.machine.grid
        unit = 100 * self.minor / (2 * (found.axis_flux - found.boundary_flux))
        flux = jax.vmap(lambda point: grid.at(found.psi, point))(self.points)
        slope = self.weight * self.minor * grid.gradient_at(found.psi, self.x_point)
        every = unit * jnp.concatenate([flux - found.boundary_flux, slope])
        every = jnp.where(found.residual < CONVERGED, every, FAILED)
        return jnp.concatenate([every, 1e-3 * currents])

    def first(self) -> Float[Array, " circuits"]:
        """Currents in kA that suit the plasma at the start, in the sense of least squares."""
        targets = ShapeTargets(self.x_point[None], self.points)
        grid, count = self.machine.grid, self.machine.coils.count
        matrix = jax.vmap(lambda psi: targets.rows(grid, psi), out_axes=1)(self.machine.response)
        small = 1e-2 * jnp.linalg.norm(matrix, 2) * jnp.eye(count)
        rows = jnp.concatenate([targets.rows(grid, self.plasma), jnp.zeros(count)])
        return -jnp.linalg.lstsq(jnp.concatenate([matrix, small]), rows)[0] / 1e3


def problem(tokamak: Tokamak, target: Target, config: Config) -> Problem:
    """The search for the currents of a target."""
    size = target.minor, target.elongation * target.minor
    return Problem(
        tokamak,
        AxisPressure(PowerShape(1.0, 1.5), config.current, config.pressure, RADIUS),
        round_plasma(tokamak, config.current, (target.radius, 0.0), size),
        jnp.asarray(target.points(config.points)),
        jnp.asarray(target.x_point),
        jnp.asarray(target.minor),
        jnp.asarray(0.2 * target.diverted),
    )


def boundary_distances(tokamak: Tokamak, found: Equilibrium, points: np.ndarray) -> np.ndarray:
    """From points to the boundary along rays from the axis, in m; NaN where it is not met."""
    grid, axis = tokamak.grid, np.asarray(found.axis)
    distance = np.linalg.norm(points - axis, axis=-1)
    reach = np.linspace(0.2, 1.5, 600)
    places = axis + reach[:, None, None] * (points - axis)
    places = np.clip(places, grid.lower, grid.upper)
    x = np.asarray(_looked_at(grid, found.normalised(), jnp.asarray(places)))
    result = np.full(len(points), np.nan)
    for k, values in enumerate(x.T):
        beyond = np.flatnonzero(values >= 1)
        if len(beyond) and beyond[0] > 0:
            i = beyond[0]
            share = (1 - values[i - 1]) / (values[i] - values[i - 1])
            result[k] = (reach[i - 1] + share * (reach[1] - reach[0]) - 1) * distance[k]
    return result


@eqx.filter_jit
def _looked_at(grid: Rectangle, x: Array, places: Array) -> Array:
    return jax.vmap(jax.vmap(lambda point: grid.at(x, point)))(places)


def simplex(problem: Problem, solves: int) -> tuple[np.ndarray, int]:
    """The currents that Nelder and Mead's method reaches, and its solves."""
    from scipy.optimize import minimize

    start = np.asarray(problem.first())
    residuals = eqx.filter_jit(problem)
    scale = np.max(np.abs(start))

    def loss(x: np.ndarray) -> float:
        value = float(jnp.sum(residuals(jnp.asarray(scale * x)) ** 2))
        return value if np.isfinite(value) else 1e9

    corners = np.concatenate([np.zeros((1, len(start))), 0.05 * np.eye(len(start))])
    found = minimize(
        loss, start / scale, method="Nelder-Mead",
        options={"maxfev": solves, "initial_simplex": start / scale + corners, "adaptive": True},
    )  # fmt: skip
    return scale * found.x, int(found.nfev)


def run(config: Config, folder: Path) -> Result:
    """Search for the currents of all targets; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    shown: dict[str, Equilibrium] = {}
    with jax.enable_x64(True):
        tokamak = machine(config)
        for name, target in TARGETS.items():
            task = problem(tokamak, target, config)
            start = task.first()
            points = target.points(config.points)
            metrics[f"{name}.start_error_cm"] = _error(task, start, points)
            begin = time.perf_counter()
            found = least_squares(task, start, steps=config.steps)
            jax.block_until_ready(found.values)
            metrics[f"{name}.boundary_error_cm"] = _error(task, found.values, points)
            metrics[f"{name}.seconds"] = time.perf_counter() - begin
            metrics[f"{name}.solves"] = float(found.steps)
            shown[name] = task.solve(found.values)
            if target.diverted:
                places = np.asarray(shown[name].surfaces.x_points)
                off = np.linalg.norm(places - target.x_point, axis=-1)
                metrics[f"{name}.x_point_error_cm"] = 100 * float(np.nanmin(off))
            begin = time.perf_counter()
            values, solves = simplex(task, config.simplex_solves)
            metrics[f"{name}.simplex_seconds"] = time.perf_counter() - begin
            metrics[f"{name}.simplex_error_cm"] = _error(tokamak, task, jnp.asarray(values), points)
            metrics[f"{name}.simplex_solves"] = float(solves)
        _picture(tokamak, shown, config, folder)
    errors = [metrics[f"{name}.boundary_error_cm"] for name in TARGETS]
    return Result(metrics | {"boundary_error_cm": max(errors)})


def _error(task: Problem, currents: Array, points: np.ndarray) -> float:
    """The largest distance of the boundary from the points of the target, in cm; infinite where
    the equilibrium is not found or does not meet a ray."""
    try:
        distances = boundary_distances(task.machine, task.solve(currents), points)
    except RuntimeError:
        return float("inf")
    return 100 * float(np.max(abs(distances))) if np.all(np.isfinite(distances)) else float("inf")


def _picture(tokamak: Tokamak, shown: dict[str, Equilibrium], config: Config, folder: Path) -> None:
    """`shapes.png`: flux surfaces, the target's points, vessel and coils by their currents."""
    figure, axes = plotting.figure(1, len(shown), size=(2.6, 4.2))
    r, z = tokamak.grid.lines
    (inner, outer), half = VESSEL
    for ax, (name, found) in zip(axes[0], shown.items(), strict=True):
        x = np.asarray(found.normalised()).T
        ax.contour(r, z, x, np.linspace(0.1, 1.5, 15), colors=plotting.LINES[5], linewidths=0.5)
        ax.contour(r, z, x, [1.0], colors=plotting.LINES[0], linewidths=1.6)
        points = TARGETS[name].points(config.points)
        ax.plot(*points.T, ".", color=plotting.LINES[1], markersize=4)
        box = [(inner, -half), (outer, -half), (outer, half), (inner, half), (inner, -half)]
        ax.plot(*np.transpose(box), color="black", linewidth=0.8)
        currents = np.asarray(found.currents)
        limit = np.max(abs(currents))
        ax.scatter(
            tokamak.coils.r, tokamak.coils.z, c=currents, cmap=plotting.SIGNED, vmin=-limit,
            vmax=limit, marker="s", edgecolors="black", linewidths=0.5, s=30,
        )  # fmt: skip
        ax.set(aspect="equal", title=name, xlabel="R (m)")
    axes[0, 0].set_ylabel("Z (m)")
    plotting.save(figure, folder / "shapes.png")


EXPERIMENT = Experiment(
    name="tokamak-shape",
    summary="coil currents for a wanted plasma boundary, by gradients through the equilibrium",
    presets={"quick": QUICK, "full": FULL},
    run=run,
)
