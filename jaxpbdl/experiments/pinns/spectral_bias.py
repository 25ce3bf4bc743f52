"""Which frequencies a physics-informed network learns first, and what helps with the others.

Fronts carried along by u_t + c u_x = nu u_xx, periodic on -1 < x < 1. A plain network, the same
behind random Fourier features, the plain one on points that follow its residual, and the plain one
in weak form are trained by Adam with equally many updates and points; on the way the error of each
is split by wavenumber.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import distributed, plotting
from jaxpbdl.equations import AdvectionDiffusion
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.pinns.training import refined
from jaxpbdl.fields import Box, Field, uniform
from jaxpbdl.grids.periodic import Periodic
from jaxpbdl.learning import PerChunk, fit, residual_loss, weak_loss
from jaxpbdl.learning.update import Batches
from jaxpbdl.networks import Chain, Dense, FourierFeatures, PeriodicFeatures
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear

DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))
POINTS, TIMES = 256, 64
BANDS = ((1, 2), (3, 4), (5, 8), (9, 16), (17, 32))
INITIAL_WEIGHT = 100.0
TESTS, NODES = 3, 5


@dataclass(frozen=True)
class Config(Validated):
    """Fronts, network and training."""

    seed: int = 0
    velocity: float = 1.0
    diffusivity: Positive = 1e-3
    front: Positive = 0.1
    """Width of the fronts at the start."""
    width: Count = 48
    depth: Count = 3
    features: Count = 48
    scale: Positive = 1.0
    """Standard deviation of the random frequencies."""
    points: Count = 2000
    cell: Positive = 0.1
    """Side length of the cells of the weak form."""
    updates: Count = 3000
    looks: Count = 12
    """How often the error is split by wavenumber."""
    learning_rate: Positive = 2e-3


def initial(x: Array, width: float) -> Array:
    """Two fronts, at x = 0 and x = 1."""
    return jnp.tanh(jnp.sin(np.pi * x) / (np.pi * width))


def run(config: Config, folder: Path) -> Result:
    """Train each, split its error, draw."""
    equation = AdvectionDiffusion(config.velocity, config.diffusivity)
    grid = Periodic((POINTS,), lengths=2.0, origin=-1.0)
    start = initial(grid.axes[0], config.front)
    # Linear, so that the solver is exact for any step.
    truth = np.asarray(rollout(semilinear(equation, grid, 1 / TIMES), start, TIMES))
    metrics, histories, losses, ends = {}, {}, {}, {"solution": truth[-1]}
    for name, (field, loss, batches) in _methods(config, equation, grid, start).items():
        key = jax.random.key(config.seed)
        looks, solutions, losses[name] = _watched(
            config, field, loss, batches, key, grid, folder / name, name
        )
        histories[name] = looks, np.stack([by_band(each - truth, truth) for each in solutions])
        ends[name] = solutions[-1][-1]
        error = np.linalg.norm(solutions[-1] - truth) / np.linalg.norm(truth)
        metrics[f"{name}.relative_l2"] = float(error)
        for (low, high), share in zip(BANDS, histories[name][1][-1], strict=True):
            metrics[f"{name}.waves_{low}_{high}"] = float(share)
    _picture(histories, ends, np.asarray(grid.axes[0]), folder / "spectral_bias.png")
    return Result(metrics, histories=losses)


def by_band(
    error: Float[np.ndarray, "times points"], truth: Float[np.ndarray, "times points"]
) -> Float[np.ndarray, " bands"]:
    """Size of the error over that of the truth, in each band of wavenumbers."""
    parts, whole = (np.abs(np.fft.rfft(values, axis=1)) ** 2 for values in (error, truth))
    slices = [slice(low, high + 1) for low, high in BANDS]
    return np.array([np.sqrt(parts[:, s].sum() / whole[:, s].sum()) for s in slices])


def _methods(
    config: Config, equation: AdvectionDiffusion, grid: Periodic, start: Array
) -> dict[str, tuple[Chain, Callable, Batches | PerChunk]]:
    """Field, loss and batches of each."""
    key, features_key = jax.random.split(jax.random.key(config.seed))
    hidden, circle = [config.width] * config.depth, PeriodicFeatures(0, 2.0)
    plain = Chain(circle, Dense((3, *hidden, 1), key=key), _first)
    features = FourierFeatures(3, config.features, config.scale, key=features_key)
    lifted = Chain(circle, features, Dense((2 * config.features, *hidden, 1), key=key), _first)
    mesh = distributed.mesh("points")
    at_start = jnp.stack([grid.axes[0], jnp.zeros(POINTS)], axis=-1)

    def misfit(field: Field) -> Array:
        return INITIAL_WEIGHT * jnp.mean((jax.vmap(field)(at_start) - start) ** 2)

    def strong(field: Field, points: Array) -> Array:
        return misfit(field) + residual_loss(equation, field, points, mesh=mesh)

    def weak(field: Field, centres: Array) -> Array:
        sides = (config.cell, config.cell)
        test = weak_loss(equation, field, centres, sides, TESTS, mesh=mesh)
        return misfit(field) + test

    def anywhere(key: PRNGKeyArray) -> Array:
        return uniform(key, DOMAIN, config.points)

    def cells(key: PRNGKeyArray) -> Array:
        """Cells with as many nodes as the others have points."""
        half = config.cell / 2
        inner = Box((-1.0, half), (1.0, 1.0 - half))
        return uniform(key, inner, max(1, config.points // NODES**2))

    def following(key: PRNGKeyArray, field: Field) -> Array:
        return refined(key, equation, field, DOMAIN, config.points)

    return {
        "plain": (plain, strong, anywhere),
        "fourier_features": (lifted, strong, anywhere),
        "adaptive_points": (plain, strong, PerChunk(following)),
        "weak_form": (plain, weak, cells),
    }


def _first(value: Float[Array, "1"]) -> Float[Array, ""]:
    return value[0]


def _watched(
    config: Config,
    field: Chain,
    loss: Callable,
    batches: Batches | PerChunk,
    key: PRNGKeyArray,
    grid: Periodic,
    folder: Path,
    name: str,
) -> tuple[list[int], list[np.ndarray], np.ndarray]:
    """Updates done, and the field on the grid at all times, at each look; the loss of each
    update."""
    t, x = np.meshgrid(np.linspace(0, 1, TIMES + 1), grid.axes[0], indexing="ij")
    everywhere = jnp.asarray(np.stack([x, t], axis=-1))
    evaluate = eqx.filter_jit(lambda field: jax.vmap(jax.vmap(field))(everywhere))
    optimiser = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.updates, 0.01))
    looks = looks_at(config.updates, config.looks)
    solutions, losses = [], np.empty(0)
    for updates in looks:  # each goes on from the checkpoint of the one before
        field, history = fit(
            field, loss, batches, optimiser, updates, key=key, chunk=50, folder=folder, name=name
        )
        solutions.append(np.asarray(evaluate(field)))
        losses = history.loss
    return looks, solutions, losses


def looks_at(updates: int, count: int) -> list[int]:
    """Up to `count` numbers of updates, evenly in their logarithm from 50 or fewer to `updates`."""
    chosen = np.geomspace(min(50, updates), updates, count) if count > 1 else [updates]
    return sorted({int(number + 1e-6) for number in chosen})  # the last may be 49.999...


def _picture(
    histories: dict[str, tuple[list[int], np.ndarray]],
    ends: dict[str, np.ndarray],
    x: np.ndarray,
    path: Path,
) -> None:
    figure, axes = plotting.figure(1, len(histories) + 1, size=(3.2, 2.8))
    for ax, (name, (looks, shares)) in zip(axes[0], histories.items(), strict=False):
        for (low, high), share, colour in zip(BANDS, shares.T, plotting.LINES, strict=False):
            ax.loglog(looks, share, color=colour, label=f"waves {low} to {high}")
        ax.set(title=name.replace("_", " "), xlabel="updates", ylim=(1e-3, 3))
    axes[0, 0].set(ylabel="relative error")
    axes[0, 0].legend(fontsize=6)
    for (name, values), colour in zip(ends.items(), ("black", *plotting.LINES), strict=False):
        axes[0, -1].plot(x, values, color=colour, label=name.replace("_", " "), linewidth=1)
    axes[0, -1].set(title="at the end", xlabel="x")
    axes[0, -1].legend(fontsize=6)
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="spectral-bias",
    summary="the frequencies a physics-informed network learns first, and what helps",
    presets={"quick": Config()},
    run=run,
)
