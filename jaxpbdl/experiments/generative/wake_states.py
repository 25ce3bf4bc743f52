"""States of a wake by coefficients of their leading modes, and the fields that many of them have.

A state is a stream function, so that every sample is free of divergence.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl.experiments.wakes.data import Wake
from jaxpbdl.experiments.wakes.flow import Stream, fluxes
from jaxpbdl.generative import flow_sample, midpoint

Velocities = Float[Array, "two nx ny"]


class Modes(eqx.Module):
    """Stream functions by the coefficients of their leading modes, each of variance one over the
    training."""

    mean: Stream
    modes: Float[Array, "k nx_1 ny_1"]

    def decode(self, coefficients: Float[Array, " k"]) -> Stream:
        """The stream function."""
        return self.mean + jnp.tensordot(coefficients, self.modes, 1)


class Known(NamedTuple):
    """Training or validation samples."""

    coefficients: Float[Array, "n k"]
    condition: Float[Array, "n 1"]


def mirrored(stream: Stream) -> Stream:
    """Of the mirror image of a flow."""
    return stream[:, -1:] - stream[:, ::-1]


def condition(reynolds: Array | float) -> Float[Array, " 1"]:
    """What the network knows of a Reynolds number: of order one."""
    return jnp.log(jnp.asarray(reynolds, jnp.float32) / 130.0)[None]


def leading_modes(wake: Wake, count: int) -> tuple[Modes, Callable[[Wake], Known]]:
    """The leading modes of the streams of all runs and their mirror images, and what turns wakes
    into samples of their coefficients."""

    def streams(wake: Wake) -> np.ndarray:
        plain = np.asarray(wake.streams).reshape(-1, *wake.streams.shape[2:])
        return np.concatenate([plain, np.asarray(jax.vmap(mirrored)(jnp.asarray(plain)))])

    known = streams(wake)
    mean = known.mean(axis=0)
    _, sizes, directions = np.linalg.svd(
        (known - mean).reshape(len(known), -1), full_matrices=False
    )
    scales = sizes[:count] / np.sqrt(len(known))
    directions = directions[:count]

    def samples(wake: Wake) -> Known:
        states = streams(wake)
        coefficients = (states - mean).reshape(len(states), -1) @ directions.T / scales
        runs = jnp.repeat(wake.reynolds, wake.streams.shape[1])
        conditions = jax.vmap(condition)(jnp.concatenate([runs, runs]))
        return Known(jnp.asarray(coefficients, jnp.float32), conditions)

    scaled = (scales[:, None] * directions).reshape(count, *mean.shape)
    return Modes(jnp.asarray(mean, jnp.float32), jnp.asarray(scaled, jnp.float32)), samples


@eqx.filter_jit
def drawn(
    model: Callable[..., Array], modes: Modes, reynolds: Array, keys: Array, steps: int
) -> Float[Array, "samples nx_1 ny_1"]:
    """Stream functions, one a key, in `steps` steps of the midpoint rule (one: of Euler's)."""
    count, given = len(modes.modes), condition(reynolds)
    method = {"method": midpoint} if steps > 1 else {}

    def one(key: PRNGKeyArray) -> Stream:
        found = flow_sample(model, key, (count,), steps, condition=given, **method)
        return modes.decode(found)

    return jax.lax.map(one, keys, batch_size=64)


def velocities(stream: Stream) -> Velocities:
    """Both components in the cells."""
    through = fluxes(stream)
    along = (through.x[1:] + through.x[:-1]) / 2
    return jnp.stack([along, (through.y[:, 1:] + through.y[:, :-1]) / 2])


class Fields(NamedTuple):
    """Of the velocity at one Reynolds number."""

    mean: Velocities
    deviation: Velocities


@jax.jit
def fields_of(streams: Float[Array, "samples nx_1 ny_1"]) -> Fields:
    """Of samples or of a simulation."""
    states = jax.vmap(velocities)(streams)
    return Fields(jnp.mean(states, axis=0), jnp.std(states, axis=0))


def errors_of(found: Fields, truth: Fields) -> dict[str, float]:
    """Of both fields: of the mean relative to the departure from the stream, of the deviation to
    itself."""
    stream = jnp.zeros_like(truth.mean).at[0].set(1.0)
    apart = [jnp.linalg.norm(found.mean - truth.mean) / jnp.linalg.norm(truth.mean - stream)]
    apart += [jnp.linalg.norm(found.deviation - truth.deviation) / jnp.linalg.norm(truth.deviation)]
    return dict(zip(("mean_error", "deviation_error"), map(float, apart), strict=True))


def interpolated(reynolds: float, known: Sequence[float], fields: Sequence[Fields]) -> Fields:
    """Between the fields of the two neighbouring simulations, linearly in the Reynolds number."""
    above = int(np.searchsorted(known, reynolds))
    share = (reynolds - known[above - 1]) / (known[above] - known[above - 1])
    return jax.tree.map(
        lambda low, high: (1 - share) * low + share * high, fields[above - 1], fields[above]
    )
