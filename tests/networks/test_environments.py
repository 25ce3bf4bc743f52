"""Environments of atoms: what must not change them, their formulas, their gradient."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxpbdl.networks.environments import Environments, features_of

pytestmark = pytest.mark.x64
FORMALDEHYDE = np.array([8, 6, 1, 1])
PLACES = np.array([[0.0, 0.1, 1.2], [0.0, 0.0, 0.0], [0.95, 0.0, -0.55], [-0.9, 0.1, -0.6]])


@eqx.filter_jit
def compiled(environments, numbers, positions):
    return environments(numbers, positions)


def seen(numbers=FORMALDEHYDE, positions=PLACES, **settings):
    settings = {"radii": 6, "angular_radii": 5} | settings
    environments = Environments((1, 6, 8), **settings)
    return compiled(environments, jnp.asarray(numbers), jnp.asarray(positions))


def test_nothing_changes_under_motions():
    for seed in range(3):
        turn = Rotation.random(random_state=seed).as_matrix() * (-1) ** seed
        np.testing.assert_allclose(seen(positions=PLACES @ turn.T + 3.0), seen(), atol=1e-12)


def test_atoms_in_another_order_have_their_own_features():
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(seen(FORMALDEHYDE[order], PLACES[order]), seen()[order], atol=1e-12)
    # Swapping the two hydrogens swaps only their rows.
    assert not np.allclose(seen()[2], seen()[3])


def test_padding_is_not_seen():
    numbers, positions = np.append(FORMALDEHYDE, [0, 0]), np.vstack([PLACES, np.zeros((2, 3))])
    found = seen(numbers, positions)
    np.testing.assert_allclose(found[:4], seen(), atol=1e-14)
    assert not np.any(found[4:])
    many = features_of(
        Environments((1, 6, 8), radii=6, angular_radii=5),
        jnp.stack([numbers] * 3),
        jnp.stack([positions] * 3),
    )
    np.testing.assert_allclose(many[1], found, atol=1e-14)


def test_formulas_term_by_term():
    """The paper's sums as loops over neighbours and pairs, for the carbon."""
    cutoff, count = 5.0, 6
    found = seen(cutoff=cutoff, radii=count, angular_radii=count)[1]
    grid = cutoff * np.arange(1, count + 1) / count
    others = [0, 2, 3]

    def fade(r):
        return (1 + np.cos(np.pi * r / cutoff)) / 2

    radial = {1: 0.0, 6: np.zeros(count), 8: 0.0}
    pairs = {}
    vector = {j: PLACES[j] - PLACES[1] for j in others}
    length = {j: np.linalg.norm(vector[j]) for j in others}
    for j in others:
        r = length[j]
        middle, square = np.log(r / np.sqrt(1 + 0.32 / r**2)), np.log(1 + 0.32 / r**2)
        bump = np.exp(-((np.log(grid) - middle) ** 2) / (2 * square)) / grid
        radial[FORMALDEHYDE[j]] += bump / np.sqrt(2 * np.pi * square) * fade(r) / r**1.8
    for j, k in ((0, 2), (0, 3), (2, 3)):
        far = np.linalg.norm(PLACES[j] - PLACES[k])
        a, b = length[j], length[k]
        at_i = vector[j] @ vector[k] / (a * b)
        at_j = (a**2 + far**2 - b**2) / (2 * a * far)
        at_k = (b**2 + far**2 - a**2) / (2 * b * far)
        weight = 13.4 * (1 + 3 * at_i * at_j * at_k) / (a * b * far) ** 0.57
        weight *= fade(a) * fade(b) * fade(far) * np.sqrt(2.7 / np.pi) * 2 * np.exp(-(np.pi**2) / 2)
        bump = weight * np.exp(-2.7 * (grid - (a + b) / 2) ** 2)
        kinds = tuple(sorted((FORMALDEHYDE[j], FORMALDEHYDE[k])))
        both = np.stack([bump * at_i, bump * np.sin(np.arccos(at_i))])
        pairs[kinds] = pairs.get(kinds, 0.0) + both
    angular = [
        pairs.get(kinds, np.zeros((2, count))).ravel()
        for kinds in ((1, 1), (1, 6), (1, 8), (6, 6), (6, 8), (8, 8))
    ]
    np.testing.assert_allclose(found, np.concatenate([radial[1], radial[6], radial[8], *angular]))


def test_an_atom_fades_at_the_cutoff():
    cutoff, alone = 3.0, seen(FORMALDEHYDE[:2], PLACES[:2], cutoff=3.0)[1]

    def with_one_at(r):
        places = np.vstack([PLACES[:2], [[r, 0.0, 0.0]]])
        return seen([8, 6, 1], places, cutoff=cutoff)[1]

    np.testing.assert_array_equal(with_one_at(cutoff + 1e-9), alone)
    # As the square of the distance from the cutoff.
    near, nearer = (np.abs(with_one_at(cutoff - d) - alone).max() for d in (2e-3, 1e-3))
    assert near < 1e-5 and near / nearer == pytest.approx(4, rel=0.02)


def test_gradient():
    environments = Environments((1, 6, 8), radii=4, angular_radii=4)
    numbers = jnp.array([8, 6, 1, 1, 0])
    positions = jnp.asarray(np.vstack([PLACES, np.zeros((1, 3))]))
    total = jax.jit(lambda positions: jnp.sum(jnp.sin(3 * environments(numbers, positions))))
    slope = jax.jit(jax.grad(total))
    way = jax.random.normal(jax.random.key(0), positions.shape)
    differences = (total(positions + 1e-5 * way) - total(positions - 1e-5 * way)) / 2e-5
    assert jnp.sum(slope(positions) * way) == pytest.approx(float(differences), rel=1e-7)
    # Three atoms in a line, where the sine has no slope of its own.
    line = positions.at[:3].set([[0.0, 0, 0], [0, 0, 1.2], [0, 0, -1.1]]).at[3].set([9.0, 9, 9])
    assert jnp.all(jnp.isfinite(slope(line)))


def test_bad_input():
    environments = Environments((1, 6, 8))
    with pytest.raises(ValueError, match=r"of \(1, 6, 8\) \(0 pads\), got \[7\]"):
        environments.check(np.array([7, 6, 1, 1]), PLACES)
    with pytest.raises(ValueError, match="at least 0.1 Angstrom apart, got 0.01 in molecule 0"):
        environments.check(FORMALDEHYDE, np.arange(4)[:, None] * [0.01, 0, 0])
    with pytest.raises(ValueError, match=r"positions must have shape \(4, 3\)"):
        environments(FORMALDEHYDE, PLACES[:3])
    with pytest.raises(ValueError, match="different atomic numbers"):
        Environments((1, 1))
