"""A parametrised shower of partons: jets for tests, and where no event generator is installed.

**This is not an event generator.** One quark or gluon of energy `E` radiates at ever smaller
angles, from the radius of the jet down, with the splitting kernels of QCD to leading logarithm,

    dP = alpha_s(k) / pi  P(z) dz  d theta / theta,   k = z E theta > cutoff
    P of a quark = C_F (1 + (1 - z)^2) / z
    P of a gluon = C_A (2 (1 - z) / z + z (1 - z)) + n_f / 2 (z^2 + (1 - z)^2)

`z` the share of the emission, `alpha_s` of one loop with five flavours. Both daughters radiate on,
each with its own colour, so that the angular order gives the coherence of soft gluons (Ellis,
Stirling, Webber, "QCD and Collider Physics", chapter 5). What is left out: hadrons (the partons
that are left are the particles; a quark or gluon jet has 6 or 11 of them, Pythia's 34 and 53),
the underlying event, masses, spin. Identities are drawn independently of everything: they hold no
information. Figures of merit on these jets say nothing about real ones.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.data.jets import Jets

QUARK, GLUON, FLAVOURS = 4 / 3, 3.0, 5
"""The colour charges C_F and C_A, and n_f."""
RADIUS = 0.4
CUTOFF = 0.7
"""The smallest transverse momentum of an emission, in GeV."""
LAMBDA = 0.2
"""Where the coupling of one loop diverges, in GeV."""
MAX_PARTICLES = 48
"""Particles a jet may have."""
IDENTITIES = (211, -211, 22, 130, 321, -321, 2112, 2212)
PROPORTIONS = (0.21, 0.21, 0.41, 0.03, 0.05, 0.05, 0.02, 0.02)


class Shower(NamedTuple):
    """The partons of one jet: energies in GeV, two angles to the axis, colour charges (zero where
    there is none), how many there are, and the angle reached."""

    energies: Float[Array, " particles"]
    angles: Float[Array, "particles 2"]
    charges: Float[Array, " particles"]
    number: Int[Array, ""]
    angle: Float[Array, ""]


def coupling(momentum: Float[Array | np.ndarray, "*jets"]) -> Float[Array, "*jets"]:
    """The strong coupling at a transverse momentum in GeV, to one loop."""
    return 12 * jnp.pi / (33 - 2 * FLAVOURS) / jnp.log(momentum**2 / LAMBDA**2)


def shower(key: PRNGKeyArray, quark: Bool[Array, ""] | bool, energy: Float[Array, ""]) -> Shower:
    """The partons of one jet.

    Emissions are proposed at a rate that nowhere is below theirs, with `log z` uniform, and taken
    with the ratio of the two; proposals of all partons are one process, in which the angle falls.
    """
    ceiling = coupling(jnp.asarray(CUTOFF)) / jnp.pi

    def propose(carry: tuple[Shower, PRNGKeyArray]) -> tuple[Shower, PRNGKeyArray]:
        jet, key = carry
        key, *keys = jax.random.split(key, 7)
        rates = _rates(jet, ceiling)
        total = jnp.maximum(jnp.sum(rates), 1e-9)
        angle = jet.angle * jnp.exp(-jax.random.exponential(keys[0]) / total)
        at = jax.random.categorical(keys[1], jnp.log(jnp.maximum(rates, 1e-30)))
        # The range of log z is that of the angle before the step, as the rate is.
        lowest = CUTOFF / (jet.energies[at] * jet.angle)
        z = jnp.minimum(lowest ** jax.random.uniform(keys[2]), 1.0)
        momentum = z * jet.energies[at] * angle
        is_quark = jet.charges[at] < 2
        pairs = FLAVOURS / 2 * z * (z**2 + (1 - z) ** 2)
        glue = GLUON * (2 * (1 - z) + z**2 * (1 - z))
        kernel = jnp.where(is_quark, QUARK * (1 + (1 - z) ** 2), glue + pairs)
        strength = coupling(jnp.maximum(momentum, CUTOFF)) / jnp.pi / ceiling
        chance = strength * kernel / (2 * jet.charges[at])
        taken = (momentum > CUTOFF) & (jax.random.uniform(keys[3]) < chance)
        to_pair = ~is_quark & (jax.random.uniform(keys[4]) < pairs / kernel)
        turn = 2 * jnp.pi * jax.random.uniform(keys[5])
        aside = angle * jnp.stack([jnp.cos(turn), jnp.sin(turn)])
        own = jet.energies[at]
        split = Shower(
            jet.energies.at[at].set((1 - z) * own).at[jet.number].set(z * own),
            jet.angles.at[jet.number].set(jet.angles[at] + (1 - z) * aside).at[at].add(-z * aside),
            jet.charges.at[at].set(jnp.where(to_pair, QUARK, jet.charges[at]))
            .at[jet.number].set(jnp.where(to_pair, QUARK, GLUON)),
            jet.number + 1,
            angle,
        )  # fmt: skip
        kept = jet._replace(angle=angle)
        return jax.tree.map(lambda a, b: jnp.where(taken, a, b), split, kept), key

    def goes_on(carry: tuple[Shower, PRNGKeyArray]) -> Bool[Array, ""]:
        jet, _ = carry
        return (jet.number < MAX_PARTICLES) & (jnp.sum(_rates(jet, ceiling)) > 1e-6)

    nothing = jnp.zeros(MAX_PARTICLES)
    start = Shower(
        nothing.at[0].set(energy),
        jnp.zeros((MAX_PARTICLES, 2)),
        nothing.at[0].set(jnp.where(quark, QUARK, GLUON)),
        jnp.asarray(1),
        jnp.asarray(RADIUS),
    )
    return lax.while_loop(goes_on, propose, (start, key))[0]


def _rates(jet: Shower, ceiling: Array) -> Float[Array, " particles"]:
    """Proposals a unit of the logarithm of the angle."""
    logarithm = jnp.log(jnp.maximum(jet.energies * jet.angle / CUTOFF, 1.0))
    return 2 * ceiling * jet.charges * logarithm


@jax.jit
def _showers(
    keys: Key[Array, " jets"], quark: Bool[Array, " jets"], energies: Float[Array, " jets"]
) -> Shower:
    return jax.vmap(shower)(keys, quark, energies)


def sample(key: PRNGKeyArray, count: int) -> Jets:
    """`count` jets, quarks and gluons in turn, of 500 to 550 GeV."""
    checks.count("count", count)
    first, second, third, fourth = jax.random.split(key, 4)
    quark = jnp.arange(count) % 2 == 0
    energies = jax.random.uniform(first, (count,), minval=500.0, maxval=550.0)
    drawn = jax.device_get(_showers(jax.random.split(second, count), quark, energies))
    mask = np.arange(MAX_PARTICLES) < drawn.number[:, None]
    particles = np.concatenate([drawn.energies[..., None], drawn.angles], axis=-1)[mask]
    kinds = jax.random.choice(
        third, jnp.asarray(IDENTITIES), (len(particles),), p=jnp.asarray(PROPORTIONS)
    )
    turn = jax.random.uniform(fourth, (count,), minval=-jnp.pi, maxval=jnp.pi)
    axes = np.stack([np.asarray(energies), np.zeros(count), np.asarray(turn)], axis=1)
    return Jets(
        particles.astype(np.float32), np.asarray(kinds), drawn.number, axes, np.asarray(quark)
    )
