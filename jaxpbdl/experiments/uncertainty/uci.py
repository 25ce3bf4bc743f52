"""Deep ensembles on tables of measured data, beside the published ones.

Twenty splits of each table into 90 % for training and 10 % for the test, five networks for each
split, a hundred networks in one compiled program. A network gives a mean and a variance; the
members of a split leave out a different fifth of the training samples each, on which their best
weights are found by the negative log-likelihood. Inputs are whitened, targets scaled, by the mean
and the covariance of the training samples. The prediction is the normal distribution with mean and
variance of the mixture of the members (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017). The
samples that members left out give intervals that need no normal distribution (CV+).

The settings of each table (`SETTINGS`) were chosen by the likelihood of the samples left out, over
all splits; a sample of one split's test is in the training of others, as in the published tables.

The table `energy` of these data is left out: its targets are not the measured ones but numbers of
levels, sorted as text, so that 6 comes after 43.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.data.locate import find
from jaxpbdl.data.uci import Regression, read_regression, splits
from jaxpbdl.distributed import map_members
from jaxpbdl.experiments.configuration import Count, NonNegative, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import fit_ensemble, members
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import (
    Heteroscedastic,
    Normal,
    Prediction,
    beta_nll,
    calibration_curve,
    calibration_error,
    covered,
    gaussian_crps,
    gaussian_nll,
    gaussian_pit,
    jackknife_plus,
    normal_half_width,
)
from jaxpbdl.uncertainty.resampling import Pool, Resampled, folds, on_own_rows

COVERAGE = 0.95
LOOKS = 20
"""Validations of a training."""
RIDGE = 1e-6
"""Added to the variances of the scaled inputs, which may depend on one another."""

SOURCE = "deep ensembles, Lakshminarayanan, Pritzel and Blundell 2017, table 1"
RMSE = {
    "concrete": 6.03, "kin8nm": 0.09, "naval-propulsion": 0.00, "power-plant": 4.11, "yacht": 1.58,
}  # fmt: skip
NLL = {
    "concrete": 3.06, "kin8nm": -1.20, "naval-propulsion": -5.63, "power-plant": 2.79,
    "yacht": 1.18,
}  # fmt: skip
LATER = {
    "concrete": "4.82 and 2.83", "kin8nm": "0.08 and -1.28", "naval-propulsion": "0.00 and -6.33",
    "power-plant": "4.01 and 2.78", "yacht": "0.67 and 0.16",
}  # fmt: skip
"""The best of later tables, each for itself: MC dropout with ten times the epochs (Gal's
repository), NGBoost, refined variational inference, PBP-MV (uncertainty-baselines), Wasserstein
boosting."""


@dataclass(frozen=True)
class Setting(Validated):
    """Of the networks for one table, and of their training."""

    hidden: tuple[Count, ...]
    updates: Count
    batch: Count = 64
    learning_rate: Positive = 0.01
    weight_decay: NonNegative = 0.1
    relu: bool = False
    """The activation; SiLU otherwise."""


SETTINGS: Mapping[str, Setting] = {
    "concrete": Setting((100, 100), 3000, weight_decay=0.3, relu=True),
    "kin8nm": Setting((50, 50), 6000, batch=256),
    "naval-propulsion": Setting((50, 50), 10_000, batch=128, weight_decay=0.0),
    "power-plant": Setting((70, 70), 6000, batch=128, weight_decay=0.03, relu=True),
    "yacht": Setting((50, 50), 3000),
}


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the run."""

    seed: int = 0
    sets: tuple[str, ...] = ("yacht", "concrete")
    splits: Count = 20
    members: Count = 5
    effort: Positive = 1.0
    """Updates over those of `SETTINGS`."""

    def __post_init__(self):
        super().__post_init__()
        unknown = [name for name in self.sets if name not in SETTINGS]
        if unknown or not self.sets:
            raise ValueError(f"sets must be some of {', '.join(SETTINGS)}, got {self.sets}")
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}")


class Scaled(eqx.Module):
    """A network between whitened inputs and scaled targets: gives a `Normal` in their units."""

    trainable_fields = ("network",)

    network: Heteroscedastic
    centre: Float[Array, " in"]
    whitening: Float[Array, "in in"]
    target_centre: Float[Array, ""]
    target_scale: Float[Array, ""]

    def in_scale(self, inputs: Float[Array, " in"]) -> Normal:
        """Of the scaled targets."""
        return self.network((inputs - self.centre) @ self.whitening)

    def __call__(self, inputs: Float[Array, " in"]) -> Normal:
        mean, variance = self.in_scale(inputs)
        scale = self.target_scale
        return Normal(self.target_centre + scale * mean, scale**2 * variance)

    def scaled(self, targets: Float[Array, " samples"]) -> Float[Array, "samples 1"]:
        return ((targets - self.target_centre) / self.target_scale)[:, None]


Samples = tuple[Float[Array, "samples in"], Float[Array, " samples"]]


def loss(model: Scaled, batch: Samples) -> Float[Array, ""]:
    inputs, targets = batch
    return beta_nll(jax.vmap(model.in_scale)(inputs), model.scaled(targets))


class LeftOut(eqx.Module):
    """The negative log-likelihood of the samples that a member left out, for `validate`."""

    inputs: Float[Array, "samples in"]
    targets: Float[Array, " samples"]

    def __call__(self, member: Resampled) -> Float[Array, ""]:
        predicted = jax.vmap(member.model.in_scale)(self.inputs[member.held])
        truth = member.model.scaled(self.targets[member.held])
        return jnp.mean(gaussian_nll(predicted.mean, predicted.variance, truth))


def untrained(
    table: Regression, config: Config, setting: Setting
) -> tuple[list[Resampled], Int[np.ndarray, "splits test"]]:
    """The members of all splits, one split after the other, and the rows of the tests."""
    rows, test = splits(len(table), config.splits)
    keys = jax.random.split(jax.random.key(config.seed), config.splits * config.members)
    sizes = (table.inputs.shape[1], *setting.hidden, 2)
    activation = jax.nn.relu if setting.relu else jax.nn.silu

    def network(key: PRNGKeyArray) -> Heteroscedastic:
        return Heteroscedastic(Dense(sizes, activation=activation, scale=2**0.5, key=key))

    networks = iter(members(eqx.filter_jit(eqx.filter_vmap(network))(keys)))
    found = []
    for train in rows:
        scales = scaling(table.inputs[train], table.targets[train])
        for seen, held in zip(*folds(train, config.members), strict=True):
            model = Scaled(next(networks), *scales)
            found.append(Resampled(model, jnp.asarray(seen), jnp.asarray(held)))
    return found, test


def scaling(
    inputs: Float[np.ndarray, "samples in"], targets: Float[np.ndarray, " samples"]
) -> tuple[Array, Array, Array, Array]:
    """The mean of the inputs and the matrix that makes their covariance one; mean and standard
    deviation of the targets."""
    centre, scale = inputs.mean(0), inputs.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(np.cov(((inputs - centre) / scale).T, ddof=0))
    whitening = vectors / np.sqrt(np.maximum(values, 0) + RIDGE) / scale[:, None]
    numbers = (centre, whitening, targets.mean(), targets.std())
    return tuple(jnp.asarray(number, float) for number in numbers)  # pyright: ignore[reportReturnType]


class Score(NamedTuple):
    """Of the test of one split (or stacked, of all)."""

    rmse: Float[Array, "*splits"]
    nll: Float[Array, "*splits"]
    crps: Float[Array, "*splits"]
    coverage: Float[Array, "*splits"]
    single_rmse: Float[Array, "*splits"]
    single_nll: Float[Array, "*splits"]
    epistemic: Float[Array, "*splits"]
    """The share of the predicted variance."""
    pit: Float[Array, "*splits test"]


class Judged(NamedTuple):
    """Scores of all splits, the share of their tests within CV+, and the seconds that the training
    of their members took."""

    score: Score
    cv_coverage: float
    seconds: float


def judged(table: Regression, config: Config, setting: Setting, folder: Path) -> Judged:
    """Train the ensembles of all splits of a table at once, and hold them against the tests."""
    models, test = untrained(table, config, setting)
    data = (jnp.asarray(table.inputs, float), jnp.asarray(table.targets, float))
    updates = max(round(config.effort * setting.updates), LOOKS)
    training = Training(updates, setting.batch, setting.learning_rate, average=None)
    start = time.perf_counter()
    trained, _ = fit_ensemble(
        models,
        on_own_rows(loss),
        Pool(data, setting.batch),
        training.optimiser(optax.adamw, weight_decay=setting.weight_decay),
        updates,
        keys=jax.random.split(jax.random.key(config.seed + 1), len(models)),
        chunk=updates // LOOKS,
        validate=LeftOut(*data),
        folder=folder,
        save_every=LOOKS,
        name=folder.name,
    )
    seconds = time.perf_counter() - start
    outputs = map_members(eqx.Partial(_of_all, inputs=data[0]), trained)
    by_split = (config.splits, config.members, -1)
    parts = jax.tree.map(lambda leaf: leaf.reshape(by_split), (outputs, trained.held))
    score = jax.vmap(_score, (0, None, 0))(parts[0], data[1], jnp.asarray(test))
    means = np.asarray(parts[0].mean)
    inside = [
        _within(mean, table.targets, *rows)
        for mean, *rows in zip(means, np.asarray(parts[1]), test, strict=True)
    ]
    return Judged(score, float(np.mean(inside)), seconds)


def _of_all(member: Resampled, inputs: Float[Array, "samples in"]) -> Normal:
    return jax.vmap(member.model)(inputs)


def _within(
    means: Float[np.ndarray, "members samples"],
    targets: Float[np.ndarray, " samples"],
    held: Int[np.ndarray, "members held"],
    test: Int[np.ndarray, " test"],
) -> float:
    """The share of the test of one split within the intervals of CV+: of each sample that was left
    out, with the error of the member that left it out."""
    errors = np.take_along_axis(means, held, 1) - targets[held]
    by_sample = np.repeat(means[:, test], held.shape[1], axis=0)
    lower, upper = jackknife_plus(by_sample, errors.reshape(-1).astype(means.dtype), COVERAGE)
    return float(np.mean((lower <= targets[test]) & (targets[test] <= upper)))


def _score(outputs: Normal, targets: Array, test: Array) -> Score:
    """Of one split: outputs `(members, samples)` for all rows, and the rows of the test."""
    noise, truth = outputs.variance[:, test], targets[test]
    tested = Prediction(outputs.mean[:, test], noise)
    mean, variance, deviation = tested.mean, tested.variance, tested.deviation
    half = normal_half_width(COVERAGE) * deviation
    return Score(
        rmse=jnp.sqrt(jnp.mean((mean - truth) ** 2)),
        nll=jnp.mean(gaussian_nll(mean, variance, truth)),
        crps=jnp.mean(gaussian_crps(mean, deviation, truth)),
        coverage=covered(mean - half, mean + half, truth),
        single_rmse=jnp.mean(jnp.sqrt(jnp.mean((tested.members - truth) ** 2, axis=1))),
        single_nll=jnp.mean(jax.vmap(gaussian_nll, (0, 0, None))(tested.members, noise, truth)),
        epistemic=jnp.mean(tested.epistemic / variance),
        pit=gaussian_pit(mean, deviation, truth),
    )


def run(config: Config, folder: Path) -> Result:
    """Train and judge on every table; a picture goes to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    notes: dict[str, str] = {}
    curves = {}
    for name in config.sets:
        table = read_regression(find(name), name)
        found = judged(table, config, SETTINGS[name], folder / "checkpoints" / name)
        score = found.score
        curves[name] = score.pit
        means = {key: float(jnp.mean(value)) for key, value in score._asdict().items()}
        metrics |= {
            f"{name}.rmse": means["rmse"],
            f"{name}.rmse_error": float(jnp.std(score.rmse) / np.sqrt(config.splits)),
            f"{name}.nll": means["nll"],
            f"{name}.nll_error": float(jnp.std(score.nll) / np.sqrt(config.splits)),
            f"{name}.crps": means["crps"],
            f"{name}.coverage_95": means["coverage"],
            f"{name}.cv_coverage_95": found.cv_coverage,
            f"{name}.calibration_error": float(calibration_error(score.pit)),
            f"{name}.single_rmse": means["single_rmse"],
            f"{name}.single_nll": means["single_nll"],
            f"{name}.epistemic_share": means["epistemic"],
            f"{name}.seconds": found.seconds,
        }
        published[f"{name}.rmse"] = Published(RMSE[name], SOURCE)
        published[f"{name}.nll"] = Published(NLL[name], SOURCE)
        notes[name] = f"best of later tables: {LATER[name]}"
    for column in ("coverage_95", "cv_coverage_95"):
        metrics[column] = float(np.mean([metrics[f"{name}.{column}"] for name in config.sets]))
    _picture(curves, folder)
    return Result(metrics, published, notes=notes)


def _picture(pits: Mapping[str, Array], folder: Path) -> None:
    """`calibration.png`: the share of truths within the central interval of each level."""
    figure, axes = plotting.figure(1, 1, size=(3.6, 3.4))
    ax, levels = axes[0, 0], np.linspace(0.01, 0.99, 99)
    ax.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, pit in pits.items():
        ax.plot(levels, calibration_curve(pit, levels), label=name)
    ax.set(xlabel="level of the interval", ylabel="share of truths within", aspect="equal")
    ax.legend()
    plotting.save(figure, folder / "calibration.png")


EXPERIMENT = Experiment(
    name="uci",
    summary="deep ensembles on tables of measured data: error, likelihood and coverage",
    presets={
        "quick": Config(),
        "full": Config(sets=tuple(SETTINGS)),
    },
    run=run,
    files=lambda config: [find(name) for name in config.sets],
)
