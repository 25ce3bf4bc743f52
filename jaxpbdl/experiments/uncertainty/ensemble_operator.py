"""An ensemble of learned time steps that knows how wrong it is.

    du/dt + u du/dx = 0.05 d2u/dx2,  periodic; states 0.1 apart, forecasts of 30 steps

Convolutional networks step the solution on. `deep` is a deep ensemble: each member minimises its
own error, over two steps and, in the last 15 % of the updates, over eight. `crps` has the same
members before these updates, and in them the same windows, with the continuous ranked probability
score of all members together. Both are judged as they are, and with their spread at each time set
right on calibration trajectories (`deep_rescaled`, `crps_rescaled`). Simultaneous bands about the
mean hold the whole forecast, all points and times at once, with 90 % probability (conformal, on the
same calibration trajectories). Flows from starts with shorter waves or of twice the size show
whether the spread tells that the ensemble is out of its depth: the area under the curve of hits
over false alarms, one for a perfect alarm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.diagnostics import area_under_curve
from jaxpbdl.distributed import map_members
from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.configuration import Count, Fraction, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.grids import Periodic
from jaxpbdl.initial_states import peaked, random_field
from jaxpbdl.learning import Emulator, Windows, fit, fit_ensemble, members, unrolled
from jaxpbdl.networks import ConvNet
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.spectral import semilinear
from jaxpbdl.uncertainty import conformal_band, covered, ensemble_crps, predict, spread_skill
from jaxpbdl.uncertainty.together import Together, crps_unrolled, rescaled

VISCOSITY, DT, SUBSTEPS = 0.05, 0.01, 10
STEPS = 30
PEAK = 2.0
"""Wavenumber of the starts' largest waves."""
COVERAGE = 0.9


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the data, the networks and their training."""

    seed: int = 0
    members: Count = 4
    points: Count = 64
    train: Count = 200
    calibration: Count = 1500
    test: Count = 1500
    width: Count = 24
    depth: Count = 4
    updates: Count = 1500
    batch: Count = 32
    learning_rate: Positive = 3e-3
    last: Fraction = 0.15
    """Share of the updates in which the two ensembles differ."""
    last_rate: Positive = 1e-3
    """The learning rate at the beginning of the last updates."""

    def __post_init__(self):
        super().__post_init__()
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}")


class Conservative(eqx.Module):
    """A network whose output has no mean: the equation keeps that of its unknown."""

    network: ConvNet

    def __call__(self, state: Float[Array, "1 x"]) -> Float[Array, "1 x"]:
        change = self.network(state)
        return change - jnp.mean(change)


def trajectories(
    key: PRNGKeyArray, count: int, points: int, peak: float = PEAK, size: float = 1.0
) -> Float[Array, "count snapshots x"]:
    """True solutions from random starts."""
    grid = Periodic(points)
    solver = semilinear(Burgers(VISCOSITY), grid, DT)

    def one(key: PRNGKeyArray) -> Array:
        start = size * random_field(key, grid, peaked(peak))
        return rollout(solver, start, STEPS * SUBSTEPS, SUBSTEPS)

    return map_members(one, jax.random.split(key, count))


def trained(config: Config, data: Array, folder: Path) -> dict[str, Emulator]:
    """The two ensembles, their members stacked."""
    start, first_key, last_key = jax.random.split(jax.random.key(config.seed), 3)
    last = max(1, round(config.last * config.updates))
    first = config.updates - last
    solver = semilinear(Burgers(VISCOSITY), Periodic(config.points), DT)

    def emulator(key: PRNGKeyArray) -> Emulator:
        network = ConvNet(1, 1, 1, width=config.width, depth=config.depth, key=key)
        return Emulator(Conservative(network), features=solver.channels)

    def optimiser(rate: float, updates: int) -> optax.GradientTransformation:
        return Training(updates, config.batch, rate, warmup_fraction=0.05).optimiser()

    def keep(name: str) -> dict:
        return {"folder": folder / "checkpoints" / name, "save_every": 20, "name": name}

    keys = jax.random.split(start, config.members)
    short, long = (Windows(data, steps, config.batch) for steps in (2, 8))
    base, _ = fit_ensemble(
        emulator, unrolled, short, optimiser(config.learning_rate, first), first,
        keys=keys, **keep("first"),
    )  # fmt: skip
    deep, _ = fit_ensemble(
        members(base), unrolled, long, optimiser(config.last_rate, last), last,
        keys=jax.random.split(first_key, config.members), **keep("deep"),
    )  # fmt: skip
    together, _ = fit(
        Together(base), crps_unrolled, long, optimiser(config.last_rate, last), last,
        key=last_key, **keep("crps"),
    )  # fmt: skip
    return {"deep": deep, "crps": together.members}


def forecast(step: Emulator, starts: Float[Array, "count x"]) -> Float[Array, "count steps x"]:
    """Of one member, from many starts."""
    return jax.vmap(lambda start: rollout(step, start, STEPS, checkpoint=False)[1:])(starts)


def forecasts(stacked: Emulator, data: Array) -> Float[Array, "members count steps x"]:
    """Of all members, from the first states."""
    return predict(stacked, data[:, 0], forecast).members


def band_coverage(
    calibration: tuple[Array, Array], test: tuple[Array, Array]
) -> tuple[float, float]:
    """The share of the test's forecasts that lie within their bands as a whole, and the mean width
    of a band, for members and truths of both."""
    (known, known_truth), (members_, truth) = calibration, test
    # Time by time a floor, so that where all members agree by chance the band does not vanish.
    floor = jnp.mean(jnp.std(known, axis=0), axis=(0, 2), keepdims=True)[0]
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


def run(config: Config, folder: Path) -> Result:
    """Train both ensembles and judge them; a picture goes to `folder`."""
    keys = jax.random.split(jax.random.key(1000), 5)
    sizes = (config.train, config.calibration, config.test)
    data, calibration, test = (
        trajectories(key, count, config.points) for key, count in zip(keys, sizes, strict=False)
    )
    strange = {
        "short_waves": trajectories(keys[3], 300, config.points, peak=2 * PEAK),
        "twice_the_size": trajectories(keys[4], 300, config.points, size=2.0),
    }
    metrics: dict[str, float] = {}
    ratios = {}
    for name, stacked in trained(config, data, folder).items():
        known, found = forecasts(stacked, calibration), forecasts(stacked, test)
        truth, known_truth = test[:, 1:], calibration[:, 1:]
        factor = 1 / spread_skill(known, known_truth, axis=(0, 2))
        for label, all_members in (
            (name, found),
            (f"{name}_rescaled", rescaled(found, factor[:, None])),
        ):
            ratio = np.asarray(spread_skill(all_members, truth, axis=(0, 2)))
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
        for kind, flows in strange.items():
            alarms = np.concatenate([alarm, _alarm(forecasts(stacked, flows))])
            unknown = np.arange(len(alarms)) >= len(alarm)
            metrics[f"{name}.auc_{kind}"] = area_under_curve(alarms, unknown)
        if name == "crps":
            _picture(ratios, found, truth, folder)
    metrics["spread_skill"] = metrics["crps_rescaled.spread_skill"]
    metrics["crps_gain"] = 1 - metrics["crps.crps"] / metrics["deep.crps"]
    metrics["crps_gain_rescaled"] = (
        1 - metrics["crps_rescaled.crps"] / metrics["deep_rescaled.crps"]
    )
    return Result(metrics)


def _alarm(found: Array) -> np.ndarray:
    """Of each forecast the spread over the first ten steps."""
    return np.asarray(jnp.sqrt(jnp.mean(jnp.var(found[:, :, :10], axis=0), axis=(1, 2))))


def _picture(ratios: Mapping[str, np.ndarray], found: Array, truth: Array, folder: Path) -> None:
    """`ensemble.png`: spread over skill along the forecast, and one forecast."""
    figure, axes = plotting.figure(1, 2, size=(3.6, 2.8))
    ax, flow = axes[0]
    times = DT * SUBSTEPS * np.arange(1, STEPS + 1)
    for name, ratio in ratios.items():
        ax.plot(times, ratio, label=name.replace("_", " "))
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set(xlabel="time", ylabel="spread over skill", ylim=(0, 2.5))
    ax.legend()
    shown = np.asarray(found[:, 0, 9])
    mean, deviation = shown.mean(0), shown.std(0)
    places = np.arange(len(mean))
    flow.fill_between(places, mean - 2 * deviation, mean + 2 * deviation, alpha=0.3, linewidth=0)
    flow.plot(places, mean, label="mean and twice the spread")
    flow.plot(places, truth[0, 9], color="black", linewidth=0.8, label="truth")
    flow.set(xlabel="point", ylabel=f"velocity at t = {times[9]:g}")
    flow.legend()
    plotting.save(figure, folder / "ensemble.png")


EXPERIMENT = Experiment(
    name="ensemble-operator",
    summary="learned time steps whose spread is trained to equal their error, with bands",
    presets={"quick": Config(), "full": Config(members=8, width=32, updates=6000)},
    run=run,
)
