"""Does a loss with the equation make an ensemble more certain, and is it right to be so?

    du/dt + u du/dx = 0.05 d2u/dx2  on -1 < x < 1, 0 < t < 1

Two fronts run into each other: by the transform of Cole and Hopf, with constants b,

    u = sum_i c_i e_i / sum_i e_i,   log e_i = b_i - c_i (x - c_i t / 2) / (2 viscosity)

Given are N noisy measurements of u at random points, and no initial or boundary values. Each member
of an ensemble minimises, over the weights w of a network,

    sum (u - y - e)^2 / (2 noise^2) + sum (w - a)^2 / (2 s^2) + K <residual^2> / (2 tolerance^2)

with a noise e and an anchor a of its own, drawn as the noise of the data and the weights before any
data are: were u linear in w, the members would be draws of the posterior (randomised maximum a
posteriori; Pearce, Leibfried and Brintrup, AISTATS 2020). `with` has the last term, K collocation
points at which the residual is measured as zero, `without` has not.

Of `M` members with the variance v (over `M - 1`), the spread is the root mean square of
`sqrt((M + 1) / M v)` over a grid, which for a right ensemble is the error of the mean
(Fortin et al., J. Hydrometeorol. 15 (2014) 1708). `coverage_95` is that of new measurements, by
spread and known noise; `field_coverage_95` that of the true field by the spread alone, with the
quantile of Student's distribution for few members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import stats

from jaxpbdl import plotting
from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least, rising
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.fields import Box, grid_points, uniform
from jaxpbdl.fields.sampling import Points
from jaxpbdl.learning import PerChunk, fit_ensemble, members, quasi_newton, residual_loss
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import (
    Prediction,
    batch,
    covered,
    expected_square_error,
    normal_half_width,
    predict,
)

VISCOSITY = 0.05
SPEEDS = (1.2, 0.2, -0.6)
"""Values of u before, between and behind the fronts."""
PLACES = (-0.5, 0.5)
"""Of the fronts at t = 0."""
DOMAIN = Box((-1.0, 0.0), (1.0, 1.0))
GRID = (41, 21)
"""Points of the test, in x and t."""
SLICE = 10
"""Index of the time in the picture."""
COVERAGE = 0.95


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the data, the networks and their training."""

    seed: int = 0
    measurements: tuple[Count, ...] = (10, 30, 100)
    repetitions: Annotated[int, at_least(2)] = 3
    """Draws of the data for each number of measurements."""
    members: Annotated[int, at_least(2)] = 6
    noise: Positive = 0.1
    width: Count = 12
    steepness: Positive = 3.0
    """Standard deviation of the first layer's weights before any data, times the root of two."""
    points: Count = 100
    """Collocation points, drawn anew `draws` times in a training."""
    draws: Count = 3
    tolerance: Positive = 0.1
    """Standard deviation of the residual at each of them."""
    updates: Count = 210

    def __post_init__(self):
        super().__post_init__()
        rising("measurements", self.measurements)
        if self.updates % self.draws:
            raise ValueError(
                f"updates must be a multiple of draws, got {self.updates} and {self.draws}"
            )


def exact(point: Float[Array, "2"]) -> Float[Array, ""]:
    """The solution."""
    x, t = point
    speeds = jnp.asarray(SPEEDS, point.dtype)
    # Two exponentials are equal where their front is, at t = 0.
    steps = np.asarray(PLACES) * np.diff(SPEEDS)
    constants = jnp.asarray(np.cumsum([0.0, *steps]) / (2 * VISCOSITY), point.dtype)
    exponents = constants - speeds * (x - speeds * t / 2) / (2 * VISCOSITY)
    return jax.nn.softmax(exponents) @ speeds


class Velocity(eqx.Module):
    """A network as a field of x and t."""

    network: Dense

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        x, t = point
        return self.network(jnp.stack([x, 2 * t - 1]))[0]


class Member(eqx.Module):
    """A field, what its weights are drawn to, and its data: `seen` is one for what was measured
    and zero for what fills the array."""

    trainable_fields = ("field",)

    field: Velocity
    anchor: Velocity
    where: Points
    values: Float[Array, " points"]
    seen: Float[Array, " points"]

    def __call__(self, point: Float[Array, "2"]) -> Float[Array, ""]:
        return self.field(point)


def deviations(network: Dense, steepness: float) -> Dense:
    """The standard deviation of each weight before any data."""
    factors = [steepness] + [1.0] * (len(network.weights) - 1)
    pairs = list(zip(factors, network.weights, network.biases, strict=True))
    return eqx.tree_at(
        lambda n: (n.weights, n.biases),
        network,
        (
            tuple(jnp.full_like(w, factor / len(w) ** 0.5) for factor, w, _ in pairs),
            tuple(jnp.full_like(b, factor) for factor, _, b in pairs),
        ),
    )


def untrained(config: Config) -> list[Member]:
    """The members for each number of measurements, each repetition of each number with data of its
    own: one number after the other, then one repetition after the other."""
    groups = len(config.measurements) * config.repetitions
    data_key, member_key = jax.random.split(jax.random.key(config.seed))
    data_keys = jnp.repeat(jax.random.split(data_key, groups), config.members)
    member_keys = jax.random.split(member_key, groups * config.members)
    counts = np.repeat(config.measurements, config.repetitions * config.members)

    def one(data_key: PRNGKeyArray, key: PRNGKeyArray, count: Array) -> Member:
        most = max(config.measurements)
        place_key, noise_key = jax.random.split(data_key)
        weights_key, again_key = jax.random.split(key)
        where = uniform(place_key, DOMAIN, most)
        measured = jax.vmap(exact)(where) + config.noise * jax.random.normal(noise_key, (most,))
        values = measured + config.noise * jax.random.normal(again_key, (most,))
        start = Velocity(drawn(config, weights_key))
        return Member(start, start, where, values, (jnp.arange(most) < count).astype(float))

    return members(
        eqx.filter_jit(eqx.filter_vmap(one))(data_keys, member_keys, jnp.asarray(counts))
    )


def drawn(config: Config, key: PRNGKeyArray) -> Dense:
    """A network before any data."""
    network = Dense((2, config.width, config.width, 1), key=key)
    sizes, structure = jax.tree.flatten(deviations(network, config.steepness))
    keys = jax.random.split(key, len(sizes))
    values = [
        size * jax.random.normal(k, size.shape, size.dtype)
        for k, size in zip(keys, sizes, strict=True)
    ]
    return jax.tree.unflatten(structure, values)


class Misfit(eqx.Module):
    """The data and the anchor: minus the logarithm of the probability, divided by the number of
    collocation points so that both losses are of the size of a mean."""

    noise: float
    steepness: float
    points: int

    def __call__(self, member: Member, points: Points) -> Float[Array, ""]:
        missed = (jax.vmap(member.field)(member.where) - member.values) / self.noise * member.seen
        away = jax.tree.map(
            lambda w, a, s: jnp.sum(((w - a) / s) ** 2),
            member.field.network,
            member.anchor.network,
            deviations(member.anchor.network, self.steepness),
        )
        return (jnp.sum(missed**2) + sum(jax.tree.leaves(away))) / (2 * self.points)


class Informed(eqx.Module):
    """The misfit and the equation."""

    misfit: Misfit
    tolerance: float

    def __call__(self, member: Member, points: Points) -> Float[Array, ""]:
        residual = residual_loss(Burgers(VISCOSITY), member.field, points)
        return self.misfit(member, points) + residual / (2 * self.tolerance**2)


class Collocation(eqx.Module):
    """Points that are drawn for a chunk of updates."""

    count: int = eqx.field(static=True)

    def __call__(self, key: PRNGKeyArray, member: Member) -> Points:
        return uniform(key, DOMAIN, self.count)


def trained(config: Config, loss: Misfit | Informed, folder: Path) -> dict[int, list[Prediction]]:
    """What the ensemble of each repetition says on the grid of the test, by the number of
    measurements."""
    models = untrained(config)
    stacked, _ = fit_ensemble(
        models,
        loss,
        PerChunk(Collocation(config.points)),
        quasi_newton(),
        config.updates,
        keys=jax.random.split(jax.random.key(config.seed + 1), len(models)),
        chunk=config.updates // config.draws,
        folder=folder,
        name=folder.name,
    )
    points = jnp.asarray(grid_points(DOMAIN, GRID), float)
    found = predict(stacked, points, batch).members.reshape(
        len(config.measurements), config.repetitions, config.members, -1
    )
    return {
        count: [Prediction(one) for one in repetitions]
        for count, repetitions in zip(config.measurements, found, strict=True)
    }


class Score(NamedTuple):
    """Of the test of one repetition."""

    spread: float
    error: float
    coverage_95: float
    field_coverage_95: float


def deviation(found: Prediction) -> Float[Array, " points"]:
    """How far the truth is expected from the mean of the members, if it could be one of them."""
    return jnp.sqrt(expected_square_error(found.members))


def score(
    found: Prediction, truth: Float[Array, " points"], noise: float, key: PRNGKeyArray
) -> Score:
    """Spread, error and coverage over the grid; new measurements have a noise of their own."""
    mean, apart = found.mean, deviation(found)
    new = truth + noise * jax.random.normal(key, truth.shape)
    half = normal_half_width(COVERAGE) * jnp.sqrt(apart**2 + noise**2)
    alone = stats.t.ppf((1 + COVERAGE) / 2, len(found.members) - 1) * apart
    return Score(
        float(jnp.sqrt(jnp.mean(apart**2))),
        float(jnp.sqrt(jnp.mean((mean - truth) ** 2))),
        float(covered(mean - half, mean + half, new)),
        float(covered(mean - alone, mean + alone, truth)),
    )


def summary(scores: Mapping[str, Mapping[int, list[Score]]]) -> dict[str, float]:
    """Means and standard deviations over the repetitions, by way and number of measurements; what
    the equation does to spread and error; the coverages over all."""
    metrics: dict[str, float] = {}
    for way, by_count in scores.items():
        for count, repetitions in by_count.items():
            table = np.asarray(repetitions)
            for name, column in zip(Score._fields, table.T, strict=True):
                metrics[f"{way}_{count}.{name}"] = float(column.mean())
                metrics[f"{way}_{count}.{name}_std"] = float(column.std(ddof=1))
            ratio = np.sqrt(np.mean(table[:, 0] ** 2) / np.mean(table[:, 1] ** 2))
            metrics[f"{way}_{count}.spread_skill"] = float(ratio)
    counts = list(scores["with"])
    for name, quantity in (("shrinkage", "spread"), ("error_shrinkage", "error")):
        ratios = [
            metrics[f"without_{n}.{quantity}"] / metrics[f"with_{n}.{quantity}"] for n in counts
        ]
        metrics[name] = float(np.median(ratios))
    for way in scores:
        for name in ("coverage_95", "field_coverage_95"):
            each = [metrics[f"{way}_{n}.{name}"] for n in counts]
            metrics[f"{way}.{name}"] = float(np.mean(each))
            metrics[f"{way}.smallest_{name}"] = float(np.min(each))
    return metrics


def run(config: Config, folder: Path) -> Result:
    """Train and judge both ways for every number of measurements; a picture goes to `folder`."""
    with jax.enable_x64(True):
        misfit = Misfit(config.noise, config.steepness, config.points)
        ways = {"without": misfit, "with": Informed(misfit, config.tolerance)}
        truth = jax.vmap(exact)(jnp.asarray(grid_points(DOMAIN, GRID), float))
        keys = jax.random.split(jax.random.key(config.seed + 2), config.repetitions)
        scores: dict[str, dict[int, list[Score]]] = {}
        shown: dict[str, Prediction] = {}
        middle = config.measurements[len(config.measurements) // 2]
        for way, loss in ways.items():
            found = trained(config, loss, folder / "checkpoints" / way)
            shown[way] = found[middle][0]
            scores[way] = {
                count: [
                    score(one, truth, config.noise, key)
                    for one, key in zip(repetitions, keys, strict=True)
                ]
                for count, repetitions in found.items()
            }
        _picture(scores, shown, middle, truth, folder)
    return Result(summary(scores))


def _picture(
    scores: Mapping[str, Mapping[int, list[Score]]],
    shown: Mapping[str, Prediction],
    count: int,
    truth: Array,
    folder: Path,
) -> None:
    """`shrinks.png`: spread and error over the number of measurements, and the field at one
    time."""
    figure, axes = plotting.figure(1, 2, size=(3.8, 3.0))
    ax, slice_ax = axes[0]
    x = np.linspace(DOMAIN.lower[0], DOMAIN.upper[0], GRID[0])
    for (way, by_count), colour in zip(scores.items(), plotting.LINES, strict=False):
        counts = list(by_count)
        means = np.array([np.mean(by_count[n], axis=0) for n in counts])
        ax.plot(counts, means[:, 0], "o-", color=colour, label=f"spread {way}", markersize=3)
        ax.plot(counts, means[:, 1], "s--", color=colour, label=f"error {way}", markersize=3)
        mean = np.asarray(shown[way].mean).reshape(GRID)[:, SLICE]
        half = stats.t.ppf((1 + COVERAGE) / 2, len(shown[way].members) - 1) * deviation(shown[way])
        half = np.asarray(half).reshape(GRID)[:, SLICE]
        slice_ax.fill_between(x, mean - half, mean + half, color=colour, alpha=0.25, linewidth=0)
        slice_ax.plot(x, mean, color=colour, label=f"{way}, {count} measurements")
    ax.set(xscale="log", yscale="log", xlabel="measurements", ylabel="RMS")
    ax.legend(frameon=False, fontsize=8)
    slice_ax.plot(
        x, np.asarray(truth).reshape(GRID)[:, SLICE], color="black", linewidth=0.8, label="truth"
    )
    time = np.linspace(DOMAIN.lower[1], DOMAIN.upper[1], GRID[1])[SLICE]
    slice_ax.set(xlabel="x", ylabel=f"u at t = {time:g}, bands of 95 %")
    slice_ax.legend(frameon=False, fontsize=8)
    plotting.save(figure, folder / "shrinks.png")


EXPERIMENT = Experiment(
    name="physics-shrinks-uncertainty",
    summary="an ensemble with and without the equation in its loss: spread, error and coverage",
    presets={
        "quick": Config(),
        "full": Config(
            measurements=(10, 30, 100, 300, 1000), repetitions=10, members=16, width=20,
            points=300, draws=5, updates=1000,
        ),
    },
    run=run,
)  # fmt: skip
