"""Half-inverse gradients on a network that controls two coupled oscillators.

    x1'' = -x1 + (x2 - x1) / 5,   x2'' = -x2 + (x1 - x2) / 5 + control(t)

over 24 Runge-Kutta steps of 0.5, a control for each, so that the oscillators end as they began. A
network reads the positions and velocities of the start and gives the controls; the loss is the mean
square distance of the end to the start, summed over the four numbers (Schnell, Holl and Thuerey,
ICLR 2022; the setting and figures are those of Physics-based Deep Learning, notebook
physgrad-hig-code). Adam has as many seconds as the half-inverse gradients took.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Fraction, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.learning.gradient_flows import half_inverse_loss
from jaxpbdl.learning.gradient_flows.inverses import TRUNCATION
from jaxpbdl.networks import Dense
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import explicit

SOURCE = "Physics-based Deep Learning, notebook physgrad-hig-code, one run"
PRINTED = (5.44398972e-05, 1.06443604e-05, 3.16352543e-06, 1.18576099e-06)
"""The loss after each epoch."""
STEPS, DT, COUPLING = 24, 0.5, 0.2


@dataclass(frozen=True)
class Config(Validated):
    """Samples and training."""

    seed: int = 0
    seeds: Annotated[int, at_least(1)] = 3
    samples: Annotated[int, at_least(256)] = 4096
    epochs: Count = 1
    batch: Count = 32
    truncation: Fraction = TRUNCATION
    adam_batch: Count = 256
    adam_rate: Positive = 1e-3

    def __post_init__(self):
        super().__post_init__()
        for name in ("batch", "adam_batch"):
            if getattr(self, name) > self.samples:
                raise ValueError(f"{name} must be at most samples, got {getattr(self, name)}")
        if self.truncation == 1:
            raise ValueError("truncation must be in [0, 1), got 1")


def end(start: Float[Array, "4"], controls: Float[Array, " steps"]) -> Float[Array, "4"]:
    """Positions and velocities after the steps."""

    def rates(state: Array, control: Array) -> Array:
        positions, velocities = state[:2], state[2:]
        pull = COUPLING * (positions[::-1] - positions)
        return jnp.concatenate([velocities, pull - positions + jnp.stack([0 * control, control])])

    return rollout(explicit(rates, DT), start, len(controls), inputs=controls)[-1]


def response() -> tuple[Float[Array, "4 4"], Float[Array, "4 steps"]]:
    """The matrices that take start and controls to the end: the oscillators are linear."""
    return jax.jacrev(end, argnums=(0, 1))(jnp.zeros(4), jnp.zeros(STEPS))


def problem() -> tuple[Callable, Callable]:
    """The end of one sample, and the loss of the ends of a batch."""
    own, driven = response()

    def output(network: Dense, start: Array) -> Array:
        return own @ start + driven @ network(start)

    def misfit(ends: Array, starts: Array) -> Array:
        return jnp.mean(jnp.sum((ends - starts) ** 2, axis=1))

    return output, misfit


def untrained(key: Array) -> Dense:
    """Weights uniform in +-sqrt(6 / (fan in + fan out)), as the notebook has them."""
    network = Dense((4, 20, 20, 20, STEPS), key=key)
    keys = jax.random.split(key, len(network.weights))
    limits = [np.sqrt(6 / sum(weight.shape)) for weight in network.weights]
    weights = tuple(
        jax.random.uniform(k, weight.shape, minval=-limit, maxval=limit)
        for k, weight, limit in zip(keys, network.weights, limits, strict=True)
    )
    return eqx.tree_at(lambda network: network.weights, network, weights)


@eqx.filter_jit
def walk(
    optimiser: optax.GradientTransformation,
    loss: Callable,
    network: PyTree,
    state: PyTree,
    batches: Float[Array, "batches samples 4"],
    count: Int[Array, ""],
) -> tuple[PyTree, PyTree]:
    """One update for each of the first `count` batches; for none it only compiles."""

    def turn(number: Array, carry: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        network, state = carry
        changes, state = optimiser.update(jax.grad(loss)(network, batches[number]), state, network)
        return optax.apply_updates(network, changes), state

    return jax.lax.fori_loop(0, count, turn, (network, state))


def in_batches(starts: Float[Array, "samples 4"], size: int) -> Float[Array, "batches size 4"]:
    """What is left over is left out."""
    return starts[: len(starts) // size * size].reshape(-1, size, 4)


def run(config: Config, folder: Path) -> Result:
    """Train by both; a picture goes to `folder`."""
    with jax.enable_x64(True):
        output, misfit = problem()

        def plain(network: Dense, starts: Array) -> Array:
            return misfit(jax.vmap(lambda start: output(network, start))(starts), starts)

        inverted = half_inverse_loss(output, misfit, config.truncation)
        ways = (optax.sgd(1.0), inverted), (optax.adam(config.adam_rate), plain)
        found = [_seed(config, seed, ways, eqx.filter_jit(plain)) for seed in range(config.seeds)]
    metrics = {"half_inverse.loss_0": _middle([ours[0] for ours, _, _ in found])}
    for number in range(1, config.epochs + 1):
        name = f"half_inverse.loss_{number}"
        metrics[name] = _middle([ours[number] for ours, _, _ in found])
    for name, at in (("half_inverse", 0), ("adam", 1)):
        metrics[f"{name}.loss"] = _middle([each[at][-1] for each in found])
        metrics[f"{name}.worst_loss"] = float(max(each[at][-1] for each in found))
        metrics[f"{name}.epochs"] = _middle([len(each[at]) - 1 for each in found])
        metrics[f"{name}.seconds"] = _middle([each[2][at] for each in found])
    figure, axes = plotting.figure(1, 1)
    for name, at in (("half inverse", 0), ("Adam", 1)):
        for number, each in enumerate(found):
            seconds = np.linspace(0, each[2][at], len(each[at]))
            label = name if number == 0 else None
            axes[0, 0].semilogy(seconds, each[at], color=plotting.LINES[at], label=label)
    axes[0, 0].set(xlabel="seconds", ylabel="loss")
    axes[0, 0].legend()
    plotting.save(figure, folder / "half_inverse.png")
    published = {
        f"half_inverse.loss_{number}": Published(value, SOURCE)
        for number, value in enumerate(PRINTED[: config.epochs], 1)
    }
    return Result(metrics, published)


def _middle(values: list[float]) -> float:
    return float(np.median(values))


Way: TypeAlias = tuple[optax.GradientTransformation, Callable]
"""An optimiser, and the loss whose gradient it is given."""


def _seed(
    config: Config, seed: int, ways: tuple[Way, Way], evaluate: Callable
) -> tuple[list[float], list[float], tuple[float, float]]:
    """The losses after each epoch of both, and their seconds without compilation."""
    data_key, key = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), seed))
    starts = jax.random.uniform(data_key, (config.samples, 4))
    network: PyTree = untrained(key)

    def descended(
        way: Way, size: int, going: Callable[[int, float], bool]
    ) -> tuple[list[float], float]:
        batches, state, seconds = in_batches(starts, size), way[0].init(network), 0.0
        optimiser, loss = way
        trained = walk(optimiser, loss, network, state, batches, jnp.asarray(0))
        jax.block_until_ready(trained)
        losses = [float(evaluate(network, starts))]
        while going(len(losses) - 1, seconds):
            begin = time.perf_counter()
            trained = walk(optimiser, loss, *trained, batches, jnp.asarray(len(batches)))  # pyright: ignore[reportCallIssue]
            jax.block_until_ready(trained)
            seconds += time.perf_counter() - begin
            losses.append(float(evaluate(trained[0], starts)))
        return losses, seconds

    ours, seconds = descended(ways[0], config.batch, lambda epochs, _: epochs < config.epochs)
    theirs, others = descended(ways[1], config.adam_batch, lambda _, gone: gone < seconds)
    return ours, theirs, (seconds, others)


EXPERIMENT = Experiment(
    name="half-inverse-oscillators",
    summary="half-inverse gradients against Adam: a network that controls coupled oscillators",
    presets={"quick": Config(), "full": Config(epochs=9)},
    run=run,
)
