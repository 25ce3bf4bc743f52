"""What experiments with networks for the pressure share: draws, a network in proportion to its
source, answers and their time.
"""

import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl.networks import UNet

Cells = Float[Array, "nx ny"]
Pressure = Callable[[Cells], Cells]


class Draws(eqx.Module):
    """Random batches of sources, none twice in a batch."""

    sources: Float[Array, "fields nx ny"]
    batch: int = eqx.field(static=True)

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "batch nx ny"]:
        return jax.random.choice(key, self.sources, (self.batch,), replace=False)


class Scaled(eqx.Module):
    """`p = scale s network(b / s)` with the root mean square `s` of the source `b`: twice the
    source gives twice the pressure whatever the network."""

    network: UNet
    scale: float = eqx.field(static=True, default=1.0)

    def __call__(self, source: Cells) -> Cells:
        size = jnp.sqrt(jnp.mean(source**2))
        return self.scale * size * self.network((source / size)[None])[0]


@eqx.filter_jit
def answers(pressure: Pressure, sources: Float[Array, "fields nx ny"]) -> Array:
    return jax.vmap(pressure)(sources)


def seconds(call: Callable[[], PyTree], repeats: int) -> float:
    """The minimum over `repeats` calls, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - begin)
    return min(times)
