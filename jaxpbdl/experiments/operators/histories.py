"""What experiments with one-dimensional histories share: answers, the error, the picture."""

from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import plotting
from jaxpbdl.networks import FNO

History = Float[Array, "times n"]
Operator = Callable[[Float[Array, " n"]], History]


class ByFourier(eqx.Module):
    """`u(t_i) = u_0 + network(u_0)_i`."""

    network: FNO

    def __call__(self, state: Array) -> History:
        return state + self.network(state[None])


@eqx.filter_jit
def answers(operator: Operator, states: Array) -> Array:
    return jax.vmap(operator)(states)


def errors(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Relative L2 error of each sample over all later times."""
    difference, size = (np.sqrt(np.sum(a**2, (1, 2))) for a in (answers - truth, truth))
    return difference / size


def picture(answers: dict[str, np.ndarray], truth: np.ndarray, folder: Path) -> None:
    """`states.png`: the last state of two samples, and the error over time up to t = 1."""
    figure, axes = plotting.figure(1, 3, size=(3.4, 2.8))
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
    plotting.save(figure, folder / "states.png")
