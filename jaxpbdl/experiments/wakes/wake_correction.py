"""A network trained through a coarse solver corrects the wakes of a cylinder it has not seen.

The solver in the loop (Um et al., NeurIPS 2020) on the wakes of `flow.py`: the coarse solver
takes a step, a convolutional network adds a velocity without divergence, and training unrolls
several such turns against the simulations on a grid four times finer. Beside it the same network
unrolled with the gradient cut between the turns, and one trained on single steps alone. All are
tested at Reynolds numbers outside the training set.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.diagnostics import mean_square
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.wakes.flow import (
    Features,
    Setting,
    relative_l1,
    simulate,
    velocity,
    vorticity,
)
from jaxpbdl.learning import (
    Corrected,
    History,
    Varied,
    Varying,
    Windows,
    checkpoint,
    evaluate,
    fit,
    unrolled,
)
from jaxpbdl.networks import ConvNet
from jaxpbdl.solvers.flow import limited
from jaxpbdl.step import AnyStep

BOOK = "Physics-Based Deep Learning book, wake flow at Re 73, 47,330 weights, 3 h 11 on a GPU"


@dataclass(frozen=True)
class Config(Validated):
    """Settings; lengths in diameters, times in diameters over the speed of the stream."""

    seed: int = 0
    train: tuple[Positive, ...] = (60.0, 85.0, 120.0, 170.0, 240.0, 340.0)
    """Reynolds numbers of the training simulations."""
    test: tuple[Positive, ...] = (73.0, 100.0, 200.0, 290.0)
    cells: tuple[Count, Count] = (64, 32)
    """Of the coarse grid."""
    finer: Count = 4
    """How many times finer the grid of the simulations is."""
    warm_up: Count = 350
    """Coarse steps before the first snapshot."""
    snapshots: Count = 200
    test_snapshots: Count = 100
    """Of the test simulations, besides the first."""
    width: Count = 32
    depth: Count = 4
    batch: Count = 4
    unroll: Count = 4
    updates: Count = 900
    learning_rate: Positive = 2e-3

    def __post_init__(self):
        super().__post_init__()
        if set(self.train) & set(self.test):
            raise ValueError(f"test must not repeat Reynolds numbers of train, got {self.test}")
        if self.snapshots <= self.unroll:
            raise ValueError(
                f"snapshots must be more than unroll = {self.unroll}, got {self.snapshots}"
            )


def run(config: Config, folder: Path) -> Result:
    """Simulate, train, compare; pictures go to `folder`."""
    setting = Setting(config.cells, config.finer)
    # On so few cells a limiter halves the error of central differences: correct the better one.
    solver = setting.solver(interpolation=limited)
    fine = setting.solver(setting.finer)
    train, test = (
        _data(folder / name, fine, solver, numbers, config.warm_up, snapshots)
        for name, numbers, snapshots in (
            ("train", config.train, config.snapshots),
            ("test", config.test, config.test_snapshots + 1),
        )
    )
    network_key, key = jax.random.split(jax.random.key(config.seed))
    start = _hybrid(config, setting, solver, network_key)
    ways = {
        "supervised": (1, False),
        "cut": (config.unroll, True),
        "corrected": (config.unroll, False),
    }
    models: dict[str, AnyStep] = {"coarse_central_differences": setting.solver(), "coarse": solver}
    histories: dict[str, np.ndarray] = {}
    for name, (steps, cut) in ways.items():
        fitted, history = _train(config, start, train, steps, cut, key, folder, name)
        models[name], histories[name] = fitted, history.loss
    truth, initial = velocity(test), jax.tree.map(lambda leaf: leaf[:, 0], test)
    times = setting.dt * np.arange(truth[0].shape[1])
    found = {
        name: evaluate(model, truth, times, initial=initial, observe=velocity)
        for name, model in models.items()
    }
    metrics: dict[str, float] = {}
    for name, result in found.items():
        errors = result.relative_l2[:, 1:]
        metrics[f"{name}.relative_l2"] = float(np.mean(errors))
        metrics[f"{name}.relative_l1"] = float(
            np.mean(relative_l1(result.prediction, truth)[:, 1:])
        )
        metrics[f"{name}.at_end"] = float(np.mean(errors[:, -1]))
    metrics["gain"] = metrics["coarse.relative_l1"] / metrics["corrected.relative_l1"]
    metrics["weights"] = float(
        sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(start.network, eqx.is_array)))
    )
    _pictures(
        solver, truth, {name: r.prediction for name, r in found.items()}, times, config, folder
    )
    published = {
        "coarse.relative_l1": Published(0.108636, BOOK),
        "corrected.relative_l1": Published(0.031211, BOOK),
        "gain": Published(3.48, BOOK),
    }
    return Result(metrics, published, histories)


def _hybrid(config: Config, setting: Setting, solver: Varying, key: PRNGKeyArray) -> Corrected:
    network = ConvNet(
        2, 4, 2, width=config.width, depth=config.depth, periodic=False, zero_last=True, key=key
    )
    return Corrected(solver, network, scale=setting.dt, features=Features(solver))


def _train(
    config: Config,
    model: Corrected,
    states: Varied,
    steps: int,
    cut: bool,
    key: PRNGKeyArray,
    folder: Path,
    name: str,
) -> tuple[Corrected, History]:
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.updates, alpha=0.02)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    before, after = (
        jax.tree.map(lambda u, part=part: u[:, part], velocity(states))
        for part in (np.s_[:-1], np.s_[1:])
    )
    change = mean_square(after, before)

    def loss(model: Corrected, windows: Varied) -> Array:
        return unrolled(model, windows, stop_gradient=cut, measure=velocity) / change

    # As many turns of the solver for each: shorter windows come in larger batches.
    batch = config.batch * config.unroll // steps
    return fit(
        model,
        loss,
        Windows(states, steps, batch),
        optimiser,
        config.updates,
        key=key,
        folder=folder / "checkpoints" / name,
        name=name,
    )


def _data(
    folder: Path,
    fine: Varying,
    coarse: Varying,
    numbers: tuple[float, ...],
    warm_up: int,
    snapshots: int,
) -> Varied:
    print(f"simulating {len(numbers)} wakes, Re {min(numbers):g} to {max(numbers):g}", flush=True)
    given = jnp.asarray(numbers)
    return checkpoint.cached(folder, lambda: simulate(fine, coarse, given, warm_up, snapshots))


def _pictures(
    solver: Varying,
    truth: tuple[Array, ...],
    predictions: dict[str, tuple[Array, ...]],
    times: np.ndarray,
    config: Config,
    folder: Path,
) -> None:
    which = len(config.test) // 2
    show = jax.jit(partial(vorticity, solver))
    figure, axes = plotting.figure(2, 2, size=(4.2, 2.4))
    panels = {"reference": truth} | {n: predictions[n] for n in ("coarse", "corrected")}
    for ax, (name, states) in zip(axes.flat, panels.items(), strict=False):
        values = np.asarray(show(tuple(u[which, -1] for u in states)))
        ax.imshow(values.T, origin="lower", cmap="RdBu_r", vmin=-4, vmax=4)
        ax.set(title=f"{name}, Re {config.test[which]:g}, t = {times[-1]:g}", xticks=[], yticks=[])
    for number, (name, states) in enumerate(predictions.items()):
        error = relative_l1(states, truth).mean(axis=0)
        axes[1, 1].plot(times, error, color=plotting.LINES[number], label=name)
    axes[1, 1].set(xlabel="time", title="relative L1, unseen Reynolds numbers", ylim=(0, None))
    axes[1, 1].legend(fontsize=7)
    plotting.save(figure, folder / "wakes.png")


EXPERIMENT = Experiment(
    name="wake-correction",
    summary="a network trained through a coarse solver corrects wakes at unseen Reynolds numbers",
    presets={
        "quick": Config(),
        "full": Config(snapshots=500, width=48, depth=6, batch=8, unroll=8, updates=8000),
    },
    run=run,
)
