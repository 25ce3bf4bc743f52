"""The drag of an airfoil from its shape, learned from values, or from values and their gradients.

    drag coefficient = f(7 camber modes, 7 thickness modes, Mach number, angle of attack)

42,039 Reynolds-averaged simulations (ADflow; Bouhlel, He, Martins, Struct. Multidisc. Optim. 61
(2020) 1363), each with the gradient that its adjoint gives at about the price of one more
simulation. Sobolev training (Czarnecki et al., NeurIPS 2017) fits both:

    loss = rho(f(x) - y) + weight sum_i rho(df/dx_i - dy/dx_i),   rho(e) ~ e^2, ~ |e| for large e

of y = log drag, inputs and y in units of their deviation; an error is thus a relative one. It is
compared with the same network and updates on values alone, at equal cost: for each budget, in
simulations, values alone are of as many, and values with gradients of half as many. Each method has
the learning rate and the weight decay that are best on the validation set, chosen for each budget.

The simulations come in 960 families that share Mach number and angle of attack (and, up to shifts,
their draw of the shape), so whole families are held out: 96 to calibrate the intervals on, 96 to
validate, 192 for the test. Intervals are those of the ensemble, mean +- q (deviation + its median),
with the one `q` that covers 90 % of the calibration samples (split conformal; Papadopoulos et al.
2008).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks, plotting
from jaxpbdl.data import find
from jaxpbdl.data.archive import arrays
from jaxpbdl.experiments.configuration import (
    Count,
    NonNegative,
    Positive,
    Validated,
    at_least,
    rising,
)
from jaxpbdl.experiments.contract import Experiment, Result
from jaxpbdl.experiments.training import warmup_cosine
from jaxpbdl.learning import History, fit_ensemble
from jaxpbdl.learning.delta import data_factors
from jaxpbdl.learning.loop import Keys
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import conformal_quantile

COUNT = 1e-4
"""One drag count."""
INPUTS = 16
CALIBRATION, TEST, VALIDATION = 96, 192, 96
"""Families of each part; the rest are for training."""
COVERAGE = 0.9
BEND = 0.3
"""Where `rho` turns from a square to a line: a few simulations of separated flow have gradients
thirty times those of the rest."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the network and its training."""

    seed: int = 0
    data: Path | None = None
    """The simulations as npz; else looked for in the folder JAXPBDL_DATA."""
    budgets: tuple[Annotated[int, at_least(4)], ...] = (250, 1000, 4000, 16_000)
    """Costs of the training sets in simulations, a gradient counting as one more; samples are drawn
    from the families that are not held out, anew for each seed."""
    members: Annotated[int, at_least(2)] = 4
    width: Count = 64
    depth: Count = 3
    weight: Positive = 1.0
    """Of the gradients in the loss."""
    batch: Count = 128
    updates: Count = 3000
    learning_rates: tuple[Positive, ...] = (3e-3, 1e-2, 3e-2)
    """Of which the best on the validation set is taken, with the best of `decays`."""
    decays: tuple[NonNegative, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Of the weights."""

    def __post_init__(self):
        super().__post_init__()
        rising("budgets", self.budgets)
        for name in ("learning_rates", "decays"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one value, got ()")


class Drag(eqx.Module):
    """The logarithm of the drag, standardised, of standardised inputs."""

    network: Dense

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, ""]:
        return self.network(x)[0]


class Simulations(eqx.Module):
    """Standardised inputs, logarithms of the drag, and their gradients; a call draws a batch."""

    x: Float[Array, "samples inputs"]
    y: Float[Array, " samples"]
    slope: Float[Array, "samples inputs"]
    batch: int = eqx.field(static=True, default=1)

    def __call__(self, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        chosen = jax.random.randint(key, (self.batch,), 0, len(self.x))
        return self.x[chosen], self.y[chosen], self.slope[chosen]


@dataclass(frozen=True)
class Data:
    """Inputs, drag in counts and its gradient, as simulated."""

    x: Float[np.ndarray, "samples inputs"]
    drag: Float[np.ndarray, " samples"]
    slope: Float[np.ndarray, "samples inputs"]

    def at(self, chosen: np.ndarray) -> "Data":
        return Data(self.x[chosen], self.drag[chosen], self.slope[chosen])


@dataclass(frozen=True)
class Units:
    """Means and deviations of the inputs and of the logarithm of the drag, of the training data."""

    x: tuple[np.ndarray, np.ndarray]
    y: tuple[float, float]

    @classmethod
    def of(cls, data: Data) -> "Units":
        y = np.log(data.drag)
        return cls((data.x.mean(0), data.x.std(0)), (float(y.mean()), float(y.std())))

    def standardised(self, data: Data, batch: int = 1) -> Simulations:
        (x, of_x), (y, of_y) = self.x, self.y
        slope = data.slope / data.drag[:, None] * of_x / of_y
        values = ((data.x - x) / of_x, (np.log(data.drag) - y) / of_y, slope)
        return Simulations(*(jnp.asarray(each, jnp.float32) for each in values), batch=batch)

    def drag(self, y: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """In counts, and its change with each input over one deviation of the input."""
        drag = np.exp(y * self.y[1] + self.y[0])
        return drag, drag[..., None] * slope * self.y[1]


class Misfit(eqx.Module):
    """The loss above; of values alone for a weight of zero, without computing a gradient."""

    weight: float = eqx.field(static=True)

    def __call__(self, model: Drag, batch: tuple[Array, Array, Array]) -> Float[Array, ""]:
        x, y, slope = batch
        if not self.weight:
            return jnp.mean(_bent(jax.vmap(model)(x) - y))
        values, slopes = jax.vmap(jax.value_and_grad(model))(x)
        return jnp.mean(_bent(values - y)) + self.weight * jnp.mean(
            jnp.sum(_bent(slopes - slope), axis=-1)
        )


def _bent(error: Array) -> Array:
    """`e^2` for small and `2 BEND |e|` for large errors, smoothly."""
    return 2 * BEND**2 * (jnp.sqrt(1 + (error / BEND) ** 2) - 1)


def read(path: Path) -> Data:
    """The simulations. Raises `DataError` for another layout."""
    found = arrays(path, ("x", "cd", "dcd_dx"))
    x, drag, slope = (np.asarray(found[name], float) for name in ("x", "cd", "dcd_dx"))
    if x.ndim != 2 or x.shape[1] != INPUTS or slope.shape != x.shape or drag.shape != x.shape[:1]:
        raise checks.DataError(
            f"{path}: x and dcd_dx must have shape (samples, {INPUTS}) and cd (samples,), "
            f"found {x.shape}, {slope.shape} and {drag.shape}"
        )
    if np.any(drag <= 0):
        raise checks.DataError(f"{path}: cd must be > 0, found {drag.min()}")
    return Data(x, drag / COUNT, slope / COUNT)


def split(data: Data) -> dict[str, np.ndarray]:
    """Indices of the training, validation, calibration and test samples, whole families each.

    Raises `DataError` if there are too few families.
    """
    flights, family = np.unique(data.x[:, -2:], axis=0, return_inverse=True)
    held_out = CALIBRATION + TEST + VALIDATION
    if len(flights) <= held_out:
        raise checks.DataError(
            f"the data must have more than {held_out} pairs of Mach number and angle of attack, "
            f"found {len(flights)}"
        )
    order = np.random.default_rng(0).permutation(len(flights))
    ends = np.cumsum([CALIBRATION, TEST, VALIDATION])
    names = ("calibration", "test", "validation", "train")
    return {
        name: np.flatnonzero(np.isin(family.ravel(), part))
        for name, part in zip(names, np.split(order, ends), strict=True)
    }


def half_width(deviation: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Of an interval before calibration: a deviation near zero is an accident of few members."""
    return deviation + np.median(deviation)


def run(config: Config, folder: Path) -> Result:
    """Train for each budget with and without gradients; a picture goes to `folder`."""
    data = read(find("airfoil-drag", given=config.data))
    parts = split(data)
    if config.budgets[-1] > len(parts["train"]):
        raise ValueError(f"budgets must be at most {len(parts['train'])}, got {config.budgets[-1]}")
    order = np.random.default_rng((1, config.seed)).permutation(parts["train"])
    held_out = {name: data.at(parts[name]) for name in ("validation", "calibration", "test")}
    metrics: dict[str, float] = {}
    errors: dict[str, list[float]] = {"values": [], "sobolev": []}
    losses: dict[str, np.ndarray] = {}
    for budget in config.budgets:
        for method, weight, price in (("values", 0.0, 1), ("sobolev", config.weight, 2)):
            known = data.at(order[: budget // price])
            name = f"{method}_{budget}"
            found = trained(config, known, weight, held_out["validation"], folder, name)
            judged = metrics_of(found, Units.of(known), held_out)
            metrics |= {f"{name}.simulations": len(known.drag), **{
                f"{name}.{metric}": value for metric, value in judged.items()
            }}  # fmt: skip
            errors[method].append(judged["mae"])
            losses |= {f"{name}_{i}": each.loss for i, each in enumerate(found.histories)}
    factors = data_factors(config.budgets, *map(np.asarray, errors.values()))
    for budget, factor in zip(config.budgets, factors, strict=True):
        if np.isfinite(factor):
            metrics[f"sobolev_{budget}.times_less_cost"] = float(factor)
            metrics[f"sobolev_{budget}.times_fewer_simulations"] = float(2 * factor)
    for method, each in errors.items():
        metrics[f"{method}.mae"] = each[-1]
    metrics["coverage_90"] = metrics[f"sobolev_{config.budgets[-1]}.coverage_90"]
    _picture(config.budgets, errors, folder)
    return Result(metrics, histories=losses)


@dataclass(frozen=True)
class Trained:
    """The members, stacked, what happened in the fit of each, and the settings that were best for
    one network: its error on the validation set in counts."""

    members: Drag
    histories: list[History]
    learning_rate: float
    decay: float
    validation: float


def trained(
    config: Config, known: Data, weight: float, validation: Data, folder: Path, name: str
) -> Trained:
    """An ensemble, with the settings at which a single network does best on the validation set."""
    units, keys = Units.of(known), jax.random.split(jax.random.key(config.seed), config.members)

    def fitted(rate: float, decay: float, keys: Keys, name: str) -> tuple[Drag, list[History]]:
        sizes = (INPUTS, *[config.width] * config.depth, 1)
        schedule = warmup_cosine(rate, config.updates, 0.05)
        return fit_ensemble(
            lambda key: Drag(Dense(sizes, key=key)),
            Misfit(weight),
            units.standardised(known, min(config.batch, len(known.drag))),
            optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=decay)),
            config.updates,
            keys=keys,
            chunk=500,
            folder=folder / "checkpoints" / name,
            name=name,
        )

    best, smallest = (config.learning_rates[0], config.decays[0]), np.inf
    for rate, decay in product(config.learning_rates, config.decays):
        one, _ = fitted(rate, decay, keys[:1], f"{name}_rate_{rate:g}_decay_{decay:g}")
        error = float(np.abs(predicted(one, units, validation)[0][0] - validation.drag).mean())
        if error < smallest:
            best, smallest = (rate, decay), error
        # Each optimiser is a program of its own. Over a hundred of them take more memory mappings
        # than Linux grants a process, and the compiler crashes.
        jax.clear_caches()
    return Trained(*fitted(*best, keys, name), *best, smallest)


def predicted(members: Drag, units: Units, part: Data) -> tuple[np.ndarray, np.ndarray]:
    """Of each member: drag in counts, and its change with each input over one deviation."""
    answers = _answers(members, units.standardised(part).x)
    return units.drag(*(np.asarray(each, float) for each in answers))


def metrics_of(found: Trained, units: Units, held_out: Mapping[str, Data]) -> dict[str, float]:
    """Errors of the mean on the test set; intervals calibrated on the calibration set, judged on
    the test set."""
    drag, slope = predicted(found.members, units, held_out["test"])
    test = held_out["test"]
    error = np.abs(drag.mean(0) - test.drag)
    true_slope = test.slope * units.x[1]
    known, _ = predicted(found.members, units, held_out["calibration"])
    known_error = np.abs(known.mean(0) - held_out["calibration"].drag)
    scores = known_error / half_width(known.std(0, ddof=1))
    width = float(conformal_quantile(scores, COVERAGE)) * half_width(drag.std(0, ddof=1))
    judged = {
        "mae": error.mean(),
        "mae_of_one": np.abs(drag - test.drag).mean(),
        "relative": np.mean(error / test.drag),
        "gradient": np.linalg.norm(slope.mean(0) - true_slope) / np.linalg.norm(true_slope),
        "coverage_90": np.mean(error <= width),
        "interval": np.mean(width),
        "validation": found.validation,
        "learning_rate": found.learning_rate,
        "decay": found.decay,
    }
    return {metric: float(value) for metric, value in judged.items()}


@eqx.filter_jit
def _answers(members: Drag, x: Array) -> tuple[Array, Array]:
    """Values and gradients of each member."""
    return eqx.filter_vmap(lambda one: jax.vmap(jax.value_and_grad(one))(x))(members)


def _picture(budgets: Sequence[int], lines: dict[str, list[float]], folder: Path) -> None:
    """`error.png`: the mean error over the cost of the training set."""
    figure, axes = plotting.figure(1, 1, size=(4.0, 3.0))
    plotting.curves(
        axes[0, 0],
        lines,
        budgets,
        xlabel="cost in simulations",
        ylabel="drag counts",
        logarithmic=True,
    )
    axes[0, 0].set_xscale("log")
    axes[0, 0].set_title("mean absolute error on unseen families")
    plotting.save(figure, folder / "error.png")


EXPERIMENT = Experiment(
    name="airfoil-drag",
    summary="the drag of an airfoil from simulations, with and without their gradients",
    presets={
        "quick": Config(),
        "full": Config(budgets=(250, 1000, 4000, 16_000, 24_000), width=128, updates=20_000),
    },
    run=run,
    files=lambda config: [find("airfoil-drag", given=config.data)],
)
