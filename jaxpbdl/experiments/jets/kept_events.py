"""A stream of events of which a fixed number is kept, those of highest score, as a trigger does.

The score is linear, `w . x` with `|w| = 1`, and `w` is to be such that as much signal as possible
is among the kept. The number of kept signal events does not change with `w` but by jumps, so its
gradient is zero: the kept ones are chosen by `top_k_weights`. Observables are independent and
normal: of the signal about `m` with unit width, of the background about zero with widths `s`. With
`Q(z) = P(normal > z)` a threshold `t` keeps the shares

    signal  Q(t - w . m),     background  Q(t / |w s|)

and together they fill what is kept. What matters is the far end of the background alone, where its
wide observables are: a classifier that is trained on all events gives these too much weight.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from jaxpbdl.experiments.jets.annealing import annealed
from jaxpbdl.relaxations import top_k_weights

Direction = Float[np.ndarray, " observables"]


class Stream(NamedTuple):
    """The mean of the signal, the widths of the background; the share of the signal in all events,
    and that of the events that are kept."""

    mean: Direction
    widths: Direction
    signal: float
    kept: float

    def signal_kept(self, direction: Direction) -> float:
        """The expected share of the signal that is kept, exactly."""
        w = direction / np.linalg.norm(direction)
        width = np.linalg.norm(w * self.widths)

        def shares(threshold: float) -> tuple[float, float]:
            return float(norm.sf(threshold - w @ self.mean)), float(norm.sf(threshold / width))

        def excess(threshold: float) -> float:
            return float(np.dot((self.signal, 1 - self.signal), shares(threshold))) - self.kept

        threshold = brentq(excess, -30, 30)
        return shares(threshold)[0]  # pyright: ignore[reportArgumentType]

    def optimum(self) -> Direction:
        """The best direction, by minimisation of the exact share from that of the means."""
        loss = lambda w: -self.signal_kept(w)  # noqa: E731
        best = minimize(loss, self.mean / np.linalg.norm(self.mean), options={"gtol": 1e-9}).x
        return best / np.linalg.norm(best)


class Sample(NamedTuple):
    """Events and which of them are signal."""

    events: Float[np.ndarray, "events observables"]
    signal: Bool[np.ndarray, " events"]


def draw(stream: Stream, events: int, random: np.random.Generator) -> Sample:
    signal = random.random(events) < stream.signal
    noise = random.standard_normal((events, len(stream.mean)))
    places = np.where(signal[:, None], stream.mean + noise, stream.widths * noise)
    return Sample(places.astype(np.float32), signal)


def counted(stream: Stream, sample: Sample, direction: Direction) -> float:
    """The share of the signal among the kept events of a sample."""
    kept = np.argsort(-(sample.events @ direction))[: round(stream.kept * len(sample.events))]
    return float(sample.signal[kept].sum() / sample.signal.sum())


def start(sample: Sample) -> Direction:
    """From the mean of the background to that of the signal."""
    apart = sample.events[sample.signal].mean(axis=0) - sample.events[~sample.signal].mean(axis=0)
    return apart.astype(float) / np.linalg.norm(apart)


@partial(jax.jit, static_argnames=("k", "learning_rate", "every"))
def descent(
    events: Float[Array, "events observables"],
    signal: Bool[Array, " events"],
    start: Float[Array, " observables"],
    temperatures: Float[Array, " updates"],
    k: int,
    learning_rate: float,
    every: int,
) -> Float[Array, "passed observables"]:
    """The direction after every `every`-th update by Adam, one update for each temperature."""

    def lost(direction: Array, temperature: Array) -> Array:
        scores = events @ (direction / jnp.linalg.norm(direction)).astype(events.dtype)
        kept = top_k_weights(scores, k, temperature.astype(events.dtype))
        return -jnp.sum(jnp.where(signal, kept, 0)) / jnp.sum(signal)

    passed = annealed(lost, start, temperatures, learning_rate, every)
    return passed / jnp.linalg.norm(passed, axis=1, keepdims=True)


def by_gradient(
    stream: Stream,
    training: Sample,
    validation: Sample,
    temperatures: Float[np.ndarray, " updates"],
    learning_rate: float,
) -> Direction:
    """Falling temperatures; of twenty directions on the way the best in the validation."""
    every = max(1, len(temperatures) // 20)
    k = round(stream.kept * len(training.events))
    first = jnp.asarray(start(training))
    passed = descent(
        jnp.asarray(training.events), jnp.asarray(training.signal), first,
        jnp.asarray(temperatures), k, learning_rate, every,
    )  # fmt: skip
    passed = np.asarray(passed)
    return passed[int(np.argmax([counted(stream, validation, one) for one in passed]))]


def by_classifier(training: Sample, steps: int = 25) -> Direction:
    """Logistic regression by Newton's method: the direction of its weights."""
    x = np.column_stack([training.events.astype(float), np.ones(len(training.events))])
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ weights))
        # The small part keeps the matrix regular where the classes do not overlap.
        matrix = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(x.shape[1])
        weights += np.linalg.solve(matrix, x.T @ (training.signal - p))
    return weights[:-1] / np.linalg.norm(weights[:-1])
