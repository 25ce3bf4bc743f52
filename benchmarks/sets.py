"""Training steps of a particle flow network on 500 jets of up to 100 particles, beside torch.

`PEER_PYTHON=python-with-torch python benchmarks/sets.py` prints a table. 30,000 of the
50,000 places hold a particle.
"""

import jax
import jax.numpy as jnp
import numpy as np
from timing import Line, Timing, in_own_process, side_by_side, training_step

from jaxpbdl.networks import ParticleFlow

JETS, MOST, FEATURES = 500, 100, 4
INNER, OUTER = (100, 100, 256), (100, 100, 100)


def entropy(odds: jax.Array, quark: jax.Array) -> jax.Array:
    return jnp.mean(jax.nn.softplus(odds) - quark * odds)


def by_vmap(network, batch):
    particles, mask, quark = batch
    return entropy(jax.vmap(network)(particles, mask)[:, 0], quark)


def by_blocks(network, batch):
    particles, mask, quark = batch
    one = lambda pair: network(*pair)[0]  # noqa: E731
    return entropy(jax.lax.map(one, (particles, mask), batch_size=25), quark)


def ragged(network, batch):
    particles, owner, quark = batch
    return entropy(network.ragged(particles, owner, JETS)[:, 0], quark)


def candidates() -> dict:
    random = np.random.default_rng(0)
    counts = random.integers(20, MOST + 1, JETS)
    mask = np.arange(MOST) < counts[:, None]
    particles = random.standard_normal((JETS, MOST, FEATURES)).astype(np.float32)
    quark = jnp.asarray(random.random(JETS) < 0.5, jnp.float32)
    network = ParticleFlow(FEATURES, 1, inner=INNER, outer=OUTER, key=jax.random.key(0))
    dense = jax.tree.map(jnp.asarray, (particles, mask, quark))
    flat = (jnp.asarray(particles[mask]), jnp.asarray(np.repeat(np.arange(JETS), counts)), quark)
    return {
        "dense, vmap": training_step(by_vmap, network, dense),
        "dense, blocks of 25": training_step(by_blocks, network, dense),
        "ragged": training_step(ragged, network, flat),
    }


def lines() -> list[Line]:
    """Ours and torch's take turns, in rounds, since torch has a process of its own."""
    calls = candidates()
    ours = side_by_side(calls, repeats=7)
    dense, flat = (in_own_process("sets_peer.py", f) for f in ("dense", "ragged"))
    again = side_by_side(calls, repeats=7)
    best = {
        name: Timing(min(a.minimum, b.minimum), min(a.median, b.median))
        for (name, a), b in zip(ours.items(), again.values(), strict=True)
        if isinstance(a, Timing) and isinstance(b, Timing)
    }
    of = "particle flow training step, 500 jets x 100, "
    return [
        Line(of + "dense, vmap", best["dense, vmap"], "torch, dense", dense, "ms"),
        Line(of + "dense, blocks", best["dense, blocks of 25"], "torch, dense", dense, "ms", 1.0),
        Line(of + "ragged", best["ragged"], "torch, ragged", flat, "ms", 1.0),
    ]


if __name__ == "__main__":
    for line in lines():
        print("| " + " | ".join(line.cells()) + " |")
