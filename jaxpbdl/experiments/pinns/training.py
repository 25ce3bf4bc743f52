"""What experiments with physics-informed networks of one space dimension share: the reference, the
training, the choice of points, the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import distributed, plotting
from jaxpbdl.checks import DataError
from jaxpbdl.data import find
from jaxpbdl.data.matlab import read_mat
from jaxpbdl.equations import SemilinearEquation
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.fields import Box, refine, uniform
from jaxpbdl.fields.derivatives import Judge
from jaxpbdl.fields.sampling import Points
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.learning import PerChunk, fit, quasi_newton, residual_at, residual_loss
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear

Model = TypeVar("Model")


@dataclass(frozen=True)
class Settings(Validated):
    """Network, points and optimisers."""

    seed: int = 0
    data: Path | None = None
    """The published reference solution; else looked for in the folder JAXPBDL_DATA, and computed
    by the toolkit's solver where it is not there.
    """
    width: Count = 20
    depth: Count = 3
    points: Count = 8000
    """Collocation points of one update."""
    adam: Count = 2000
    """Updates by Adam."""
    learning_rate: Positive = 3e-3
    updates: Count = 6000
    """Quasi-Newton updates."""
    chunk: Count = 500
    """Of those on the same points."""


class Reference(NamedTuple):
    """A solution on a grid, and where it is from."""

    x: Float[np.ndarray, " nx"]
    t: Float[np.ndarray, " nt"]
    values: Float[np.ndarray, "nx nt"]
    origin: str


def files(name: str, given: Path | None) -> list[Path]:
    """The published solution `name` if there is one (found as `data.find` does), else nothing.

    Raises DataError for a given file that is not there.
    """
    try:
        return [find(name, given=given)]
    except DataError:
        if given is not None:
            raise
        return []


def reference(
    name: str,
    given: Path | None,
    equation: SemilinearEquation,
    initial: Callable[[Array], Array],
    grid: Periodic | None = None,
    duration: float = 1.0,
    steps: int = 2000,
) -> Reference:
    """The published solution `name` (found as `data.find` does), or, without the file, the spectral
    solver's from t = 0 on a periodic box (default: 2048 points of -1 < x < 1). Of a complex
    solution, or one of two components, the size.
    """
    found = files(name, given)
    if not found:
        grid = Periodic((2048,), lengths=2.0, origin=-1.0) if grid is None else grid
        step = semilinear(equation, grid, duration / steps, keep=1.0)
        snapshots = rollout(step, initial(grid.axes[0]), steps, steps // 100, checkpoint=False)
        snapshots = np.asarray(size(snapshots) if equation.value_shape else snapshots)
        x, thin = np.asarray(grid.axes[0]), max(1, grid.shape[0] // 256)
        times = np.linspace(0, duration, len(snapshots))
        return Reference(x[::thin], times, snapshots.T[::thin], "spectral solver")
    path = found[0]
    content = read_mat(path)
    t, values = content.get("t", content.get("tt")), content.get("usol", content.get("uu"))
    if t is None or values is None or "x" not in content:
        raise DataError(f"{path} must hold x, t or tt, and usol or uu; it holds {sorted(content)}")
    values = np.abs(values) if np.iscomplexobj(values) else values
    return Reference(content["x"].ravel(), t.ravel(), values, path.name)


def size(values: Array) -> Array:
    """Of vectors along the second axis."""
    return jnp.sqrt(jnp.sum(values**2, axis=1))


def train(
    settings: Settings,
    model: Model,
    posed: Callable[[Model], tuple[Judge, Callable]],
    domain: Box,
    key: PRNGKeyArray,
    folder: Path,
    anchors: Callable[[Model], Array] | None = None,
) -> tuple[Model, Points, dict[str, np.ndarray]]:
    """The model trained by Adam on random points, then by a quasi-Newton method on points that
    follow the residual; points chosen for it; the losses of both fits.

    `posed(model)` is an equation and a field; the loss is the mean square of the residual and, if
    given, `anchors(model)`: what data, initial or boundary values add.
    """
    adam_key, finish_key, points_key = jax.random.split(key, 3)
    mesh, count = distributed.mesh("points"), settings.points

    def loss(model: Model, points: Points) -> Array:
        value = residual_loss(*posed(model), points, mesh=mesh)
        return value if anchors is None else value + anchors(model)

    def adapted(key: PRNGKeyArray, model: Model) -> Points:
        return refined(key, *posed(model), domain, count)

    losses = {}
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.adam, alpha=0.05)
    for name, optimiser, batches, updates, chunk, key in (
        ("Adam", optax.adam(rate), partial(uniform, box=domain, count=count), settings.adam, 50,
         adam_key),
        ("quasi-Newton", quasi_newton(), PerChunk(adapted), settings.updates, settings.chunk,
         finish_key),
    ):  # fmt: skip
        model, history = fit(
            model,
            loss,
            batches,
            optimiser,
            updates,
            key=key,
            chunk=chunk,
            folder=folder / "checkpoints" / name,
            name=name,
        )
        losses[name] = history.loss
    return model, adapted(points_key, model), losses


def refined(
    key: PRNGKeyArray,
    equation: Judge,
    field: Callable,
    domain: Box,
    count: int,
    surplus: int = 5,
) -> Float[Array, "points dim"]:
    """`count` points of the domain, likelier where the residual is large: chosen from `surplus`
    times as many.
    """
    candidates_key, choice_key = jax.random.split(key)
    candidates = uniform(candidates_key, domain, surplus * count)
    return refine(choice_key, residual_at(equation, field, candidates), candidates, count)


def report(
    field: Callable, equation: Judge, truth: Reference, points: Array, folder: Path
) -> dict[str, float]:
    """Errors against the reference; writes `solution.png`: solution, error, residual, points."""
    x, t = np.meshgrid(truth.x, truth.t, indexing="ij")
    at = jnp.asarray(np.stack([x.ravel(), t.ravel()], axis=-1))
    values = jax.jit(jax.vmap(field))(at)
    values = np.asarray(size(values) if values.ndim > 1 else values).reshape(x.shape)
    residual = np.asarray(residual_at(equation, field, at)).reshape(x.shape)
    error = values - truth.values
    figure, axes = plotting.figure(1, 4, size=(3.2, 2.8))
    extent = (truth.t[0], truth.t[-1], truth.x[0], truth.x[-1])
    shown = {
        f"network (reference: {truth.origin})": (values, plotting.SIGNED),
        "log10 |error|": (np.log10(np.abs(error) + 1e-16), plotting.POSITIVE),
        "log10 |residual|": (np.log10(residual + 1e-16), plotting.POSITIVE),
    }
    for ax, (title, (image, colours)) in zip(axes[0], shown.items(), strict=False):
        # Five decades below the largest: initial values, say, are exact.
        lowest = image.max() - 5 if title.startswith("log") else None
        drawn = ax.imshow(
            image, extent=extent, origin="lower", aspect="auto", cmap=colours, vmin=lowest
        )
        figure.colorbar(drawn, ax=ax)
        ax.set(title=title, xlabel="t", ylabel="x")
        ax.grid(False)
    axes[0, 3].plot(points[:, 1], points[:, 0], ".", markersize=1, color=plotting.LINES[0])
    axes[0, 3].set(title="collocation points", xlabel="t", ylabel="x")
    plotting.save(figure, folder / "solution.png")
    scale = np.linalg.norm(truth.values)
    return {
        "relative_l2": float(np.linalg.norm(error) / scale),
        "largest_error": float(np.abs(error).max()),
        "relative_l2_end": float(
            np.linalg.norm(error[:, -1]) / np.linalg.norm(truth.values[:, -1])
        ),
        "mean_residual": float(np.sqrt(np.mean(residual**2))),
    }
