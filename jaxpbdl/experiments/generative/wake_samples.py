"""Flow matching of wakes: what states a wake has at a Reynolds number, and which of them fits a few
measurements.

The wakes are those of `wake-correction`: simulated flow past a cylinder, at any moment of its
shedding. A state is a stream function, so that every sample is free of divergence; a network learns
the velocity that carries noise to the coefficients of its leading modes, conditioned on the
Reynolds number, from simulations at five of them.

**Distribution.** At Reynolds numbers between those of the training, fields of the mean and of the
standard deviation of samples, drawn in 1 to 100 steps, beside those of the simulation, of a network
that gives one answer, and of the plain way: fields interpolated between the neighbouring
simulations. The book does this with averaged flows about airfoils, whose states a solver that does
not converge has left scattered; here the scatter is that of the shedding itself.

**Inverse problem.** A few probes measure the velocity, with noise. Samples of the state given the
measurements: by guidance of the same network, by weighting samples of it, and by an ensemble
Kalman update. `probes` are six numbers at one moment; `later` are three, of one probe at three
moments, which only the solver can tell of: there the guidance goes through it. Errors are relative
to the deviation of the velocity at that Reynolds number.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.generative.wake_measurements import (
    SUBSTEPS,
    Measured,
    Misfit,
    all_measured,
    kalman,
    pull,
    weighted,
)
from jaxpbdl.experiments.generative.wake_states import (
    Fields,
    Known,
    Modes,
    condition,
    drawn,
    errors_of,
    fields_of,
    interpolated,
    leading_modes,
    velocities,
)
from jaxpbdl.experiments.training import Training
from jaxpbdl.experiments.wakes.data import Wake, at, wakes
from jaxpbdl.experiments.wakes.flow import LENGTHS, Setting, fluxes, vorticity
from jaxpbdl.generative import Guided, MatchingLoss, TimeDense, Waves
from jaxpbdl.learning import History, Samples, fit, fit_ensemble, member
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import ensemble_crps, spread_skill

FINER = 6
"""Of the simulations, those that `wake-correction` leaves."""
STEPS = (1, 5, 20, 100)
"""By which samples are drawn; the midpoint rule takes two evaluations in each."""
WEIGHTED = 500
"""Samples that are weighted, or updated together."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the data, the networks and the inverse problems."""

    seed: int = 0
    data: Path | None = None
    """Folder of the simulations, read from it or left there; else in that of the run."""
    train: tuple[Positive, ...] = (60.0, 90.0, 140.0, 200.0, 300.0)
    validation: tuple[Positive, ...] = (110.0, 170.0)
    test: tuple[Positive, ...] = (75.0, 130.0, 230.0)
    cells: tuple[Count, Count] = (64, 32)
    windows: Count = 2
    test_windows: Count = 5
    window: Positive = 10.0
    modes: Count = 24
    members: Annotated[int, at_least(1)] = 3
    width: Count = 256
    layers: Count = 3
    sigma_min: float = 0.01
    training: Training = Training(
        updates=8000, batch=128, learning_rate=1e-3, warmup_fraction=0.05, average=0.999
    )
    noise: Positive = 0.1
    """Standard deviation of a measurement; the stream has the speed one."""
    states: Count = 4
    """States to be found at each Reynolds number of the test."""
    drawn: Count = 16
    """Samples for each of them."""
    guided_steps: Count = 30

    @property
    def setting(self) -> Setting:
        """Cells of the coarse solver, about the cylinder."""
        return Setting(self.cells)


class Validation(eqx.Module):
    """The loss on samples of other Reynolds numbers, with the same noise each time."""

    loss: MatchingLoss
    known: Known

    def __call__(self, model: TimeDense) -> Float[Array, ""]:
        return self.loss(model, (self.known.coefficients, self.known.condition), jax.random.key(0))


def square_loss(model: Dense, batch: tuple[Array, Array]) -> Float[Array, ""]:
    """Of the network that gives one answer."""
    coefficients, conditions = batch
    return jnp.mean((jax.vmap(model)(conditions) - coefficients) ** 2)


def train(
    config: Config, known: Known, validation: Known, folder: Path
) -> tuple[TimeDense, Dense, dict[str, History]]:
    """The networks that sample, stacked, and one that gives one answer."""
    loss, keys = MatchingLoss(config.sigma_min), jax.random.split(jax.random.key(config.seed), 8)
    training, hidden = config.training, (config.width,) * config.layers

    def make(key: PRNGKeyArray) -> TimeDense:
        return TimeDense(config.modes, hidden, condition=1, embed=Waves(4), key=key)

    batches = Samples(known.coefficients, known.condition, batch=training.batch)
    stacked, histories = fit_ensemble(
        make, loss, batches, training.optimiser(), training.updates,
        keys=jax.random.split(keys[0], config.members), ema=training.average,
        validate=Validation(loss, validation), chunk=max(1, training.updates // 40),
        folder=folder / "checkpoints" / "matching", name="matching",
    )  # fmt: skip
    one_answer, history = fit(
        Dense((1, 64, 64, config.modes), key=keys[1]), square_loss, batches,
        training.optimiser(), training.updates, key=keys[2],
        validate=lambda model: square_loss(model, (validation.coefficients, validation.condition)),
        folder=folder / "checkpoints" / "one_answer", name="one answer",
    )  # fmt: skip
    return stacked, one_answer, {"matching": histories[0], "one_answer": history}


def distribution(
    config: Config, stacked: TimeDense, one_answer: Dense, modes: Modes, known: Wake, test: Wake
) -> tuple[dict[str, float], dict[str, Fields]]:
    """Errors of all methods, mean over Reynolds numbers of the test and networks, and the fields of
    the middle one."""
    rows: dict[str, list[dict[str, float]]] = {}
    fields: dict[str, Fields] = {}
    numbers = sorted(config.train)
    order = [config.train.index(number) for number in numbers]
    trained = [fields_of(known.streams[index]) for index in order]
    for index, reynolds in enumerate(config.test):
        streams = test.streams[index]
        truth, half = fields_of(streams), len(streams) // 2
        rows.setdefault("half_the_simulation", []).append(
            errors_of(fields_of(streams[:half]), fields_of(streams[half:]))
        )
        plain = interpolated(reynolds, numbers, trained)
        answer = fields_of(modes.decode(one_answer(condition(reynolds)))[None])
        found = {"interpolated": plain, "one_answer": answer}
        for name, each in found.items():
            rows.setdefault(name, []).append(errors_of(each, truth))
        for number in range(config.members):
            model = member(stacked, number)
            keys = jax.random.split(jax.random.key(100 + number), len(streams))
            for steps in STEPS:
                begun = time.perf_counter()
                states = drawn(model, modes, jnp.asarray(reynolds), keys, steps)
                each = fields_of(jax.block_until_ready(states))
                seconds = time.perf_counter() - begun
                row = errors_of(each, truth) | {"seconds": seconds}
                rows.setdefault(f"matching_{steps}", []).append(row)
        if index == len(config.test) // 2:
            fields = {"simulation": truth, "20 steps": each, "interpolated": plain}
    return {
        f"{name}.{metric}": float(np.median([row[metric] for row in found]))
        if metric == "seconds"
        else float(np.mean([row[metric] for row in found]))
        for name, found in rows.items()
        for metric in found[0]
    }, fields


def inverse_problems(
    config: Config, model: TimeDense, modes: Modes, test: Wake
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Errors, scores and spread over skill of the posterior samples of all methods."""
    base = config.setting.solver(0.4 / SUBSTEPS)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    picture: dict[str, np.ndarray] = {}
    for index, reynolds in enumerate(config.test):
        streams, number = test.streams[index], jnp.asarray(reynolds)
        deviation = jnp.sqrt(jnp.mean(fields_of(streams).deviation ** 2))
        keys = jax.random.split(jax.random.key(7 + index), WEIGHTED)
        prior = drawn(model, modes, number, keys, STEPS[-1])
        problems = {"probes": Measured(None), "later": Measured(at(base, reynolds))}
        for problem, measured in problems.items():
            seen = all_measured(measured, prior)
            chosen = np.linspace(0, len(streams) - 1, config.states).astype(int)
            true = all_measured(measured, streams[chosen])
            for place, (state, exact) in enumerate(zip(streams[chosen], true, strict=True)):
                key = jax.random.fold_in(jax.random.key(config.seed + 31 * index), place)
                values = exact + config.noise * jax.random.normal(key, exact.shape)
                keys = jax.random.split(key, config.drawn)
                cost = Misfit(measured, modes, values, jnp.var(seen, axis=0), config.noise)
                guided = Guided(model, cost, pull)
                found = {
                    "prior": prior[: config.drawn],
                    "kalman": kalman(prior, seen, values, config.noise, keys),
                    "weighted": weighted(prior, seen, values, config.noise, keys),
                    "guided": drawn(guided, modes, number, keys, config.guided_steps),
                }
                truth = velocities(state)
                for name, states in found.items():
                    samples = jax.vmap(velocities)(states)
                    rows.setdefault(f"{problem}_{name}", []).append(
                        _judged(samples, truth, deviation)
                    )
                if problem == "later" and index == len(config.test) // 2 and place == 0:
                    picture = {name: np.asarray(states) for name, states in found.items()}
                    picture["truth"] = np.asarray(state)
    means = {name: np.mean(found, axis=0) for name, found in rows.items()}
    return {
        f"{name}.{metric}": float(value)
        for name, values in means.items()
        for metric, value in zip(("rmse", "crps", "spread_skill"), values, strict=True)
    }, picture


def _judged(samples: Array, truth: Array, deviation: Array) -> tuple[float, float, float]:
    error = jnp.sqrt(jnp.mean((jnp.mean(samples, axis=0) - truth) ** 2)) / deviation
    score = jnp.mean(ensemble_crps(samples, truth)) / deviation
    return float(error), float(score), float(spread_skill(samples, truth))


def run(config: Config, folder: Path) -> Result:
    """Train, draw, judge; pictures go to `folder`."""
    where = folder / "wakes" if config.data is None else config.data

    def simulated(numbers: tuple[float, ...], count: int) -> Wake:
        duration = count * config.window
        return wakes(where, config.setting, FINER, numbers, duration, config.window)

    known = simulated(config.train, config.windows)
    test = simulated(config.test, config.test_windows)
    modes, samples = leading_modes(known, config.modes)
    validation = samples(simulated(config.validation, config.windows))
    stacked, one_answer, histories = train(config, samples(known), validation, folder)
    metrics, fields = distribution(config, stacked, one_answer, modes, known, test)
    found, states = inverse_problems(config, member(stacked, 0), modes, test)
    _pictures(fields, states, folder)
    losses = {name: history.loss for name, history in histories.items()}
    return Result(metrics | found, histories=losses)


def _pictures(fields: dict[str, Fields], states: dict[str, np.ndarray], folder: Path) -> None:
    """`deviation.png`: the deviation of the velocity across the stream; `posterior.png`: samples
    given three measurements of one probe."""
    figure, axes = plotting.figure(1, len(fields), size=(3.0, 1.8))
    limit = max(float(jnp.max(each.deviation[1])) for each in fields.values())
    for ax, (name, each) in zip(axes[0], fields.items(), strict=True):
        plotting.field(ax, np.asarray(each.deviation[1]), LENGTHS, title=name, limit=limit)
    plotting.save(figure, folder / "deviation.png")
    truth = states.pop("truth")
    figure, axes = plotting.figure(len(states), 4, size=(2.6, 1.5))
    for row, (name, samples) in zip(axes, states.items(), strict=True):
        shown = (truth, *samples[:3])
        for ax, stream, title in zip(row, shown, ("truth", name, name, name), strict=True):
            field = np.asarray(vorticity(fluxes(jnp.asarray(stream))))
            plotting.field(ax, field, LENGTHS, title=title, limit=4.0)
    plotting.save(figure, folder / "posterior.png")


EXPERIMENT = Experiment(
    name="wake-samples",
    summary="flow matching draws the states of a wake, also those that fit a few measurements",
    presets={
        "quick": Config(),
        "full": Config(
            members=5,
            states=24,
            training=Training(
                updates=40_000, batch=256, learning_rate=1e-3, warmup_fraction=0.05, average=0.9995
            ),
        ),
    },
    run=run,
)
