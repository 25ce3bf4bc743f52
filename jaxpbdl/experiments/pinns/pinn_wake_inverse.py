"""What flows behind a cylinder: transport coefficient, viscosity and pressure from velocities.

Scattered velocities of the wake at Re 100, computed by others (Raissi, Perdikaris and Karniadakis,
J. Comput. Phys. 378 (2019) 686), and the momentum equations with unknown coefficients,

    du/dt + lambda_1 (u . grad) u = -grad p + lambda_2 lap u,   div u = 0,

are fitted together by a field of u, v and p; p is never seen. Members differ in their first weights
and in the points they see, and their standard deviation gives an interval for the coefficients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import distributed, plotting
from jaxpbdl.data import find, read_wake
from jaxpbdl.data.wake import Wake as PublishedWake
from jaxpbdl.equations.equation import Parameter, parameter
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.fields import Field, at_time, expanded, gradient, laplacian
from jaxpbdl.learning import PerChunk, Samples, fit, mean_over, quasi_newton
from jaxpbdl.networks import Chain, Dense, PeriodicFeatures

TRUE = (1.0, 0.01)
SOURCE = "Raissi et al. 2019: 0.999 and 0.01047 clean, 0.998 and 0.01057 with 1 % noise"


@dataclass(frozen=True)
class Config(Validated):
    """Settings of data, network and optimisers."""

    seed: int = 0
    data: Path | None = None
    """The wake, as published (.mat) or as npz; else looked for in the folder JAXPBDL_DATA."""
    noise: NonNegative = 0.0
    """Standard deviation of noise on the velocities, relative to theirs."""
    members: Count = 2
    points: Count = 5000
    """Scattered velocities a member sees."""
    width: Count = 24
    depth: Count = 4
    period: NonNegative = 6.0
    """Start value of the wake's period, which is fitted; 0 for a field that need not repeat."""
    waves: Count = 2
    adam: Count = 1000
    batch: Count = 1000
    learning_rate: Positive = 5e-3
    updates: Count = 6000
    """Quasi-Newton updates, on all points."""


class Momentum(eqx.Module):
    """The momentum equations and continuity for a field (u, v, p) of (x, y, t)."""

    transport: Parameter = parameter(default=0.0)
    viscosity: Parameter = parameter(default=0.0)

    def residual(self, field: Field, point: Float[Array, "3"]) -> Float[Array, "3"]:
        """Two components of momentum and the divergence."""
        u, v, _ = field(point)
        along_x, along_y, along_t = gradient(field)(point).T
        friction = laplacian(at_time(field, point[2]))(point[:2])
        pressure = jnp.stack([along_x[2], along_y[2]])
        momentum = (
            along_t[:2]
            + self.transport * (u * along_x + v * along_y)[:2]
            + pressure
            - self.viscosity * friction[:2]
        )
        return jnp.append(momentum, along_x[0] + along_y[1])


class Wake(eqx.Module):
    """(u, v, p) at a point, by a network that sees coordinates of order one."""

    network: Callable[[Array], Array]
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, point: Float[Array, "3"]) -> Float[Array, "3"]:
        low, high = np.array(self.lower), np.array(self.upper)
        return self.network((2 * point - low - high) / (high - low))


class Model(NamedTuple):
    """Field and coefficients, fitted together."""

    field: Wake
    equation: Momentum


def squared_misfit(model: Model, row: Float[Array, "5"]) -> Float[Array, ""]:
    """Of the velocity and of the equations, at the place of one measurement."""
    point, velocity = row[:3], row[3:]
    misfit = model.field(point)[:2] - velocity
    residual = expanded(model.equation.residual, model.field, point)
    return jnp.sum(misfit**2) + jnp.sum(residual**2)


def run(config: Config, folder: Path) -> Result:
    """Fit each member, report the coefficients with their interval, compare the pressure."""
    with jax.enable_x64(True):
        wake = read_wake(find("cylinder-wake", given=config.data))
        rows, points, pressure = _table(wake)
        keys = jax.random.split(jax.random.key(config.seed), config.members)
        models, histories = [], {}
        for number, key in enumerate(keys):
            model, losses = _fit(config, rows, key, folder / "checkpoints" / str(number))
            models.append(model)
            histories |= {f"member {number}, {name}": loss for name, loss in losses.items()}
        metrics = _coefficients(models)
        predicted = np.mean([_pressure(model.field, points) for model in models], axis=0)
        truth = pressure - pressure.mean()
        metrics["pressure.relative_l2"] = float(
            np.linalg.norm(predicted - truth) / np.linalg.norm(truth)
        )
        _picture(points, truth, predicted, folder / "pressure.png")
    noisy = config.noise > 0
    return Result(
        metrics,
        {
            "lambda1_error": Published(0.002 if noisy else 0.001, SOURCE),
            "lambda2_error": Published(0.057 if noisy else 0.047, SOURCE),
        },
        histories,
    )


def _table(wake: PublishedWake) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (x, y, t, u, v) of the whole wake; and its points of one snapshot, half way, with their
    pressure.
    """
    t, x, y = np.meshgrid(wake.times, wake.x, wake.y, indexing="ij")
    u, v = wake.velocity[:, 0], wake.velocity[:, 1]
    rows = np.stack([a.ravel().astype(float) for a in (x, y, t, u, v)], axis=-1)
    snapshot = len(wake.times) // 2
    points = np.stack([a[snapshot] for a in (x, y, t)], axis=-1).astype(float)
    return rows, points, wake.pressure[snapshot]


def _fit(
    config: Config, rows: np.ndarray, key: PRNGKeyArray, folder: Path
) -> tuple[Model, dict[str, np.ndarray]]:
    """A member, and the losses of its two fits."""
    network_key, choice_key, noise_key, adam_key, finish_key = jax.random.split(key, 5)
    chosen = jax.random.choice(choice_key, len(rows), (config.points,), replace=False)
    lower, upper = (tuple(map(float, limit(rows[:, :3], axis=0))) for limit in (np.min, np.max))
    data = jnp.asarray(rows[np.asarray(chosen)])
    deviation = config.noise * jnp.asarray(rows[:, 3:].std(axis=0))
    noise = deviation * jax.random.normal(noise_key, (config.points, 2))
    data = data.at[:, 3:].add(noise)
    network = _network(config, upper[2] - lower[2], network_key)
    model, mesh = Model(Wake(network, lower, upper), Momentum()), distributed.mesh("points")

    places, velocities = data[:, :3], data[:, 3:]

    def loss(model: Model, pairs: tuple[Array, Array]) -> Array:
        return mean_over(squared_misfit, model, jnp.concatenate(pairs, axis=1), mesh=mesh)

    rate = optax.cosine_decay_schedule(config.learning_rate, config.adam, alpha=0.05)
    model, first = fit(
        model,
        loss,
        Samples(places, velocities, batch=min(config.batch, config.points)),
        optax.adam(rate),
        config.adam,
        key=adam_key,
        folder=folder / "adam",
        name="Adam",
    )
    model, second = fit(
        model,
        loss,
        PerChunk(lambda key, model: (places, velocities)),
        quasi_newton(),
        config.updates,
        key=finish_key,
        chunk=100,
        folder=folder / "quasi-newton",
        name="quasi-Newton",
    )
    return model, {"Adam": first.loss, "quasi-Newton": second.loss}


def _network(config: Config, duration: float, key: PRNGKeyArray) -> Callable[[Array], Array]:
    """Of (x, y, t) scaled to -1 .. 1, with harmonics of the period in place of t."""
    hidden = [config.width] * config.depth
    if config.period == 0:
        return Dense((3, *hidden, 3), key=key)
    embedding = PeriodicFeatures(2, jnp.asarray(2 * config.period / duration), config.waves)
    return Chain(embedding, Dense((2 + 2 * config.waves, *hidden, 3), key=key))


def _coefficients(models: list[Model]) -> dict[str, float]:
    """Their mean, the relative error of the mean, and the standard deviation of the members."""
    metrics = {}
    for number, (name, true) in enumerate(zip(("transport", "viscosity"), TRUE, strict=True), 1):
        values = np.array([float(getattr(model.equation, name)) for model in models])
        metrics[f"lambda{number}"] = float(values.mean())
        metrics[f"lambda{number}_error"] = float(abs(values.mean() - true) / true)
        if len(values) > 1:
            metrics[f"lambda{number}_spread"] = float(values.std(ddof=1))
    return metrics


def _pressure(field: Field, points: np.ndarray) -> np.ndarray:
    """At all points, without its mean: the equations do not know it."""
    flat = jnp.asarray(points.reshape(-1, 3))
    values = np.asarray(jax.jit(jax.vmap(field))(flat))[:, 2].reshape(points.shape[:-1])
    return values - values.mean()


def _picture(points: np.ndarray, truth: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    figure, axes = plotting.figure(1, 3, size=(4.2, 2.4))
    (x0, y0), (x1, y1) = points[0, 0, :2], points[-1, -1, :2]
    shown = {"pressure": truth, "inferred from velocities": predicted, "error": predicted - truth}
    for ax, (title, values) in zip(axes[0], shown.items(), strict=True):
        drawn = ax.imshow(values.T, extent=(x0, x1, y0, y1), origin="lower", cmap=plotting.SIGNED)
        figure.colorbar(drawn, ax=ax, shrink=0.8)
        ax.set(title=title, xlabel="x", ylabel="y")
        ax.grid(False)
    plotting.save(figure, path)


EXPERIMENT = Experiment(
    name="pinn-wake-inverse",
    summary="coefficients and pressure of a cylinder wake from scattered velocities",
    presets={"quick": Config(), "full": Config(members=5, updates=12_000)},
    run=run,
    files=lambda config: [find("cylinder-wake", given=config.data)],
)
