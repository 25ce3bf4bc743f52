"""A search by cuts on events whose best cuts are known, and ways to look for them.

An event has `d` independent observables, all above zero: of the signal normal ones of unit width,
of which the part below zero is missing, of the background exponential ones. It is kept where each
lies above its cut `c_i`. The shares that are kept are, with `Q(z) = P(normal > z)`,

    signal  prod_i Q(c_i - m_i) / Q(-m_i),     background  prod_i exp(-r_i c_i),     c_i >= 0

At the best cuts no change of one pays, so that what a cut takes of the background, relative to what
it takes of the signal, is the same for all:

    r_i / h(c_i - m_i) = k,     h(z) = exp(-z^2 / 2) / (sqrt(2 pi) Q(z))

or `c_i = 0` where that would be below zero. `h` rises, so `k` determines all cuts (the best ones
for one number of background events, since `log Q` is concave), and the best `k` is found on a line,
whatever `d` is.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from jaxpbdl.experiments.jets.annealing import annealed
from jaxpbdl.experiments.jets.significance import discovery_significance
from jaxpbdl.relaxations import soft_step

Cuts = Float[np.ndarray, " observables"]


class Search(NamedTuple):
    """What is looked for: the mean of each observable in the signal, the rate at which the
    background falls, events expected of each before the cuts, and how well the background is known,
    relative to it."""

    means: Float[np.ndarray, " observables"]
    rates: Float[np.ndarray, " observables"]
    signal: float
    background: float
    uncertainty: float

    def significance(self, signal: ArrayLike, background: ArrayLike) -> Array:
        """Of the kept shares of both."""
        b = self.background * background
        return discovery_significance(self.signal * signal, b, self.uncertainty * b)

    def expected(self, cuts: Cuts) -> float:
        """The exact one at some cuts."""
        cuts = np.maximum(cuts, 0)
        signal = (norm.sf(cuts - self.means) / norm.sf(-self.means)).prod()
        background = np.exp(-self.rates * cuts).prod()
        return float(self.significance(signal, background))

    def optimum(self) -> Cuts:
        """The best cuts, exactly."""

        def cuts(ratio: float) -> Cuts:
            hazard = lambda z, rate: norm.logpdf(z) - norm.logsf(z) - np.log(rate / ratio)  # noqa: E731
            found = [brentq(hazard, -20, 20, args=(rate,)) for rate in self.rates]
            return np.maximum(self.means + np.array(found), 0)

        loss = lambda log: -self.expected(cuts(np.exp(log)))  # noqa: E731
        places = np.linspace(np.log(0.2), np.log(10), 100)
        best = int(np.clip(np.argmin([loss(place) for place in places]), 1, len(places) - 2))
        bounds = places[best - 1], places[best + 1]
        found = minimize_scalar(loss, bounds=bounds, method="bounded")
        return cuts(np.exp(found.x))  # pyright: ignore[reportAttributeAccessIssue]


class Events(NamedTuple):
    """As many of the signal as of the background."""

    signal: Float[np.ndarray, "events observables"]
    background: Float[np.ndarray, "events observables"]


def draw(search: Search, events: int, random: np.random.Generator) -> Events:
    shape = events, len(search.means)
    signal = search.means - norm.ppf(random.random(shape) * norm.cdf(search.means))
    background = random.exponential(1 / search.rates, shape)
    return Events(signal.astype(np.float32), background.astype(np.float32))


def counted(search: Search, events: Events, cuts: Cuts) -> float:
    """The significance by counting events above the cuts."""
    shares = [np.mean((each > cuts).all(axis=1)) for each in events]
    return float(search.significance(shares[0], _at_least_one(shares[1], events)))


def _at_least_one(share: np.ndarray | np.floating, events: Events) -> np.ndarray | np.floating:
    """A background of which no event is left is not known to be zero."""
    return np.maximum(share, 1 / len(events.background))


def softly_counted(
    search: Search, events: Events, cuts: Float[Array, " observables"], temperature: Array | float
) -> Float[Array, ""]:
    """The significance with soft steps at the cuts; `temperature` in units of the observables."""

    def kept(events: ArrayLike) -> Array:
        passes = soft_step(jnp.asarray(events) - cuts, temperature)
        return jnp.mean(jnp.prod(passes, axis=1)).astype(float)

    return search.significance(kept(events.signal), kept(events.background))


@partial(jax.jit, static_argnames=("learning_rate", "every"))
def descent(
    search: Search,
    events: Events,
    start: Float[Array, " observables"],
    temperatures: Float[Array, " updates"],
    learning_rate: float,
    every: int,
) -> Float[Array, "kept observables"]:
    """The cuts after every `every`-th update by Adam, one update for each temperature."""

    def loss(cuts: Array, temperature: Array) -> Array:
        return -softly_counted(search, events, cuts, temperature)

    return annealed(loss, start, temperatures, learning_rate, every)


def by_gradient(
    search: Search,
    training: Events,
    start: Cuts,
    temperatures: Float[np.ndarray, " updates"],
    learning_rate: float,
) -> list[Cuts]:
    """Twenty cuts on the way, at falling temperatures."""
    every = max(1, len(temperatures) // 20)
    passed = descent(
        search, training, jnp.asarray(start), jnp.asarray(temperatures), learning_rate, every
    )
    return list(np.asarray(passed))


_judge = jax.jit(softly_counted)


def best_of(search: Search, events: Events, candidates: Sequence[Cuts], temperature: float) -> Cuts:
    """The cuts of the largest significance, counted softly: of some tens of events a hard count
    says less."""
    found = [_judge(search, events, jnp.asarray(cuts), temperature) for cuts in candidates]
    return candidates[int(np.argmax(found))]


def places(training: Events, cells: int) -> list[Float[np.ndarray, " cells"]]:
    """Where the grid has cuts: of each observable from the lowest hundredth of the signal to the
    highest, in equal steps."""
    ends = np.quantile(training.signal, [0.01, 0.99], axis=0)
    return [np.linspace(low, high, cells) for low, high in ends.T]


def by_grid(search: Search, training: Events, cells: int) -> Cuts:
    """All combinations of `cells` cuts an observable: a histogram, summed from above along each
    axis, has all their counts at once."""
    edges = places(training, cells)
    shares = []
    for events in training:
        number = np.stack(list(map(np.searchsorted, edges, events.T)))
        inside = np.all(number > 0, axis=0)  # below the lowest cut: not kept by any
        flat = np.ravel_multi_index(tuple(number[:, inside] - 1), (cells,) * len(edges))
        counts = np.bincount(flat, minlength=cells ** len(edges)).reshape((cells,) * len(edges))
        for axis in range(len(edges)):
            counts = np.flip(np.cumsum(np.flip(counts, axis), axis), axis)
        shares.append(counts / len(events))
    significance = search.significance(shares[0], _at_least_one(shares[1], training))
    best = np.unravel_index(int(jnp.argmax(significance)), significance.shape)
    return np.array([edge[at] for edge, at in zip(edges, best, strict=True)])


def one_at_a_time(search: Search, training: Events, start: Cuts, cells: int) -> Cuts:
    """One cut after the other to its best place among `cells`, the others held, until none
    moves."""
    cuts, before = np.array(start, float), None
    edges = places(training, cells)
    while before is None or np.any(cuts != before):
        before = cuts.copy()
        for axis, edge in enumerate(edges):
            shares = []
            for events in training:
                others = np.delete(events > cuts, axis, axis=1).all(axis=1)
                ordered = np.sort(events[others, axis])
                above = len(ordered) - np.searchsorted(ordered, edge, side="right")
                shares.append(above / len(events))
            shares[1] = _at_least_one(shares[1], training)
            cuts[axis] = edge[int(jnp.argmax(search.significance(*shares)))]
    return cuts
