"""Ensembles of time steps, trained in two ways and judged by the same measures.

`deep` is a deep ensemble: each member minimises its own error, over short windows and, in the last
share of the updates, over longer ones. `crps` has the same members before these updates, and in
them the same windows, with the continuous ranked probability score of all members together. `noisy`
is one network that draws noise, trained by the score of as many samples as the others have members,
on the same windows: as many rollouts are differentiated, and as many are run for a forecast. All
are judged as they are, and with their spread at each time set right on calibration trajectories
(`deep_rescaled` and so on). Simultaneous bands about the mean hold the whole forecast, all
points and times at once, with 90 % probability (conformal, on the same calibration trajectories).
Flows of another kind show whether the spread tells that the ensemble is out of its depth: the area
under the curve of hits over false alarms, one for a perfect alarm.

A state is an array or a tree of arrays. What of it is trained on and judged is its `measure`, an
array: all errors, spreads and scores are means over its values, each with the same weight.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import plotting
from jaxpbdl.diagnostics import area_under_curve
from jaxpbdl.experiments.configuration import Count, Fraction, Positive, Validated
from jaxpbdl.experiments.contract import Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import Windows, fit, fit_ensemble, members, unrolled
from jaxpbdl.learning.losses import Measure, itself
from jaxpbdl.rollouts import rollout
from jaxpbdl.step import Step
from jaxpbdl.uncertainty import (
    conformal_band,
    conformal_quantile,
    covered,
    ensemble_crps,
    predict,
    spread_skill,
)
from jaxpbdl.uncertainty.noise import Noisy, noisy_crps
from jaxpbdl.uncertainty.together import Together, crps_unrolled, measured_later, rescaled

COVERAGE = 0.9
ALARM_STEPS = 10
"""Of a forecast, over which its spread is an alarm."""


@dataclass(frozen=True)
class Ensembles(Validated):
    """Settings of the members and their training, of all experiments with such ensembles."""

    seed: int = 0
    members: Count = 4
    width: Count = 24
    depth: Count = 4
    updates: Count = 1500
    batch: Count = 32
    short: Count = 2
    """Steps in a window of the first updates."""
    long: Count = 8
    """Steps in a window of the last ones."""
    learning_rate: Positive = 3e-3
    last: Fraction = 0.15
    """Share of the updates in which the two ensembles differ."""
    last_rate: Positive = 1e-3
    """The learning rate at the beginning of the last updates."""
    noise_channels: Count = 2
    """That the network sees which draws noise."""

    def __post_init__(self):
        super().__post_init__()
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}")
        conformal_quantile(np.zeros(self.calibrated), COVERAGE)  # refuses too few

    @property
    def calibrated(self) -> int:
        """Forecasts of the calibration."""
        raise NotImplementedError(f"{type(self).__name__} must define calibrated")


@dataclass(frozen=True)
class Flows:
    """States, leaves `(trajectories, steps + 1, ..)`: forecasts start from the first of each."""

    train: PyTree[Float[Array, "train snapshots ..."]]
    calibration: PyTree[Float[Array, "calibration times ..."]]
    test: PyTree[Float[Array, "test times ..."]]
    strange: Mapping[str, PyTree[Float[Array, "strange times ..."]]]
    """Of another kind than those of the training."""


Make: TypeAlias = Callable[[PRNGKeyArray, int], Step]
"""From a key, and the number of further channels that the network sees, to a hybrid or emulator."""
Moved: TypeAlias = Callable[[Step], Step]
"""From a hybrid to the one with its network in another solver."""


def trained(
    config: Ensembles, make: Make, data: PyTree, folder: Path, measure: Measure = itself
) -> tuple[dict[str, Step], dict[str, np.ndarray]]:
    """The three ensembles, two with their members stacked, and the losses of the fits."""
    start, first_key, last_key = jax.random.split(jax.random.key(config.seed), 3)
    last = max(1, round(config.last * config.updates))
    first = config.updates - last

    def optimiser(rate: float, updates: int) -> optax.GradientTransformation:
        return Training(updates, config.batch, rate, warmup_fraction=0.05).optimiser()

    def keep(name: str) -> dict:
        return {"folder": folder / "checkpoints" / name, "save_every": 20, "name": name}

    keys = jax.random.split(start, config.members)
    short, long = (Windows(data, steps, config.batch) for steps in (config.short, config.long))
    error = eqx.Partial(unrolled, measure=measure)
    base, begun = fit_ensemble(
        lambda key: make(key, 0), error, short, optimiser(config.learning_rate, first), first,
        keys=keys, **keep("first"),
    )  # fmt: skip
    deep, ended = fit_ensemble(
        members(base), error, long, optimiser(config.last_rate, last), last,
        keys=jax.random.split(first_key, config.members), **keep("deep"),
    )  # fmt: skip
    together, scored = fit(
        Together(base), eqx.Partial(crps_unrolled, measure=measure), long,
        optimiser(config.last_rate, last), last, key=last_key, **keep("crps"),
    )  # fmt: skip
    losses = {"first": begun[0].loss, "deep": ended[0].loss, "crps": scored.loss}
    noisy = Noisy(make(start, config.noise_channels), config.noise_channels)

    def score(model: Noisy, windows: PyTree, key: PRNGKeyArray) -> Array:
        return noisy_crps(model, windows, key, samples=config.members, measure=measure)

    stages = (
        ("noisy-first", short, optimiser(config.learning_rate, first), first),
        ("noisy", long, optimiser(config.last_rate, last), last),
    )
    for stage, (name, windows, chosen, updates) in enumerate(stages):
        key = jax.random.fold_in(last_key, stage)
        noisy, history = fit(noisy, score, windows, chosen, updates, key=key, **keep(name))
        losses[name] = history.loss
    return {"deep": deep, "crps": together.members, "noisy": noisy}, losses


def forecasts(
    stacked: PyTree,
    data: PyTree[Float[Array, "count times ..."]],
    members: int,
    measure: Measure = itself,
) -> Float[Array, "members count steps *values"]:
    """Of all members, from the first states; of a step that draws noise as many samples."""
    steps = jax.tree.leaves(data)[0].shape[1] - 1
    starts = jax.tree.map(lambda leaf: leaf[:, 0], data)
    if isinstance(stacked, Noisy):
        return _samples(stacked, starts, steps, members, measure)

    def forecast(step: Step, starts: PyTree) -> Array:
        def one(start: PyTree) -> Array:
            return rollout(step, start, steps, observe=measure, checkpoint=False)[1:]

        # In turns: all at once would be many fields at all times.
        return jax.lax.map(one, starts, batch_size=64)

    return predict(stacked, starts, forecast).members


@eqx.filter_jit
def _samples(step: Noisy, starts: PyTree, steps: int, members: int, measure: Measure) -> Array:
    count = len(jax.tree.leaves(starts)[0])
    keys = jax.random.split(jax.random.key(3000), (count, members))

    def one(given: tuple[PyTree, Array]) -> Array:
        start, keys = given
        return jax.vmap(lambda key: step.sample(key, start, steps, measure)[1:])(keys)

    return jnp.moveaxis(jax.lax.map(one, (starts, keys), batch_size=16), 1, 0)


def band_coverage(
    calibration: tuple[Array, Array], test: tuple[Array, Array]
) -> tuple[float, float]:
    """The share of the test's forecasts that lie within their bands as a whole, and the mean width
    of a band, for members and truths of both."""
    (known, known_truth), (members_, truth) = calibration, test
    # Time by time a floor, so that where all members agree by chance the band does not vanish.
    rest = (0, *range(2, known.ndim - 1))
    floor = jnp.mean(jnp.std(known, axis=0), axis=rest, keepdims=True)[0]
    size = jnp.std(known, axis=0) + floor
    errors = jnp.mean(known, axis=0) - known_truth

    def one(all_members: Array, right: Array, errors: Array, size: Array) -> tuple[Array, Array]:
        deviation = jnp.std(all_members, axis=0) + floor
        ends = conformal_band(jnp.mean(all_members, axis=0), deviation, errors, size, COVERAGE)
        lower, upper = (jnp.asarray(end) for end in ends)
        return covered(lower, upper, right) == 1, jnp.mean(upper - lower)

    def every(members_: Array, truth: Array, errors: Array, size: Array) -> tuple[Array, Array]:
        pairs = (jnp.moveaxis(members_, 1, 0), truth)
        return jax.lax.map(lambda pair: one(pair[0], pair[1], errors, size), pairs)

    inside, width = jax.jit(every)(members_, truth, errors, size)
    return float(jnp.mean(inside)), float(jnp.mean(width))


def judged(
    config: Ensembles,
    make: Make,
    flows: Flows,
    interval: float,
    folder: Path,
    *,
    measure: Measure = itself,
    moved: Mapping[str, Moved] | None = None,
) -> Result:
    """Train both ensembles of the steps that `make` makes and judge them; a picture of the spread
    over the time, `interval` a step, goes to `folder`.

    **Arguments:** `measure`, from a state to the array that is judged, whose grid are the last axes
    of; `moved`, of flows of another kind whose solver is another: how it comes to the network.

    **Raises:** ValueError for a name in `moved` that no flows of another kind have.
    """
    moved = {} if moved is None else moved
    if not moved.keys() <= flows.strange.keys():
        raise ValueError(f"moved must be of {sorted(flows.strange)}, got {sorted(moved)}")
    metrics: dict[str, float] = {}
    ratios = {}
    ensembles, losses = trained(config, make, flows.train, folder, measure)
    truth, known_truth = (measured_later(part, measure) for part in (flows.test, flows.calibration))
    space = tuple(range(2, truth.ndim))
    for name, stacked in ensembles.items():
        known, found = (
            forecasts(stacked, part, config.members, measure)
            for part in (flows.calibration, flows.test)
        )
        factor = 1 / spread_skill(known, known_truth, axis=(0, *space))
        factor = factor.reshape(-1, *[1] * len(space))
        for label, all_members in (
            (name, found),
            (f"{name}_rescaled", rescaled(found, factor)),
        ):
            ratio = np.asarray(spread_skill(all_members, truth, axis=(0, *space)))
            ratios[label] = ratio
            metrics |= {
                f"{label}.crps": float(jnp.mean(ensemble_crps(all_members, truth, fairness=0.0))),
                f"{label}.rmse": float(jnp.sqrt(jnp.mean((all_members.mean(0) - truth) ** 2))),
                f"{label}.spread_skill": float(spread_skill(all_members, truth)),
                f"{label}.smallest_spread_skill": float(ratio.min()),
                f"{label}.largest_spread_skill": float(ratio.max()),
            }
        inside, width = band_coverage((known, known_truth), (found, truth))
        metrics |= {f"{name}.band_coverage_90": inside, f"{name}.band_width": width}
        alarm = _alarm(found)
        for kind, states in flows.strange.items():
            there = _moved(stacked, moved[kind]) if kind in moved else stacked
            found_there = forecasts(there, states, config.members, measure)
            alarms = np.concatenate([alarm, _alarm(found_there)])
            unknown = np.arange(len(alarms)) >= len(alarm)
            metrics[f"{name}.auc_{kind}"] = area_under_curve(alarms, unknown)
        if name == "noisy":
            _picture(ratios, found, truth, interval, folder)
    metrics["spread_skill"] = metrics["noisy.spread_skill"]
    for name in ("crps", "noisy"):
        for kind in ("", "_rescaled"):
            gain = 1 - metrics[f"{name}{kind}.crps"] / metrics[f"deep{kind}.crps"]
            metrics[f"{name}{kind}.gain"] = gain
    return Result(metrics, histories=losses)


def _moved(stacked: PyTree, move: Moved) -> PyTree:
    """All members, or the one step that draws noise, with another solver."""
    if isinstance(stacked, Noisy):
        return eqx.tree_at(lambda noisy: noisy.step, stacked, move(stacked.step))
    return eqx.filter_vmap(move)(stacked)


def _alarm(found: Array) -> np.ndarray:
    """Of each forecast the spread over the first steps."""
    spread = jnp.var(found[:, :, :ALARM_STEPS], axis=0)
    return np.asarray(jnp.sqrt(jnp.mean(spread, axis=tuple(range(1, spread.ndim)))))


def _picture(
    ratios: Mapping[str, np.ndarray], found: Array, truth: Array, interval: float, folder: Path
) -> None:
    """`ensemble.png`: spread over skill along the forecast (or of what has one step), and one
    forecast."""
    plane, steps = truth.ndim >= 4, truth.shape[1]
    figure, axes = plotting.figure(1, 4 if plane else 2, size=(3.2, 2.6))
    ax = axes[0, 0]
    times = interval * np.arange(1, steps + 1)
    if steps == 1:
        names = [name.replace("_", " ") for name in ratios]
        ax.barh(names, [float(ratio[0]) for ratio in ratios.values()])
        ax.axvline(1, color="black", linewidth=0.8)
        ax.set(xlabel="spread over skill")
    else:
        for name, ratio in ratios.items():
            ax.plot(times, ratio, label=name.replace("_", " "))
        ax.axhline(1, color="black", linewidth=0.8)
        ax.set(xlabel="time", ylabel="spread over skill", ylim=(0, 2.5))
        ax.legend()
    last = min(ALARM_STEPS, steps) - 1
    shown, right = np.asarray(found[:, 0, last]), np.asarray(truth[0, last])
    if truth.ndim == 5:  # components of a velocity, of which the first
        shown, right = shown[:, 0], right[0]
    mean, deviation = shown.mean(0), shown.std(0)
    moment = "sample 0" if steps == 1 else f"t = {times[last]:g}"
    if plane:
        plotting.field(axes[0, 1], right, title=f"truth, {moment}")
        errors = {"error of the mean": np.abs(mean - right), "spread": deviation}
        limit = max(float(error.max()) for error in errors.values())
        for ax, (title, error) in zip(axes[0, 2:], errors.items(), strict=True):
            plotting.field(ax, error, title=title, limit=limit)
    else:
        flow, places = axes[0, 1], np.arange(len(mean))
        ends = (mean - 2 * deviation, mean + 2 * deviation)
        flow.fill_between(places, *ends, alpha=0.3, linewidth=0)
        flow.plot(places, mean, label="mean and twice the spread")
        flow.plot(places, right, color="black", linewidth=0.8, label="truth")
        flow.set(xlabel="point", ylabel=f"velocity at {moment}")
        flow.legend()
    plotting.save(figure, folder / "ensemble.png")
