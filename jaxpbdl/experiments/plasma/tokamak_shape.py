"""Coil currents that give the plasma of a tokamak a wanted boundary.

The machine is of the size of TCV (major radius 0.88 m, vessel 1.50 m x 0.512 m; Degrave et al.,
Nature 602 (2022) 414), with eight coils on each side and two above and below; their places are not
those of TCV. A target boundary is

    R = R_0 + a cos(t + asin(delta) sin t),   Z = elongation a sin t

with an X-point beneath where it is diverted. Least squares on the flux at its points less that of
the boundary, through the implicit derivative of the free-boundary equilibrium (K. Levenberg,
Quart. Appl. Math. 2 (1944) 164); beside it the simplex method of Nelder and Mead on the same sum of
squares. Both start from the equilibrium of `shaped` with a ridge so strong that the boundary is off
by centimetres. The loop over the steps is not compiled: that of `inference.least_squares` has the
equilibrium several times in one program, which takes minutes to compile.
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
from scipy.optimize import OptimizeResult, minimize

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.solvers.plasma import (
    AxisPressure,
    Equilibrium,
    EquilibriumError,
    PowerShape,
    Rectangle,
    ShapeTargets,
    Tokamak,
    coils,
    filaments,
    free_boundary,
    round_plasma,
    shaped,
    tokamak,
)

RADIUS = 0.88
"""Of the machine and its profiles, in m."""
VESSEL = (0.624, 1.136), 0.75
"""Radii of the walls, half the height."""
CONVERGED = 1e-8
"""Residual of an equilibrium above which a trial counts as failed."""
FAILED = 1e2
"""Residual in cm of each point of a trial without an equilibrium."""
SMALL = 1e-3
"""Residual of a current in cm per kA: of currents that fit equally well, small ones."""


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
        """Where it is: a fifth beyond the lowest point of the curve; of a limited plasma well
        beyond, where it does not matter."""
        beyond = 1.2 if self.diverted else 2.0
        radius = self.radius - beyond * self.triangularity * self.minor
        return np.array([radius, -beyond * self.elongation * self.minor])

    def points(self, count: int) -> np.ndarray:
        """Points `(count, 2)` of the boundary; none near an X-point."""
        gap = 1.1 if self.diverted else np.pi / count
        t = np.linspace(gap - np.pi / 2, 1.5 * np.pi - gap, count)
        across = np.cos(t + np.arcsin(self.triangularity) * np.sin(t))
        return np.stack(
            [self.radius + self.minor * across, self.elongation * self.minor * np.sin(t)], axis=-1
        )


TARGETS = {
    "elongated": Target(0.86, 0.235, 1.35, 0.1, False),
    "diverted": Target(0.87, 0.22, 1.5, 0.2, True),
    "negative": Target(0.86, 0.235, 1.25, -0.2, False),
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings."""

    seed: int = 0
    """Of nothing: nothing is random."""
    nodes: Count = 33
    """Along R; twice as many along Z."""
    points: Count = 32
    """Of a boundary."""
    current: Positive = 1.5e5
    """Of the plasma, in A."""
    pressure: Positive = 3e3
    """On the axis, in Pa."""
    ridge: Positive = 3e-7
    """Of the start, in Wb/rad per ampere."""
    steps: Count = 20
    """Of least squares, at most."""
    simplex_solves: Count = 300
    """Equilibria that the method without derivatives may solve for."""


def machine(config: Config) -> Tokamak:
    """Eight coils within, eight without, two above and below; the grid ends inside of them."""
    (inner, outer), half = VESSEL
    heights = 0.11 + 0.22 * np.arange(4)
    heights = np.concatenate([-heights[::-1], heights])
    circuits = [filaments(radius, height) for radius in (0.505, 1.31) for height in heights]
    circuits += [filaments(radius, height) for height in (-0.9, 0.9) for radius in (0.73, 1.03)]
    grid = Rectangle((config.nodes, 2 * config.nodes - 1), (0.56, -0.85), (1.2, 0.85))
    corners = [[inner, -half], [outer, -half], [outer, half], [inner, half]]
    return tokamak(grid, coils(*circuits), corners)


class Search(eqx.Module):
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
            self.machine, 1e3 * currents, self.profile, start=self.plasma, picard=0, tolerance=1e-9
        )

    def residuals(self, found: Equilibrium) -> Float[Array, " residuals"]:
        """About the distances in cm, and the currents so weakly that they hardly count."""
        grid = self.machine.grid
        # A flux that is a parabola across the plasma has this many cm for a unit at its boundary.
        unit = 100 * self.minor / (2 * (found.axis_flux - found.boundary_flux))
        flux = grid.at_each(found.psi, self.points)
        slope = self.weight * self.minor * grid.gradient_at(found.psi, self.x_point)
        every = unit * jnp.concatenate([flux - found.boundary_flux, slope])
        return jnp.concatenate([every, SMALL * found.currents / 1e3])


class Linearised(NamedTuple):
    """The residuals of currents, their derivatives, and what tells whether they are of use."""

    residuals: Float[Array, " residuals"]
    jacobian: Float[Array, "residuals circuits"]
    found: Equilibrium


@eqx.filter_jit
def linearised(task: Search, currents: Float[Array, " circuits"]) -> Linearised:
    """At currents in kA; nothing is raised."""

    def both(values: Array) -> tuple[Array, tuple[Array, Equilibrium]]:
        found = task.solve(values)
        residuals = task.residuals(found)
        return residuals, (residuals, found)

    jacobian, (residuals, found) = jax.jacfwd(both, has_aux=True)(currents)
    return Linearised(residuals, jacobian, found)


class Found(NamedTuple):
    """By a search: the equilibrium, its sum of squares, and how many were solved for."""

    equilibrium: Equilibrium
    loss: float
    solves: int


def levenberg(task: Search, start: Float[Array, " circuits"], steps: int) -> Found:
    """Least squares by the derivatives: a damped Gauss-Newton step, tried again with more damping
    where it does not lower the sum of squares, until that falls by less than a thousandth."""
    currents, damping = np.asarray(start), 1e-3
    here = linearised(task, jnp.asarray(currents))
    loss, solves, settled = float(jnp.sum(here.residuals**2)), 1, False
    while solves < steps and not settled:
        matrix, right = np.asarray(here.jacobian), np.asarray(here.residuals)
        normal = matrix.T @ matrix
        damped = normal + damping * np.diag(np.diag(normal))
        trial = currents - np.linalg.solve(damped, matrix.T @ right)
        one = linearised(task, jnp.asarray(trial))
        solves += 1
        value = float(jnp.sum(one.residuals**2))
        if float(one.found.residual) < CONVERGED and value < loss:
            settled = value > 0.999 * loss
            currents, here, loss, damping = trial, one, value, damping / 5
            # The next equilibrium is nearer to this one than to that of the start.
            task = eqx.tree_at(lambda t: t.plasma, task, one.found.plasma)
        else:
            damping *= 5
    return Found(here.found, loss, solves)


def search(tokamak: Tokamak, target: Target, config: Config) -> tuple[Search, Array]:
    """The search for the currents of a target, and the currents in kA that it starts from."""
    profile = AxisPressure(
        shape=PowerShape(1.0, 1.5),
        current=config.current,
        pressure=config.pressure,
        radius=RADIUS,
    )
    size = target.minor, target.elongation * target.minor
    plasma = round_plasma(tokamak, config.current, (target.radius, 0.0), size)
    points = target.points(config.points)
    last = target.x_point if target.diverted else points[0]
    points = jnp.asarray(np.concatenate([points, last[None]]))
    targets = ShapeTargets(jnp.zeros((0, 2)), points, config.ridge)
    first = shaped(tokamak, targets, profile, start=plasma, picard=6)
    task = Search(
        tokamak,
        profile,
        first.plasma,
        points,
        jnp.asarray(target.x_point),
        jnp.asarray(target.minor),
        jnp.asarray(0.3 * target.diverted),
    )
    return task, first.currents / 1e3


def boundary_distances(
    grid: Rectangle,
    x: Float[Array, "nr nz"],
    axis: Float[Array, "2"],
    points: Float[np.ndarray, "n 2"],
) -> Float[np.ndarray, " n"]:
    """From points to the surface of normalised flux 1 along rays from the axis, in m, positive
    where it lies beyond; NaN where a ray does not meet it."""
    centre = np.asarray(axis)
    distance = np.linalg.norm(points - centre, axis=-1)
    reach = np.linspace(0.2, 1.5, 600)
    places = centre + reach[:, None, None] * (points - centre)
    places = jnp.asarray(np.clip(places, grid.lower, grid.upper))
    flux = np.asarray(grid.at_each(x, places))
    result = np.full(len(points), np.nan)
    for k, values in enumerate(flux.T):
        beyond = np.flatnonzero(values >= 1)
        if len(beyond) and beyond[0] > 0:
            i = beyond[0]
            share = (1 - values[i - 1]) / (values[i] - values[i - 1])
            result[k] = (reach[i - 1] + share * (reach[1] - reach[0]) - 1) * distance[k]
    return result


@eqx.filter_jit
def _sum_of_squares(task: Search, found: Equilibrium) -> Float[Array, ""]:
    return jnp.sum(task.residuals(found) ** 2)


def simplex(task: Search, start: Float[Array, " circuits"], solves: int, enough: float) -> Found:
    """The same without derivatives, by the method of Nelder and Mead; it ends at a sum of squares
    of `enough`."""
    first = np.asarray(start)
    scale = np.max(np.abs(first))

    def loss(x: np.ndarray) -> float:
        try:
            return float(_sum_of_squares(task, task.solve(jnp.asarray(scale * x))))
        except EquilibriumError:
            return FAILED**2 * len(task.points)

    def stop_at_goal(intermediate_result: OptimizeResult) -> None:
        if intermediate_result.fun <= enough:
            raise StopIteration

    corners = np.concatenate([np.zeros((1, len(first))), 0.05 * np.eye(len(first))])
    found = minimize(
        loss, first / scale, method="Nelder-Mead", callback=stop_at_goal,
        options={"maxfev": solves, "initial_simplex": first / scale + corners, "adaptive": True},
    )  # fmt: skip
    best = task.solve(jnp.asarray(scale * found.x))
    return Found(best, float(found.fun), int(found.nfev))


def run(config: Config, folder: Path) -> Result:
    """Search for the currents of all targets; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    shown: dict[str, Equilibrium] = {}
    with jax.enable_x64(True):
        tokamak = machine(config)
        for name, target in TARGETS.items():
            task, start = search(tokamak, target, config)
            points, grid = target.points(config.points), tokamak.grid
            metrics[f"{name}.start_error_cm"] = boundary_error(grid, task.solve(start), points)
            begin = time.perf_counter()
            found = levenberg(task, start, config.steps)
            metrics[f"{name}.seconds"] = time.perf_counter() - begin
            metrics |= _figures(name, grid, found, points)
            shown[name] = found.equilibrium
            if target.diverted:
                highest = int(jnp.argmax(found.equilibrium.surfaces.x_flux))
                x_point = np.asarray(found.equilibrium.surfaces.x_points)[highest]
                off = float(np.linalg.norm(x_point - target.x_point))
                metrics[f"{name}.x_point_error_cm"] = 100 * off
            metrics[f"{name}.limited"] = float(found.equilibrium.surfaces.limited)
            begin = time.perf_counter()
            free = simplex(task, start, config.simplex_solves, found.loss)
            metrics[f"{name}_free.seconds"] = time.perf_counter() - begin
            metrics |= _figures(f"{name}_free", grid, free, points)
        _picture(tokamak, shown, config, folder)
    for total, end in (("", ""), ("free.", "_free")):
        each = [f"{name}{end}" for name in TARGETS]
        metrics[f"{total}boundary_error_cm"] = max(metrics[f"{n}.boundary_error_cm"] for n in each)
        metrics[f"{total}solves"] = sum(metrics[f"{n}.solves"] for n in each)
    return Result(metrics, notes=_notes(config))


def _figures(
    name: str, grid: Rectangle, found: Found, points: Float[np.ndarray, "n 2"]
) -> dict[str, float]:
    currents = found.equilibrium.currents
    return {
        f"{name}.boundary_error_cm": boundary_error(grid, found.equilibrium, points),
        f"{name}.solves": float(found.solves),
        f"{name}.largest_current_kA": float(jnp.max(abs(currents))) / 1e3,
    }


def _notes(config: Config) -> dict[str, str]:
    return {
        "free": f"Nelder and Mead from the same start, at most {config.simplex_solves} solves each",
        "limited": "the seconds of the first target hold those of compiling",
    }


def boundary_error(grid: Rectangle, found: Equilibrium, points: Float[np.ndarray, "n 2"]) -> float:
    """The largest distance of the boundary from points, in cm; infinite where a ray from the axis
    does not meet it."""
    off = abs(boundary_distances(grid, found.normalised(), found.axis, points))
    return 100 * float(np.max(off)) if np.all(np.isfinite(off)) else float("inf")


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
    presets={"quick": Config(), "full": Config(nodes=65, steps=40, simplex_solves=2000)},
    run=run,
)
