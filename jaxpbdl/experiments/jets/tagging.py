"""What a tagger of jets is trained on and judged by: ragged batches, scores, figures of merit."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.data.jets import Constituents, Jets, constituents
from jaxpbdl.diagnostics import area_under_curve

RADIUS = 0.4
"""Of the jets: angles are given to the networks in units of it."""


class Batch(eqx.Module):
    """The particles of several jets one after another, and what the jets are.

    `complete` is false for a jet whose particles did not all fit in.
    """

    particles: Constituents
    owner: Int[Array, " capacity"]
    quark: Float[Array, " jets"]
    complete: Bool[Array, " jets"]


class JetBatches(eqx.Module):
    """Random jets, in batches of as many particles as that many jets have, whatever they are.

    Padding every jet to the largest would triple the work. `capacity` particles fit in, by default
    five deviations more than the jets of a batch have on average, so that none is left out but in
    one batch of a million.
    """

    particles: Constituents
    ends: Int[Array, " jets"]
    quark: Float[Array, " jets"]
    size: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)

    def __init__(self, jets: Jets, size: int, capacity: int | None = None):
        checks.count("size", size)
        self.particles = jax.tree.map(jnp.asarray, constituents(jets))
        self.ends = jnp.cumsum(jnp.asarray(jets.counts))
        self.quark = jnp.asarray(jets.quark, float)
        self.size = size
        mean, deviation = np.mean(jets.counts), np.std(jets.counts)
        self.capacity = int(capacity or np.ceil(size * mean + 5 * size**0.5 * deviation + 1))

    def __call__(self, key: PRNGKeyArray) -> Batch:
        return self.take(jax.random.randint(key, (self.size,), 0, len(self.ends)))

    def take(self, chosen: Int[Array, " jets"]) -> Batch:
        """The batch of these jets."""
        starts = jnp.where(chosen > 0, self.ends[chosen - 1], 0)
        filled = jnp.cumsum(self.ends[chosen] - starts)
        slots = jnp.arange(self.capacity)
        owner = jnp.searchsorted(filled, slots, side="right")
        held = jnp.minimum(owner, len(chosen) - 1)
        before = jnp.where(held > 0, filled[held - 1], 0)
        rows = jnp.minimum(starts[held] + slots - before, self.ends[-1] - 1)
        particles = jax.tree.map(lambda part: part[rows], self.particles)
        return Batch(particles, owner, self.quark[chosen], filled <= self.capacity)


class Tagger(eqx.Module):
    """A network on sets, and what it is shown of the particles; gives the log odds of a quark."""

    network: eqx.Module
    view: Callable[[Constituents], tuple[Array, ...]] = eqx.field(static=True)

    def __call__(self, particles: Constituents, mask: Array | None = None) -> Float[Array, ""]:
        """Of one jet."""
        return self.network(*self.view(particles), mask)[0]  # pyright: ignore[reportCallIssue]

    def ragged(self, batch: Batch) -> Float[Array, " jets"]:
        sets = len(batch.quark)
        views = self.view(batch.particles)
        return self.network.ragged(*views, batch.owner, sets)[:, 0]  # pyright: ignore[reportAttributeAccessIssue]


def directions(angles: Float[Array, "*particles 2"]) -> Float[Array, "*particles 4"]:
    """Both angles, the distance to the axis and its logarithm, in units of the radius: what a
    network would otherwise have to learn of the dense middle of a jet."""
    angles = jnp.asarray(angles) / RADIUS
    distance = jnp.sqrt(jnp.sum(angles**2, axis=-1, keepdims=True) + 1e-6)
    return jnp.concatenate([angles, distance, 1 + jnp.log(distance + 0.01) / 2], axis=-1)


def as_energy(particles: Constituents) -> tuple[Array, Array]:
    """Shares and directions: what is safe to know."""
    return jnp.asarray(particles.shares), directions(particles.angles)


def as_particles(particles: Constituents) -> tuple[Array]:
    """One row of features a particle: the share, its logarithm, and the direction."""
    shares = jnp.asarray(particles.shares)[..., None]
    logarithm = 1 + jnp.log(jnp.maximum(shares, 1e-8)) / 5
    return (jnp.concatenate([shares, logarithm, directions(particles.angles)], axis=-1),)


def with_identities(particles: Constituents) -> tuple[Array]:
    """The same with kind and charge."""
    (rows,) = as_particles(particles)
    return (jnp.concatenate([rows, particles.kinds], axis=-1),)


def cross_entropy(tagger: Tagger, batch: Batch) -> Float[Array, ""]:
    """The mean over jets of `-log p(what it is)`."""
    odds = tagger.ragged(batch)
    each = jax.nn.softplus(odds) - batch.quark * odds
    return jnp.sum(each * batch.complete) / jnp.sum(batch.complete)


class Held(eqx.Module):
    """All of some jets in turn, in blocks: to validate and to test on."""

    batches: JetBatches
    order: Int[Array, "blocks size"]

    def __init__(self, jets: Jets, size: int = 500):
        size = min(size, len(jets))
        if len(jets) % size:
            raise ValueError(f"{len(jets)} jets do not make blocks of {size}")
        blocks = np.asarray(jets.counts).reshape(-1, size)
        self.batches = JetBatches(jets, size, int(blocks.sum(axis=1).max()))
        self.order = jnp.arange(len(jets)).reshape(-1, size)

    def odds(self, tagger: Tagger) -> Float[Array, " jets"]:
        """The answer for every jet."""
        return lax.map(lambda chosen: tagger.ragged(self.batches.take(chosen)), self.order).ravel()

    def loss(self, tagger: Tagger) -> Float[Array, ""]:
        """The cross entropy over all jets."""
        of = lambda chosen: cross_entropy(tagger, self.batches.take(chosen))  # noqa: E731
        return jnp.mean(lax.map(of, self.order))


def rejection(odds: np.ndarray, quark: np.ndarray, efficiency: float) -> float:
    """One over the share of gluon jets that pass where a share `efficiency` of quark jets does;
    infinite if none passes."""
    cut = np.quantile(odds[quark], 1 - efficiency)
    passed = float(np.mean(odds[~quark] >= cut))
    return 1 / passed if passed else float("inf")


def figures(odds: np.ndarray, quark: np.ndarray) -> dict[str, float]:
    """The figures by which taggers are compared; the cut of `accuracy` is at even odds."""
    return {
        "auc": area_under_curve(odds, quark),
        "accuracy": float(np.mean((odds > 0) == quark)),
        "rejection_50": rejection(odds, quark, 0.5),
        "rejection_30": rejection(odds, quark, 0.3),
    }
