"""Laws of networks on sets: symmetry, padding, soft and collinear particles, the ragged form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxpbdl.networks import (
    AttentionFlow,
    AttentionPooling,
    EnergyFlow,
    Equivariant,
    ParticleFlow,
    ParticleTagger,
    SelfAttention,
)

KEY = jax.random.key(0)
SMALL = {"inner": (9, 7), "outer": (6,)}
POOLED = {
    "particle flow": lambda: ParticleFlow(4, 2, **SMALL, activation=jnp.tanh, key=KEY),
    "attention pooling": lambda: AttentionPooling(4, 6, heads=3, key=KEY),
    "attention flow": lambda: AttentionFlow(
        4, 2, inner=(8,), width=6, heads=2, outer=(5,), activation=jnp.tanh, key=KEY
    ),
    "energy flow": lambda: of_rows(EnergyFlow(3, 2, **SMALL, activation=jnp.tanh, key=KEY)),
}
TAGGING = {
    "equivariant": lambda: Equivariant(4, 3, key=KEY),
    "self-attention": lambda: SelfAttention(4, heads=2, key=KEY),
    "linear tagger": lambda: ParticleTagger.linear(4, 2, width=6, key=KEY),
    "attention tagger": lambda: ParticleTagger.attention(4, 2, width=6, heads=2, key=KEY),
}
pytestmark = pytest.mark.x64


class of_rows(eqx.Module):
    """An energy flow that finds the shares in the first column."""

    network: EnergyFlow

    def __call__(self, particles, mask=None):
        return self.network(particles[:, 0], particles[:, 1:], mask)

    def ragged(self, particles, owner, sets):
        return self.network.ragged(particles[:, 0], particles[:, 1:], owner, sets)


@eqx.filter_jit
def call(network, *sets):
    return network(*sets)


def drawn(count, features=4, seed=1):
    rows = jax.random.normal(jax.random.key(seed), (count, features))
    return rows.at[:, 0].set(jax.nn.softmax(rows[:, 0]))


@pytest.mark.parametrize("name", POOLED)
def test_order_does_not_matter(name):
    network, particles = POOLED[name](), drawn(8)
    turned = particles[jax.random.permutation(jax.random.key(2), 8)]
    np.testing.assert_allclose(call(network, turned), call(network, particles), rtol=1e-12)
    # Nor is it that particles do not matter.
    assert jnp.max(jnp.abs(call(network, particles[:7]) - call(network, particles))) > 1e-4


@pytest.mark.parametrize("name", TAGGING)
def test_answers_are_permuted_with_the_particles(name):
    network, particles = TAGGING[name](), drawn(8)
    order = jax.random.permutation(jax.random.key(2), 8)
    answers = call(network, particles)
    np.testing.assert_allclose(call(network, particles[order]), answers[order], rtol=1e-12)
    # A particle hears of the others.
    moved = call(network, particles.at[0, 1].add(1.0))
    assert jnp.min(jnp.max(jnp.abs(moved - answers), axis=1)) > 1e-5


@pytest.mark.parametrize("name", [*POOLED, *TAGGING])
def test_padding_changes_nothing(name):
    network, particles = (POOLED | TAGGING)[name](), drawn(5)
    mask = jnp.arange(9) < 5

    def of(particles, mask):
        answer = call(network, particles, mask)
        return answer if name in POOLED else answer[:5]

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(both):
        network, particles = both
        return jnp.sum(network(particles, mask) ** 2)

    for rubbish in (0.0, 1e3, jnp.nan):
        padded = jnp.concatenate([particles, jnp.full((4, 4), rubbish)])
        np.testing.assert_allclose(of(padded, mask), of(particles, None), rtol=1e-12)
        if name in TAGGING:
            assert jnp.all(call(network, padded, mask)[5:] == 0)
        by_network, by_particles = gradient((network, padded))
        assert all(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(by_network))
        assert jnp.all(by_particles[5:] == 0) and jnp.all(jnp.isfinite(by_particles))
        assert jnp.max(jnp.abs(by_particles[:5])) > 1e-6


@pytest.mark.parametrize("name", [*POOLED, *TAGGING])
def test_fault_16_an_empty_set_is_finite(name):
    network, nothing = (POOLED | TAGGING)[name](), jnp.zeros(3, bool)
    loss = lambda network, p: jnp.sum(network(p, nothing) ** 2)  # noqa: E731
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss))(network, drawn(3))
    assert all(jnp.all(jnp.isfinite(g)) for g in [value, *jax.tree.leaves(gradient)])


@pytest.mark.parametrize("name", [*POOLED, *TAGGING])
def test_gradients(name):
    network = (POOLED | TAGGING)[name]()
    mask = jnp.arange(5) < 4
    check_grads(jax.jit(lambda p: network(p, mask)), (drawn(5),), order=1, modes=["rev"], rtol=1e-5)


@pytest.mark.parametrize("name", POOLED)
def test_ragged_is_dense(name):
    network, counts, most = POOLED[name](), (3, 0, 5, 1), 6
    dense, mask = drawn(4 * most).reshape(4, most, 4), np.arange(most) < np.asarray(counts)[:, None]
    # The last two rows belong to no set.
    particles = jnp.concatenate([dense[mask], jnp.full((2, 4), 1e3)])
    owner = jnp.asarray([*np.repeat(np.arange(4), counts), 4, 4])

    def by_sets(network):
        return jax.vmap(network)(dense, jnp.asarray(mask))

    def at_once(network):
        return network.ragged(particles, owner, 4)

    np.testing.assert_allclose(call(at_once, network), call(by_sets, network), rtol=1e-11)
    first, second = (
        eqx.filter_jit(eqx.filter_grad(lambda n, of=of: jnp.sum(jnp.sin(of(n)))))(network)
        for of in (by_sets, at_once)
    )
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_energy_flow_is_infrared_and_collinear_safe():
    energy, rows = POOLED["energy flow"](), drawn(6)
    particle = POOLED["particle flow"]()
    # A soft particle: the change vanishes with its share, in proportion to it.
    soft = lambda share: jnp.concatenate([rows, jnp.asarray([[share, 0.3, -0.2, 0.1]])])  # noqa: E731
    changes = [
        [float(jnp.max(jnp.abs(net(soft(share)) - net(rows)))) for share in (1e-3, 1e-5, 1e-7)]
        for net in (energy, particle)
    ]
    np.testing.assert_allclose(changes[0][1] / changes[0][2], 100, rtol=1e-3)
    assert changes[0][2] < 1e-6 and np.all(energy(soft(0.0)) == energy(rows))
    assert changes[1][2] > 0.9 * changes[1][0] > 1e-2
    # One particle as two of the same direction.
    split = jnp.concatenate([rows, rows[:1]]).at[0, 0].mul(0.3).at[-1, 0].mul(0.7)
    np.testing.assert_allclose(energy(split), energy(rows), rtol=1e-13)
    assert jnp.max(jnp.abs(particle(split) - particle(rows))) > 1e-2


def test_bad_input():
    network = POOLED["particle flow"]()
    with pytest.raises(
        ValueError, match=r"one set has shape \(particles, 4\), got shape \(2, 5, 4\)"
    ):
        network(jnp.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match=r"mask must have shape \(5,\), got \(4,\)"):
        network(jnp.zeros((5, 4)), jnp.ones(4, bool))
    with pytest.raises(ValueError, match=r"shares must have shape \(5,\), got \(6,\)"):
        EnergyFlow(3, 1, key=KEY)(jnp.zeros(6), jnp.zeros((5, 3)))
    with pytest.raises(ValueError, match="width must be a multiple of heads = 4, got 6"):
        AttentionPooling(3, 6, key=KEY)
    with pytest.raises(ValueError, match="inner must name at least one width"):
        ParticleFlow(3, 1, inner=(), key=KEY)
