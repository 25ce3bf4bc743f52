"""Jets: their file, normalisation and padding; the shower; the generator where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data import jet_generator, shower
from jaxpbdl.data.jets import CLASSES, Jets, constituents, join, pad, read_jets, write_jets


@pytest.fixture(scope="module")
def jets():
    return shower.sample(jax.random.key(0), 600)


def small(counts=(2, 3)):
    rng = np.random.default_rng(0)
    total = sum(counts)
    particles = np.stack([rng.uniform(1, 9, total), *rng.normal(0, 0.1, (2, total))], axis=1)
    pdg = np.resize([211, -11, 22, -2212, 130], total)
    axes, quark = np.zeros((len(counts), 3)), np.ones(len(counts), bool)
    return Jets(particles, pdg, np.asarray(counts), axes, quark)


def test_a_file_comes_back(tmp_path):
    whole = small((2, 3, 1))
    write_jets(tmp_path / "b.npz", whole[1:], seed=3)
    write_jets(tmp_path / "a.npz", whole[:1])
    for read in (read_jets(tmp_path), join([whole[:1], whole[1:]])):
        np.testing.assert_array_equal(read.particles, whole.particles)
        np.testing.assert_array_equal(read.counts, [2, 3, 1])
    with np.load(tmp_path / "b.npz") as file:
        assert file["seed"] == 3


def test_constituents():
    jets = small()
    flat, (padded, mask) = constituents(jets), pad(jets, 4)
    np.testing.assert_array_equal(mask.sum(1), jets.counts)
    for one, many in zip(flat, padded, strict=True):
        np.testing.assert_array_equal(many[mask], one)
        assert not np.any(many[~mask])
    np.testing.assert_allclose(padded.shares.sum(1), 1, rtol=1e-6)
    centre = np.einsum("jp,jpc->jc", padded.shares, padded.angles)
    np.testing.assert_allclose(centre, 0, atol=1e-7)
    momenta = jets.particles[2:, 0]
    np.testing.assert_allclose(padded.shares[1, :3], momenta / momenta.sum(), rtol=1e-6)
    np.testing.assert_array_equal(flat.kinds[:, -1], [1, 1, 0, -1, 0])  # charges
    np.testing.assert_array_equal(flat.kinds[:, :-1].argmax(1), [3, 0, 2, 7, 5])
    assert flat.kinds.shape == (5, CLASSES + 1)


def test_the_shower_radiates_as_its_colour_says(jets):
    sums = np.bincount(np.repeat(np.arange(len(jets)), jets.counts), jets.particles[:, 0])
    np.testing.assert_allclose(sums, jets.axes[:, 0], rtol=1e-5)  # energy stays
    particles, mask = pad(jets)
    momenta = np.zeros(mask.shape + (2,))
    momenta[mask] = jets.particles[:, :1] * jets.particles[:, 1:]
    np.testing.assert_allclose(momenta.sum(1) / sums[:, None], 0, atol=1e-5)  # so does momentum
    assert np.max(np.linalg.norm(jets.particles[:, 1:], axis=1)) < 2 * shower.RADIUS
    quarks, gluons = (np.mean(jets.counts[jets.quark == kind] - 1) for kind in (True, False))
    assert 1.6 < gluons / quarks < shower.GLUON / shower.QUARK  # 9/4 for soft emissions alone
    width = np.sum(particles.shares * np.linalg.norm(particles.angles, axis=2), axis=1)
    assert width[~jets.quark].mean() > 1.4 * width[jets.quark].mean()


@pytest.mark.x64
def test_the_first_emission_of_the_shower():
    """No emission at all has the probability exp(-integral of the rate), to a per cent or so."""
    energy = 30.0
    numbers = jax.vmap(lambda key: shower.shower(key, True, jnp.asarray(energy)).number)(
        jax.random.split(jax.random.key(1), 4000)
    )
    z = np.exp(np.linspace(np.log(shower.CUTOFF / energy / shower.RADIUS), 0, 400))
    angle = np.exp(np.linspace(np.log(shower.CUTOFF / energy), np.log(shower.RADIUS), 400))
    momentum = z[:, None] * angle * energy
    alpha = np.asarray(shower.coupling(np.maximum(momentum, shower.CUTOFF)))
    rate = alpha / np.pi * shower.QUARK * (1 + (1 - z[:, None]) ** 2) * (momentum > shower.CUTOFF)
    total = np.trapezoid(np.trapezoid(rate, np.log(angle), axis=1), np.log(z))
    np.testing.assert_allclose(np.mean(np.asarray(numbers) == 1), np.exp(-total), atol=0.025)
    assert 0.2 < np.exp(-total) < 0.8


def test_a_seed_is_a_sample(jets):
    again = shower.sample(jax.random.key(0), 600)
    np.testing.assert_array_equal(again.particles, jets.particles)
    assert shower.sample(jax.random.key(1), 2).particles[0, 0] != jets.particles[0, 0]


def test_the_generator(tmp_path):
    pytest.importorskip("pythia8mc", reason="the extra jets is not installed")
    pytest.importorskip("fastjet", reason="the extra jets is not installed")
    jets = jet_generator.generate(tmp_path, 8, chunk=4, progress=False)
    assert list(jets.quark) == [True, False] * 4
    momentum, rapidity, _ = jets.axes.T
    assert np.all((momentum >= 500) & (momentum <= 550)) and np.all(np.abs(rapidity) < 1.7)
    assert np.max(np.abs(jets.particles[:, 1:])) < 0.6
    scalar = np.bincount(np.repeat(np.arange(8), jets.counts), jets.particles[:, 0])
    assert np.all((scalar >= momentum * 0.9999) & (scalar < 1.1 * momentum))
    assert not np.isin(np.abs(jets.pdg), (12, 14, 16)).any()
    # A file that is there is kept, one that is missing is generated again as it was.
    kept = tmp_path / "jets_00000.npz"
    before = kept.stat().st_mtime_ns
    (tmp_path / "jets_00001.npz").unlink()
    again = jet_generator.generate(tmp_path, 8, chunk=4, progress=False)
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.particles, jets.particles)
    with pytest.raises(ValueError, match=r"\(seed, chunk\) = \(0, 4\), requested were \(1, 4\)"):
        jet_generator.generate(tmp_path, 8, seed=1, chunk=4)


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_jets(tmp_path)
    broken = small()
    np.savez(tmp_path / "x.npz", **{**vars(broken), "counts": np.asarray([2, 4])})
    with pytest.raises(
        DataError, match=r"x\.npz: particles must have shape \(6, 3\), got \(5, 3\)"
    ):
        read_jets(tmp_path)
    with pytest.raises(ValueError, match="size must be at least 3, the largest jet, got 2"):
        pad(small(), 2)
    with pytest.raises(ValueError, match="jet 1 has no particle"):
        small((2, 0))
    with pytest.raises(ValueError, match="count must be an integer >= 1, got 0"):
        shower.sample(jax.random.key(0), 0)
