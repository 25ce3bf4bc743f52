"""A few measurements of the velocity of a wake, and states that fit them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.experiments.generative.wake_states import Modes, Velocities, velocities
from jaxpbdl.experiments.wakes.flow import LENGTHS, Stream, flow_from, sampled, stream_function
from jaxpbdl.solvers.flow import IncompressibleStep

PROBES = ((4.0, 2.5), (5.0, 3.2), (5.0, 1.8))
LATER = (5.0, 2.5)
MOMENTS = (0.0, 0.8, 1.6)
"""At which the probe at `LATER` measures the velocity across the stream."""
SUBSTEPS = 3
"""Of the coarse solver in 0.4 units of time."""


def at_place(velocity: Velocities, place: Sequence[float]) -> Float[Array, " two"]:
    """The velocity in the cell that holds a place."""
    shape = velocity.shape[1:]
    i, j = (int(x / length * n) for x, length, n in zip(place, LENGTHS, shape, strict=True))
    return velocity[:, i, j]


class Measured(eqx.Module):
    """What a state is measured by: `probes` at one moment, or one probe later, by the solver."""

    step: IncompressibleStep | None

    def __call__(self, stream: Stream) -> Float[Array, " numbers"]:
        if self.step is None:
            seen = velocities(stream)
            return jnp.concatenate([at_place(seen, place) for place in PROBES])
        step = self.step
        state, found = flow_from(step, stream), []
        for before, moment in zip((0.0, *MOMENTS), MOMENTS, strict=False):
            for _ in range(round((moment - before) / 0.4) * SUBSTEPS):
                state = step.advance(state)
            seen = velocities(sampled(stream_function(step, state.velocity), step.grid.shape))
            found.append(at_place(seen, LATER)[1])
        return jnp.stack(found)


class Misfit(eqx.Module):
    """`-log p(measurements | state on its way)`: the deviation of the noise, and of what the state
    will still change in (as pseudo-inverse guidance has it; Song et al., ICLR 2023)."""

    measured: Measured
    modes: Modes
    values: Float[Array, " numbers"]
    prior: Float[Array, " numbers"]
    noise: float

    def __call__(self, coefficients: Array, t: Array) -> Float[Array, ""]:
        left = (1 - t) ** 2 / ((1 - t) ** 2 + t**2)
        variance = self.noise**2 + left * self.prior
        apart = self.measured(self.modes.decode(coefficients)) - self.values
        return jnp.sum(apart**2 / variance) / 2


def pull(t: Array) -> Array:
    """The weight of the guidance, `(1 - t) / t` but for the first twentieth, where a network that
    is only nearly right would be thrown off."""
    return (1 - t) / jnp.maximum(t, 0.05)


@eqx.filter_jit
def all_measured(measured: Measured, streams: Float[Array, "samples nx_1 ny_1"]) -> Array:
    """Of many states."""
    return jax.lax.map(measured, streams, batch_size=16)


def weighted(prior: Array, seen: Array, values: Array, noise: float, keys: Array) -> Array:
    """States of the prior, drawn by how likely they make the measurements."""
    likely = -jnp.sum((seen - values) ** 2, axis=1) / (2 * noise**2)
    return prior[jax.random.categorical(keys[0], likely, shape=(len(keys),))]


def kalman(prior: Array, seen: Array, values: Array, noise: float, keys: Array) -> Array:
    """States of the prior, moved by the ensemble Kalman update with perturbed measurements."""
    count = len(keys)
    apart = seen - jnp.mean(seen, axis=0)
    cross = jnp.tensordot(apart, prior - jnp.mean(prior, axis=0), ([0], [0])) / len(prior)
    own = apart.T @ apart / len(prior) + noise**2 * jnp.eye(len(values))
    noises = noise * jax.random.normal(keys[0], (count, len(values)))
    return prior[:count] + jnp.tensordot(
        jnp.linalg.solve(own, (values + noises - seen[:count]).T).T, cross, 1
    )
