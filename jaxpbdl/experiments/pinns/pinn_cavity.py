"""A physics-informed network finds the steady flow in a square cavity below a moving lid.

The field gives stream function and pressure, so that the flow has no divergence; the velocity of
the walls is fitted. Two corners, where lid and wall meet at different speeds, have unbounded
stress: the residual counts less close to them. Velocities along the two centre lines are compared
with the table of Ghia, Ghia and Shin (J. Comput. Phys. 48 (1982) 387).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks, plotting
from jaxpbdl.data import find
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.pinns.training import Settings, train
from jaxpbdl.fields import Box, Field, grid_points, partial
from jaxpbdl.networks import Dense

DOMAIN = Box((0.0, 0.0), (1.0, 1.0))
CORNERS, REACH = np.array([[0.0, 1.0], [1.0, 1.0]]), 0.1
WALL_POINTS, WALL_WEIGHT = 200, 10.0
COLUMNS = {100: 0, 1000: 1, 3200: 2, 5000: 3, 10000: 4}
MISPRINTS = {("u", 3200, 0.4531)}


@dataclass(frozen=True)
class Config(Settings):
    """Network, points, optimisers and flow."""

    reynolds: int = 100

    def __post_init__(self):
        super().__post_init__()
        if self.reynolds not in COLUMNS:
            raise ValueError(f"reynolds must be one of {list(COLUMNS)}, got {self.reynolds}")


class Cavity(eqx.Module):
    """Stream function and pressure at a point (x, y) of the unit square."""

    network: Dense

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, "2"]:
        return self.network(2 * point - 1)


class SteadyFlow(eqx.Module):
    """(v . grad) v + grad p - viscosity lap v, v = (d psi / dy, -d psi / dx), of (psi, p)."""

    viscosity: float

    def residual(self, field: Field, point: Float[Array, "2"]) -> Float[Array, "2"]:
        """Less of it close to the corners."""

        def stream(along_x: int, along_y: int) -> Array:
            return partial(partial(field, 0, along_x), 1, along_y)(point)[0]

        u, v = stream(0, 1), -stream(1, 0)
        transport = [u * stream(1, 1) + v * stream(0, 2), -u * stream(2, 0) - v * stream(1, 1)]
        friction = [stream(2, 1) + stream(0, 3), -stream(3, 0) - stream(1, 2)]
        push = [partial(field, axis)(point)[1] for axis in range(2)]
        distance = jnp.sum((point - CORNERS) ** 2, axis=-1) / REACH**2
        weight = jnp.prod(distance / (1 + distance))
        terms = [jnp.stack(pair) for pair in (transport, push, friction)]
        return weight * (terms[0] + terms[1] - self.viscosity * terms[2])


def velocity_of(field: Field) -> Callable[[Array], Float[Array, "2"]]:
    """(d psi / dy, -d psi / dx) of a field (psi, p)."""

    def velocity(point: Float[Array, "2"]) -> Float[Array, "2"]:
        return jnp.stack([partial(field, 1)(point)[0], -partial(field, 0)(point)[0]])

    return velocity


def run(config: Config, folder: Path) -> Result:
    """Train, compare with the table, draw."""
    table = _table(find("ghia-cavity", given=config.data), config.reynolds)
    with jax.enable_x64(True):
        flow = SteadyFlow(1 / config.reynolds)
        network_key, key = jax.random.split(jax.random.key(config.seed))
        start = Cavity(Dense((2, *[config.width] * config.depth, 2), key=network_key))
        posed = lambda field: (flow, field)  # noqa: E731
        field, points, losses = train(config, start, posed, DOMAIN, key, folder, _wall_misfit)
        velocity = jax.jit(jax.vmap(velocity_of(field)))
        errors = {}
        for number, (name, (places, values)) in enumerate(table.items()):
            line = np.full((len(places), 2), 0.5)
            line[:, 1 - number] = places
            errors[name] = np.abs(np.asarray(velocity(jnp.asarray(line)))[:, number] - values)
        _picture(velocity, table, points, config.reynolds, folder / "cavity.png")
    metrics = {f"{name}.largest_error": float(error.max()) for name, error in errors.items()}
    metrics["largest_error"] = max(metrics.values())
    metrics["mean_error"] = float(np.mean(np.concatenate(list(errors.values()))))
    bar = Published(0.01, "1 % of the lid's speed about the points of Ghia et al. 1982")
    return Result(metrics, {"largest_error": bar}, losses)


def _wall_misfit(field: Cavity) -> Array:
    """Of the velocity on the four walls, at points that leave the corners out."""
    along = (jnp.arange(WALL_POINTS) + 0.5) / WALL_POINTS
    none, one = jnp.zeros(WALL_POINTS), jnp.ones(WALL_POINTS)
    sides = [(none, along), (one, along), (along, none), (along, one)]
    walls = jnp.concatenate([jnp.stack(side, axis=-1) for side in sides])
    speed = (walls[:, 1] == 1.0).astype(walls.dtype)
    target = jnp.stack([speed, jnp.zeros_like(speed)], axis=-1)
    velocity = jax.vmap(velocity_of(field))(walls)
    return WALL_WEIGHT * jnp.mean(jnp.sum((velocity - target) ** 2, axis=-1))


def _table(path: Path, reynolds: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Places and values of u on the vertical centre line and of v on the horizontal one."""
    try:
        rows = np.loadtxt(path)
    except (ValueError, OSError) as error:
        raise checks.DataError(f"{path}: damaged, or no table of numbers: {error}") from error
    if rows.ndim != 2 or rows.shape[1] != 12:
        raise checks.DataError(f"{path} must have 12 columns, it has the shape {rows.shape}")
    tables = {}
    for name, first in (("u", 0), ("v", 6)):
        places, values = rows[:, first], rows[:, first + 1 + COLUMNS[reynolds]]
        right = np.array([(name, reynolds, round(place, 4)) not in MISPRINTS for place in places])
        tables[name] = places[right], values[right]
    return tables


def _picture(velocity: Callable, table: dict, points: Array, reynolds: int, path: Path) -> None:
    figure, axes = plotting.figure(1, 3, size=(3.4, 3.0))
    flow = np.asarray(velocity(grid_points(DOMAIN, (65, 65)))).reshape(65, 65, 2)
    side = np.linspace(0, 1, 65)
    speed = np.linalg.norm(flow, axis=-1)
    axes[0, 0].streamplot(
        side, side, flow[..., 0].T, flow[..., 1].T, color=speed.T, cmap="viridis", linewidth=0.7
    )
    axes[0, 0].set(title=f"streamlines, Re {reynolds}", xlabel="x", ylabel="y", aspect="equal")
    for (name, (places, values)), middle, colour in zip(
        table.items(), (flow[32, :, 0], flow[:, 32, 1]), plotting.LINES, strict=False
    ):
        axes[0, 1].plot(side, middle, color=colour, label=name)
        axes[0, 1].plot(places, values, "o", markersize=3, color=colour)
    axes[0, 1].set(title="centre lines, dots: Ghia et al.", xlabel="y for u, x for v")
    axes[0, 1].legend()
    axes[0, 2].plot(points[:, 0], points[:, 1], ".", markersize=1, color=plotting.LINES[0])
    axes[0, 2].set(title="collocation points", xlabel="x", ylabel="y", aspect="equal")
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="pinn-cavity",
    summary="a physics-informed network finds the flow in a lid-driven cavity",
    presets={
        "quick": Config(width=24, points=3000, adam=1000, updates=2000),
        "re-1000": Config(reynolds=1000, width=32, points=8000, adam=2000, updates=8000),
    },
    run=run,
    files=lambda config: [find("ghia-cavity", given=config.data)],
)
