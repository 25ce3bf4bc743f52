"""Sequential recombination: FastJet's jets, the soft version and its limit, gradients."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.clustering import (
    durham,
    exclusive,
    generalised,
    inclusive,
    mass,
    opening,
    transverse,
)
from jaxpbdl.soft_clustering import soft_exclusive

pytestmark = pytest.mark.x64
FOLDER = "jets-fastjet-reference"


def spray(count=9, seed=0):
    """Massless momenta around three axes."""
    rng = np.random.default_rng(seed)
    axes = np.eye(3)[np.arange(count) % 3]
    directions = axes + 0.25 * rng.normal(size=(count, 3))
    energies = rng.uniform(1, 20, count)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return jnp.asarray(np.concatenate([energies[:, None] * directions, energies[:, None]], axis=1))


def events(real_data):
    """Momenta and masks of the 100 events."""
    with np.load(real_data(f"{FOLDER}/ee_higgs_events.npz")) as file:
        momenta, offsets = file["p4_px_py_pz_E_GeV"], file["event_offsets"]
    counts = np.diff(offsets)
    mask = np.arange(counts.max()) < counts[:, None]
    padded = np.full((*mask.shape, 4), np.nan)  # what stands in the padding must not matter
    padded[mask] = momenta
    return padded, mask


def expected(real_data, name):
    found = json.loads(real_data(f"{FOLDER}/jet-collections-fastjet-{name}.json").read_text())
    return [np.asarray([[j["pt"], j["rap"], j["phi"]] for j in e["jets"]]) for e in found]


def cylindrical(jets):
    """Transverse momentum, rapidity and azimuth from 0 to 2 pi."""
    x, y, z, energy = np.moveaxis(jets, -1, 0)
    rapidity = np.log((energy + z) / (energy - z)) / 2
    return np.stack([np.hypot(x, y), rapidity, np.arctan2(y, x) % (2 * np.pi)], axis=-1)


def by_azimuth(jets):
    # Jets back to back have equal transverse momenta: their order by it means nothing.
    return jets[np.argsort(jets[:, 2])]


CASES = {
    "njets3-Durham-eeH": lambda p, m: exclusive(p, 3, durham, m),
    "njets4-EEKt-p1-R4.0": lambda p, m: exclusive(p, 4, generalised(1, 4.0)[0], m),
    "inclusive-EEKt-p-1-R1.0": lambda p, m: inclusive(p, *generalised(-1, 1.0), mask=m),
}


@pytest.mark.parametrize("name", CASES)
def test_the_jets_are_those_of_fastjet(real_data, name):
    momenta, mask = events(real_data)
    found = jax.jit(jax.vmap(CASES[name]))(momenta, mask)
    minimum = 5.0 if name.startswith("inclusive") else 0.0  # GeV, as in the file
    for jets, truth in zip(np.asarray(found.momenta), expected(real_data, name), strict=True):
        jets = jets[np.asarray(transverse(jnp.asarray(jets))) > minimum]
        jets = by_azimuth(cylindrical(jets))
        np.testing.assert_allclose(jets, by_azimuth(truth), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "cluster",
    [
        lambda p, m=None: exclusive(p, 3, mask=m),
        lambda p, m=None: inclusive(p, *generalised(-1, 0.6), mask=m),
    ],
)
def test_laws_of_the_exact_one(cluster):
    momenta, cluster = spray(), jax.jit(cluster)
    clusters = cluster(momenta)
    np.testing.assert_allclose(clusters.momenta.sum(0), momenta.sum(0), rtol=1e-13)
    member = np.asarray(clusters.jet)[:, None] == np.arange(len(clusters.momenta))
    np.testing.assert_allclose(member.T.astype(float) @ momenta, clusters.momenta, rtol=1e-13)
    assert 2 < int(clusters.number) < 9
    order = np.random.default_rng(1).permutation(9)
    turned = cluster(momenta[order])
    np.testing.assert_allclose(turned.momenta, clusters.momenta, rtol=1e-13)
    np.testing.assert_array_equal(turned.jet, clusters.jet[order])
    padded = jnp.concatenate([momenta, jnp.full((3, 4), jnp.nan)])
    masked = cluster(padded, jnp.arange(12) < 9)
    np.testing.assert_array_equal(masked.jet, [*clusters.jet, -1, -1, -1])
    gradient = jax.grad(lambda p: cluster(p, jnp.arange(12) < 9).momenta[0, 3])(padded)
    np.testing.assert_array_equal(gradient[:, 3], masked.jet == 0)
    assert not np.any(gradient[:, :3])


def test_distances():
    a, b = jnp.asarray([3.0, 0, 0, 3]), jnp.asarray([0, 2.0, 0, 2])
    np.testing.assert_allclose(durham(a, b), 8)
    pair, beam = generalised(1, np.pi / 2)
    np.testing.assert_allclose([pair(a, b), beam(a)], [4, 9])
    pair, beam = generalised(-1, 4.0)
    np.testing.assert_allclose([pair(a, b), beam(b)], [1 / 9 / (3 + np.cos(4)), 1 / 4])
    # Close directions do not cancel.
    close = jnp.asarray([np.cos(1e-9), np.sin(1e-9), 0, 1]) * 3
    np.testing.assert_allclose(opening(a, close), 0.5e-18, rtol=1e-6)
    np.testing.assert_allclose(mass(a + b), np.sqrt(12))
    assert mass(a) == 0 and np.all(np.isfinite(jax.grad(mass)(a)))


@pytest.fixture(scope="module")
def softly():
    return jax.jit(lambda p, temperature: soft_exclusive(p, 3, temperature))


def test_the_soft_one_tends_to_the_exact_one(softly):
    sprays = jnp.stack([spray(seed=seed) for seed in range(6)])
    exact = jax.jit(jax.vmap(lambda p: exclusive(p, 3).momenta))(sprays)
    errors = []
    for temperature in (1.0, 0.1, 0.01, 0.0002):
        soft = [softly(p, temperature) for p in sprays]
        momenta, rest = (
            jnp.stack([getattr(s, part) for s in soft]) for part in ("momenta", "rest")
        )
        np.testing.assert_allclose(momenta.sum(1) + rest, sprays.sum(1), rtol=1e-11)
        errors.append(np.max(np.abs(momenta - exact), axis=(1, 2)))
    medians = np.median(errors, axis=1)
    assert medians[0] > medians[1] > 3 * medians[2]
    assert np.max(errors[3]) < 1e-6 < np.min(errors[0])


def test_the_soft_one_knows_no_order_and_no_padding(softly):
    momenta = spray()
    soft = softly(momenta, 0.2)
    turned = softly(momenta[::-1], 0.2)
    np.testing.assert_allclose(turned.momenta, soft.momenta, rtol=1e-9)
    padded = jnp.concatenate([momenta, jnp.full((2, 4), jnp.nan)])
    mask = jnp.arange(11) < 9

    @jax.jit
    @jax.value_and_grad
    def of(padded):
        return soft_exclusive(padded, 3, 0.01, mask=mask).momenta[0, 3]

    # Steps to spare are taken with the padding; they add nothing once all is joined.
    value, gradient = of(padded)
    np.testing.assert_allclose(value, softly(momenta, 0.01).momenta[0, 3], rtol=1e-6)
    assert np.all(np.isfinite(gradient)) and not np.any(gradient[9:])


def test_gradients_of_the_soft_one():
    def measure(p, temperature):
        jets = soft_exclusive(p, 3, temperature).momenta
        return transverse(jets[0]) + mass(jets[1]) + mass(jets[2])

    measure, slope = jax.jit(measure), jax.jit(jax.grad(measure))
    momenta, step = spray(seed=3), 1e-6
    direction = jnp.asarray(np.random.default_rng(0).normal(size=momenta.shape))
    for temperature in (0.5, 0.1):
        ahead, back = (measure(momenta + s * direction, temperature) for s in (step, -step))
        gradient = slope(momenta, temperature)
        expected = (ahead - back) / (2 * step)
        np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-4)
        assert np.min(np.max(np.abs(gradient), axis=1)) > 1e-8  # every particle matters


def test_bad_input():
    with pytest.raises(ValueError, match=r"shape \(particles, 4\), got \(2, 9, 4\)"):
        exclusive(jnp.zeros((2, 9, 4)), 3)
    with pytest.raises(ValueError, match="radius must lie between 0 and 3 pi, got 10"):
        generalised(1, 10.0)
    with pytest.raises(ValueError, match="temperature must be finite and > 0, got 0"):
        soft_exclusive(spray(), 3, 0)
    with pytest.raises(ValueError, match="jets must be at most 9, the particles, got 10"):
        soft_exclusive(spray(), 10, 0.1)
