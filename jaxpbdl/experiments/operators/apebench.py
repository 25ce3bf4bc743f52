"""Emulators and hybrids on the scenarios of a public referee, APEBench, in one dimension.

    relative error = ||u - r|| / ||r||,   mean over 30 test states at each step,
    then its geometric mean over steps 1 to 100, then the median of the seeds

Burgers, Korteweg-de Vries and Kuramoto-Sivashinsky at the coefficients of arXiv:2411.00180: 160
points, 50 training trajectories of 50 steps, test trajectories of 200. States follow APEBench's
distribution and are made by our own solver, so they are not its arrays. An emulator is a network
alone; a hybrid is APEBench's setting `correct;parallel`, a solver of half the coefficients called
once a step and a network that supplies the rest,

    emulator u -> u + network(u),   hybrid u -> half step of u + network(u)

The network is one of Fourier multipliers and products (`products.py`). The reference scheme has
this form too, so that this is as much the identification of a scheme as the training of a network:
the assumption is most of its lead over networks that make none. Five training trajectories are left
out of the fit to validate it. The half step called twice, which learns nothing, stands
beside them. Whether a hybrid on a coarser grid pays is the matter of `coarse_hybrid.py`.

Published figures are of the authors' networks (50 seeds) and of one learned correction of 76
million weights and 100,000 updates (google-research/generalized-pde-emulator). At gamma_4 = -15 of
Kuramoto-Sivashinsky their networks were trained, at -18 their correction was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.operators.coarse_hybrid import CoarseGrids, coarse_hybrids
from jaxpbdl.experiments.operators.difficulty import SCENARIOS, UP_TO, Scenario, geometric_mean
from jaxpbdl.experiments.operators.products import ProductNet
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import Emulator, Windows, evaluate, fit_ensemble, members, unrolled
from jaxpbdl.networks import parameter_count
from jaxpbdl.solvers.spectral import SpectralStep
from jaxpbdl.step import Step

NETWORKS = "best of five standard networks of 27,000 to 33,000 weights, 10,000 updates, APEBench"
CORRECTION = "learned correction, 76 million weights, 100,000 updates, one model"
PUBLISHED = {
    "burgers": ((0.0128, 0.0084), 0.0276),
    "kdv": ((0.0776, 0.0435), 0.00154),
    "ks": (None, 0.0189),
    "ks_15": ((0.241, 0.196), 0.0375),
}
"""Of a scenario: the best standard network and the best seed of any, and the correction."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the data, the network and its training."""

    seed: int = 0
    members: Count = 3
    """Seeds, trained together."""
    points: Annotated[int, at_least(12)] = 160
    train: Annotated[int, at_least(2)] = 50
    """Training trajectories, those for validation among them."""
    validation: Count = 5
    train_steps: Count = 50
    test: Count = 30
    test_steps: Count = 200
    products: Count = 3
    layers: Count = 2
    unroll: Count = 1
    """Steps from the true state in the loss."""
    training: Training = field(
        default_factory=lambda: Training(
            updates=10_000, batch=20, learning_rate=2e-2, warmup_fraction=0.05
        )
    )
    coarse: CoarseGrids = field(default_factory=CoarseGrids)
    """Of the hybrids on coarser grids."""

    def __post_init__(self):
        super().__post_init__()
        longest = min(self.train_steps, self.test_steps)
        if max(self.coarse.strides) > longest:
            raise ValueError(
                f"coarse.strides must be at most the steps of a trajectory, {longest}; got "
                f"{self.coarse.strides}"
            )
        if self.validation >= self.train:
            raise ValueError(
                f"validation must be below train = {self.train}, got {self.validation}"
            )


@dataclass(frozen=True)
class Judged:
    """Relative errors of each member, and the losses of their fits."""

    errors: Float[np.ndarray, "members trajectories snapshots"]
    validation: Float[np.ndarray, "members held_out known_snapshots"]
    losses: list[np.ndarray]
    weights: int

    @property
    def scores(self) -> list[float]:
        """Of each member, its geometric mean."""
        return [geometric_mean(errors) for errors in self.errors]

    @property
    def validation_scores(self) -> list[float]:
        """The same over the states left out of the fit."""
        return [geometric_mean(errors) for errors in self.validation]


class Beside(Step):
    """A solver and a network side by side, both of the state before: APEBench's `parallel`."""

    trainable_fields = ("network",)

    solver: SpectralStep
    network: ProductNet

    def advance(self, working: Array) -> Array:
        return self.solver(working) + self.network(working[None])[0]


def emulator(scenario: Scenario, network: ProductNet) -> Emulator:
    """A network alone, which predicts the increment of a state."""
    return Emulator(network, features=scenario.step(network.points).channels)


def hybrid(scenario: Scenario, network: ProductNet) -> Beside:
    """The solver of half the coefficients, called once, and a network for the rest of the step."""
    return Beside(scenario.step(network.points, 0.5), network)


def loss_of(model: Step, windows: Array, scale: Array) -> Array:
    """The mean square error over a rollout, relative to that of a state that does not move."""
    return unrolled(model, windows) / scale**2


def errors_of(step: Step, reference: Array) -> Float[np.ndarray, "trajectories snapshots"]:
    """Relative errors of rollouts from the first states of `reference`."""
    return evaluate(step, reference, np.arange(float(reference.shape[1]))).relative_l2


Form = Callable[[Scenario, ProductNet], Step]
"""What a network is made part of: `emulator` or `hybrid`."""


def judge(
    config: Config, scenario: Scenario, form: Form, folder: Path, data: Mapping[str, Array]
) -> Judged:
    """Train the members of one form on one scenario and roll them out."""
    train = data["train"]
    scale = jnp.sqrt(jnp.mean((train[:, 1:] - train[:, :-1]) ** 2))

    def network(key: PRNGKeyArray) -> ProductNet:
        return ProductNet(config.points, products=config.products, layers=config.layers, key=key)

    name = f"{scenario.name}-{form.__name__}"
    stacked, histories = fit_ensemble(
        lambda key: form(scenario, network(key)),
        eqx.Partial(loss_of, scale=scale),
        Windows(train, config.unroll, config.training.batch),
        config.training.optimiser(optax.adam, b2=0.99),
        config.training.updates,
        keys=jax.random.split(jax.random.key(config.seed + 1), config.members),
        chunk=250,
        ema=config.training.average,
        folder=folder / "checkpoints" / name,
        name=name,
    )
    fitted = members(stacked)
    return Judged(
        np.stack([errors_of(one, data["test"]) for one in fitted]),
        np.stack([errors_of(one, data["validation"]) for one in fitted]),
        [history.loss for history in histories],
        parameter_count(network(jax.random.key(0))),
    )


def states_of(config: Config, scenario: Scenario) -> dict[str, Array]:
    """Trajectories to train on, to validate and to test."""
    learn, test = jax.random.split(jax.random.key(config.seed + 773))
    known = scenario.trajectories(learn, config.train, config.train_steps, config.points)
    held = config.train - config.validation
    unknown = scenario.trajectories(test, config.test, config.test_steps, config.points)
    return {"train": known[:held], "validation": known[held:], "test": unknown}


def run(config: Config, folder: Path) -> Result:
    """Train emulators and hybrids on each scenario; pictures go to `folder`."""
    metrics: dict[str, float] = {}
    published: dict[str, Published] = {}
    losses: dict[str, np.ndarray] = {}
    curves: dict[str, dict[str, np.ndarray]] = {}
    states = {scenario.name: states_of(config, scenario) for scenario in SCENARIOS}
    for scenario in SCENARIOS:
        name, data = scenario.name, states[scenario.name]
        twice = errors_of(jp.repeat(scenario.step(config.points, 0.5), 2), data["test"])
        curves[name] = {"half step, twice": twice.mean(0)[None]}
        for form, method in ((emulator, name), (hybrid, f"{name}_hybrid")):
            found = judge(config, scenario, form, folder, data)
            losses |= {f"{method}_{i}": loss for i, loss in enumerate(found.losses)}
            curves[name][form.__name__] = found.errors.mean(1)
            last = min(UP_TO, config.test_steps)
            metrics |= {
                f"{method}.geometric_mean": float(np.median(found.scores)),
                f"{method}.geometric_mean_best": min(found.scores),
                f"{method}.validation": float(np.median(found.validation_scores)),
                f"{method}.error_1": float(np.median(found.errors.mean(1)[:, 1])),
                f"{method}.error_{last}": float(np.median(found.errors.mean(1)[:, last])),
                f"{method}.weights": found.weights,
                f"{method}.updates": config.training.updates,
            }
        metrics[f"{name}_half_twice.geometric_mean"] = geometric_mean(twice)
        published |= peers(name)
    _picture(curves, folder)
    keys = jax.random.split(jax.random.key(config.seed + 2), config.members)
    gains, more = coarse_hybrids(config.coarse, SCENARIOS, states, keys, folder)
    metrics |= gains
    losses |= more
    notes = {f"{one.name}_half_twice": "the solver alone, two calls a step" for one in SCENARIOS}
    return Result(metrics, published=published, histories=losses, notes=notes)


def peers(name: str) -> dict[str, Published]:
    """Published figures on a scenario, by the names of the metrics."""
    networks, correction = PUBLISHED[name]
    found = {f"{name}_hybrid.geometric_mean": Published(correction, CORRECTION)}
    if networks is not None:
        pairs = zip(("geometric_mean", "geometric_mean_best"), networks, strict=True)
        found |= {f"{name}.{metric}": Published(value, NETWORKS) for metric, value in pairs}
    return found


def _picture(curves: Mapping[str, Mapping[str, np.ndarray]], folder: Path) -> None:
    """`errors.png`: the mean relative error against steps, the range of the seeds shaded."""
    figure, axes = plotting.figure(1, len(curves), size=(3.2, 2.8))
    for one, (name, lines) in zip(axes[0], curves.items(), strict=True):
        shown = {label: values[:, 1:] for label, values in lines.items()}
        steps = np.arange(1, next(iter(lines.values())).shape[1])
        plotting.curves(
            one, shown, steps, xlabel="steps", ylabel="relative L2 error", logarithmic=True
        )
        one.set_title(name)
    plotting.save(figure, folder / "errors.png")


QUICK = Training(updates=600, batch=20, learning_rate=2e-2, warmup_fraction=0.05)
FEW = CoarseGrids(plain=(0.4, 0.6), learned=(0.6,), strides=(1,), coarse_updates=600)

EXPERIMENT = Experiment(
    name="apebench",
    summary="emulators and hybrids on scenarios of APEBench, beside its published figures",
    presets={"quick": Config(training=QUICK, coarse=FEW), "full": Config()},
    run=run,
)
