"""Forecast the wake of a cylinder computed by others: persistence, a linear model, networks, and
both together.

The flow at Re = 100 (Nektar; Raissi, Perdikaris, Karniadakis 2019) sheds vortices periodically, so
the linear model (dynamic mode decomposition) is a strong baseline. The last quarter in time is the
test set; rank, stopping and the method itself are chosen on the end of the rest.

The first snapshot of the published file lies two time steps before the second, not one, and is left
out: one period later than any other snapshot comes the same snapshot after 59.016 steps, after
58.016 that of the first. Fitted to it as well, the linear model repeats the double step whenever
that phase of the shedding comes round, last at snapshot 176, in the middle of the test set.
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

from jaxpbdl import plotting
from jaxpbdl.data import find, read_wake
from jaxpbdl.data.wake import Wake
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.learning import (
    Corrected,
    Emulator,
    Evaluation,
    History,
    Windows,
    compare,
    evaluate,
    fit_ensemble,
    members,
    unrolled,
)
from jaxpbdl.learning.dmd import dynamic_modes
from jaxpbdl.networks import ConvNet
from jaxpbdl.rollouts import rollout
from jaxpbdl.step import AnyStep

FIRST = 1
"""The first snapshot that is used."""
RANKS = (2, 3, 5, 7, 9, 11, 13, 15, 17, 21, 25, 31, 41, 51, 61)


@dataclass(frozen=True)
class Config(Validated):
    """Settings; times are in diameters over the free stream."""

    seed: int = 0
    data: Path | None = None
    """The wake, as published (.mat) or as npz; else looked for in the folder JAXPBDL_DATA."""
    members: Count = 2
    width: Count = 16
    depth: Count = 5
    batch: Count = 4
    unroll: Count = 6
    updates: Count = 150
    learning_rate: Positive = 2e-3
    noise: NonNegative = 0.02
    """Of the first state of a training window, in units of the flow's fluctuation."""


QUICK = Config()
FULL = Config(members=8, width=48, depth=7, batch=8, unroll=12, updates=5000, learning_rate=1e-3)


class Fluctuation(eqx.Module):
    """Velocity about its mean in time, of order one."""

    mean: Array
    scale: Array

    def __call__(self, velocity: Float[Array, "2 nx ny"]) -> Float[Array, "2 nx ny"]:
        return (velocity - self.mean) / self.scale


class ForecastError(eqx.Module):
    """Relative error of a rollout over snapshots, for validation."""

    snapshots: Array

    def __call__(self, model: AnyStep) -> Array:
        prediction = rollout(model, self.snapshots[0], len(self.snapshots) - 1, checkpoint=False)
        return jnp.linalg.norm(prediction - self.snapshots) / jnp.linalg.norm(self.snapshots)


def run(config: Config, folder: Path) -> Result:
    """Fit, forecast the held-out quarter, compare; pictures go to `folder`."""
    wake = read_wake(find("cylinder-wake", given=config.data))
    snapshots = jnp.asarray(wake.velocity[FIRST:])
    times = np.asarray(wake.times[FIRST:], float)
    count = round(len(snapshots) / 4)
    train, truth = snapshots[:-count], snapshots[-count - 1 :]  # the first snapshot is known
    rank, linear, fitted, validation, losses = prepared(config, train, folder)

    rows: dict[str, list[AnyStep]] = {
        "persistence": [lambda state: state], "dmd": [linear], **fitted,
    }  # fmt: skip
    clock = times[-count - 1 :] - times[-count - 1]
    results = {
        name: [evaluate(step, truth[None], clock) for step in steps] for name, steps in rows.items()
    }
    chosen = min(validation, key=lambda name: validation[name])
    metrics = metrics_of(results, truth, clock, validation, chosen) | {"dmd.rank": rank}
    _pictures(results, wake, clock, folder)
    print(f"chosen on the validation set: {chosen}; rank of the linear model: {rank}")
    for name, value in validation.items():
        print(f"{name}: validation {value:.3g}, test {metrics[f'{name}.relative_l2']:.3g}")
    return Result(metrics, histories=losses)


def prepared(
    config: Config, train: Array, folder: Path
) -> tuple[int, AnyStep, dict[str, list[AnyStep]], dict[str, float], dict[str, np.ndarray]]:
    """All that the training snapshots decide.

    Arguments:
        config: the settings.
        train: snapshots of the training and, at their end, of the validation set.
        folder: for checkpoints.

    Returns the rank of the linear model, that model fitted to all of `train`, the members of each
    network, the validation error of each method: fitted without the validation set, and of an
    ensemble the mean over its members, and the losses of each member.
    """
    begin = len(train) - max(2, len(train) // 7)
    early, late = train[:begin], train[begin - 1 :]
    validate = ForecastError(late)
    rank = best_rank(early, late)
    linear_early = dynamic_modes(early, rank)
    scale = jnp.std(early - early.mean(0))
    features = Fluctuation(early.mean(0), scale)

    def network(key: PRNGKeyArray) -> ConvNet:
        width, depth = config.width, config.depth
        return ConvNet(2, 2, 2, width=width, depth=depth, periodic=False, zero_last=True, key=key)

    def emulator(key: PRNGKeyArray) -> Emulator:
        return Emulator(network(key), scale=0.2 * scale, features=features)

    def corrected(key: PRNGKeyArray) -> Corrected:
        return Corrected(linear_early, network(key), scale=0.05 * scale, features=features)

    validation = {
        "persistence": float(validate(lambda state: state)),
        "dmd": float(validate(linear_early)),
    }
    fitted: dict[str, list[AnyStep]] = {}
    losses: dict[str, np.ndarray] = {}
    for name, make in (("emulator", emulator), ("corrected", corrected)):
        fitted[name], found = _train(config, folder, early, late, scale, make, name)
        validation[name] = float(np.mean([np.nanmin(each.validation) for each in found]))
        losses |= {f"{name}_{number}": each.loss for number, each in enumerate(found)}
    return rank, dynamic_modes(train, rank), fitted, validation, losses


def best_rank(early: Array, late: Array) -> int:
    """The rank whose linear model, fitted to `early`, forecasts `late` best."""
    validation = ForecastError(late)

    def error(rank: int) -> float:
        value = float(validation(dynamic_modes(early, rank)))
        return value if np.isfinite(value) else np.inf

    return min((rank for rank in RANKS if rank < len(early) - 1), key=error)


def _train(
    config: Config,
    folder: Path,
    early: Array,
    late: Array,
    scale: Array,
    make: Callable[[PRNGKeyArray], AnyStep],
    name: str,
) -> tuple[list[AnyStep], list[History]]:
    """An ensemble of which each member is the best of its fit on the validation part."""

    def loss(model: AnyStep, windows: Array, key: PRNGKeyArray) -> Array:
        noise = config.noise * scale * jax.random.normal(key, windows[:, 0].shape)
        return unrolled(model, windows.at[:, 0].add(noise)) / scale**2

    schedule = optax.cosine_decay_schedule(config.learning_rate, config.updates, alpha=0.02)
    stacked, histories = fit_ensemble(
        make,
        loss,
        Windows(early[None], config.unroll, config.batch),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        config.updates,
        keys=jax.random.split(jax.random.key(config.seed), config.members),
        validate=ForecastError(late),
        folder=folder / "checkpoints" / name,
        name=name,
    )
    return members(stacked), histories


def metrics_of(
    results: dict[str, list[Evaluation]],
    truth: Array,
    clock: np.ndarray,
    validation: dict[str, float],
    chosen: str,
) -> dict[str, float]:
    """Errors of each member and of the mean of an ensemble; those of the method that was chosen as
    the experiment's own."""
    metrics: dict[str, float] = {}

    def add(name: str, result: Evaluation) -> None:
        metrics[f"{name}.relative_l2"] = forecast_error(result.prediction[0], truth)
        for lead in (0.5, 1.0, 2.5, 5.0):
            if lead <= clock[-1]:
                metrics[f"{name}.error_t{str(lead).replace('.', '_')}"] = result.error_at(lead)

    for name, each in results.items():
        for number, result in enumerate(each):
            add(name if len(each) == 1 else f"{name}_{number}", result)
        if len(each) > 1:
            mean = jnp.mean(jnp.stack([result.prediction for result in each]), axis=0)
            add(name, compare(mean, truth[None], clock))
    for name, value in validation.items():
        metrics[f"{name}.validation"] = value
    metrics["relative_l2"] = metrics[f"{chosen}.relative_l2"]
    return metrics


def forecast_error(prediction: Array, truth: Array) -> float:
    """Relative L2 error over all forecast snapshots (the first is given)."""
    return float(jnp.linalg.norm(prediction[1:] - truth[1:]) / jnp.linalg.norm(truth[1:]))


def _pictures(
    results: dict[str, list[Evaluation]], wake: Wake, clock: np.ndarray, folder: Path
) -> None:
    """`vorticity.png`, `vorticity.gif` and `error.png`."""
    sides = (float(np.ptp(wake.x)), float(np.ptp(wake.y)))
    dx, dy = (float(axis[1] - axis[0]) for axis in (wake.x, wake.y))

    def vorticity(velocity: Array | np.ndarray) -> np.ndarray:
        u, v = np.moveaxis(np.asarray(velocity), -3, 0)
        return np.gradient(v, dx, axis=-2) - np.gradient(u, dy, axis=-1)

    films = {"simulation": vorticity(wake.velocity[-len(clock) :])}
    films |= {name: vorticity(each[0].prediction[0]) for name, each in results.items()}
    still = np.linspace(0, len(clock) - 1, 4).round().astype(int)
    picture = plotting.compare(
        {name: film[still] for name, film in films.items()}, clock[still].tolist(), sides,
        label="vorticity",
    )  # fmt: skip
    plotting.save(picture, folder / "vorticity.png")
    plotting.animate(films, folder / "vorticity.gif", sides, times=clock.tolist())
    figure, axes = plotting.figure(1, 2, size=(4.6, 3.6))
    errors = {
        name: np.concatenate([result.relative_l2 for result in each])[:, 1:]
        for name, each in results.items()
    }
    plotting.curves(axes[0, 0], errors, clock[1:], xlabel="lead time", logarithmic=True)
    axes[0, 0].set_ylabel("relative L2 error of velocity")
    predictions = jnp.stack([result.prediction[0] for result in results["corrected"]])
    truth = jnp.asarray(wake.velocity[-len(clock) :])
    spread = jnp.sqrt(jnp.mean(jnp.var(predictions, axis=0), axis=(1, 2, 3)))
    error = jnp.sqrt(jnp.mean((jnp.mean(predictions, axis=0) - truth) ** 2, axis=(1, 2, 3)))
    plotting.spread_skill(axes[0, 1], clock, np.asarray(spread), np.asarray(error))
    plotting.save(figure, folder / "error.png")


EXPERIMENT = Experiment(
    name="wake-forecast",
    summary="forecast of a cylinder wake by networks, a linear model, and both together",
    presets={"quick": QUICK, "full": FULL},
    run=run,
    files=lambda config: [find("cylinder-wake", given=config.data)],
)
