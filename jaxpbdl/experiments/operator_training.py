"""What experiments with one-dimensional histories share: the fit, the error, the picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import plotting
from jaxpbdl.experiments.schedule import rise_and_fall
from jaxpbdl.learning import fit
from jaxpbdl.networks import FNO

History = Float[Array, "times n"]
Model = TypeVar("Model")
Operator = Callable[[Float[Array, " n"]], History]


class Training(Protocol):
    """The settings that `train` reads."""

    @property
    def updates(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...


class ByFourier(eqx.Module):
    """`u(t_i) = u_0 + network(u_0)_i`."""

    network: FNO

    def __call__(self, state: Array) -> History:
        return state + self.network(state[None])


def train(
    config: Training,
    network: Model,
    loss: Callable[..., Array],
    batches: Callable[[PRNGKeyArray], Any],
    key: PRNGKeyArray,
    folder: Path,
    name: str,
    *,
    rise: int = 10,
) -> Model:
    """Adam with a rise and a cosine fall of the learning rate, parameters averaged over updates."""
    schedule = rise_and_fall(config.learning_rate, config.updates, rise=rise)
    trained, _ = fit(
        network,
        loss,
        batches,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        config.updates,
        key=key,
        chunk=250,
        ema=0.99,
        folder=folder / "checkpoints" / name,
        name=name,
    )
    return trained


@eqx.filter_jit
def answers(operator: Operator, states: Array) -> Array:
    return jax.vmap(operator)(states)


def errors(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative L2 error of each sample over all later times."""
    difference, size = (np.sqrt(np.sum(a**2, (1, 2))) for a in (answers - truth, truth))
    return difference / size


def picture(answers: dict[str, np.ndarray], truth: np.ndarray, folder: Path) -> None:
    """`states.png`: the last state of two samples, and the error over time up to t = 1."""
    made, axes = plotting.figure(1, 3, size=(3.4, 2.8))
    shown = [name for name in answers if name != "persistence"]
    x = np.arange(truth.shape[-1]) / truth.shape[-1]
    for ax, sample in zip(axes[0], (0, 1), strict=False):
        lines = {"truth": truth[sample, -1]} | {n: answers[n][sample, -1] for n in shown}
        plotting.curves(ax, lines, x, xlabel="x", ylabel="u at t = 1")
    over_time = {
        name: np.sqrt(np.sum((answer - truth) ** 2, (0, 2)) / np.sum(truth**2, (0, 2)))
        for name, answer in answers.items()
    }
    times = np.arange(1, truth.shape[1] + 1) / truth.shape[1]
    plotting.curves(
        axes[0, 2], over_time, times, xlabel="t", ylabel="relative L2 error", logarithmic=True
    )
    plotting.save(made, folder / "states.png")
