"""Forces and stress against finite differences, padding, cells, losses, fits and committees."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit, fit_ensemble, member
from jaxpbdl.molecules.atoms import Structure, join, pad, stack, strained
from jaxpbdl.molecules.neighbours import all_pairs, neighbour_graph
from jaxpbdl.molecules.potentials import (
    GraphSamples,
    PotentialLoss,
    energy_and_forces,
    evaluate_in_batches,
    labelled,
    scale_and_shift,
    stress,
    take,
)
from jaxpbdl.networks.equivariant import Potential, contracted_layer
from jaxpbdl.uncertainty import force_deviation

TABLE = (1, 6, 8)
CUTOFF = 2.6
build = partial(neighbour_graph, cutoff=CUTOFF, table=TABLE)
both = eqx.filter_jit(energy_and_forces)


def potential(key=0, **settings):
    return Potential(
        3, CUTOFF, channels=4, functions=3, network=(8,), size=4, degree=1,
        make=contracted_layer(2), key=jax.random.key(key), **settings,
    )  # fmt: skip


def molecule(seed=0, count=5):
    random = np.random.default_rng(seed)
    positions = 1.3 * np.stack(np.unravel_index(np.arange(count), (2, 2, 2)), 1)
    return Structure(random.choice(TABLE, count), positions + 0.2 * random.normal(size=(count, 3)))


def crystal():
    cell = np.array([[2.0, 0.3, 0.0], [0.0, 2.2, 0.1], [0.4, 0.0, 2.5]])
    positions = np.array([[0.1, 0.2, 0.3], [1.1, 1.3, 1.2]])
    return Structure(np.array([6, 8]), positions, cell, (True, True, True))


@pytest.mark.x64
def test_forces_are_the_slope_of_the_energy():
    graph, energies = build(molecule()), eqx.filter_jit(potential())
    energy, forces = both(potential(), graph)
    np.testing.assert_allclose(np.sum(forces, 0), 0, atol=1e-12)
    np.testing.assert_allclose(energy, energies(graph), rtol=1e-12)
    direction = jax.random.normal(jax.random.key(1), graph.positions.shape)
    step = 1e-5 * direction
    ahead, behind = (energies(graph.at(graph.positions + s))[0] for s in (step, -step))
    np.testing.assert_allclose((behind - ahead) / 2e-5, np.sum(forces * direction), rtol=1e-7)


@pytest.mark.x64
def test_stress_is_the_slope_against_strain():
    graph, energies = build(crystal()), eqx.filter_jit(potential())
    found = np.asarray(eqx.filter_jit(stress)(potential(), graph)[0])
    volume = np.linalg.det(crystal().cell)
    for a, b in ((0, 0), (0, 1), (1, 2)):
        strain = np.zeros((1, 3, 3))
        strain[0, a, b] += 0.5e-5
        strain[0, b, a] += 0.5e-5
        ahead, behind = (energies(strained(graph, jnp.asarray(s)))[0] for s in (strain, -strain))
        np.testing.assert_allclose(found[a, b], (ahead - behind) / 2e-5 / volume, atol=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-14)
    with pytest.raises(ValueError, match=r"needs a periodic cell, components \[1\] have none"):
        stress(potential(), join([graph, build(molecule())]))


@pytest.mark.x64
def test_a_supercell_has_the_energy_of_its_cells():
    small = crystal()
    shifts = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]) @ small.cell
    large = Structure(
        np.tile(small.numbers, 4),
        np.concatenate([small.positions + shift for shift in shifts]),
        small.cell * np.array([[2], [2], [1]]),
        small.periodic,
    )
    one, four = (both(potential(), build(s)) for s in (small, large))
    np.testing.assert_allclose(4 * one[0], four[0], rtol=1e-12)
    np.testing.assert_allclose(np.tile(one[1], (4, 1)), four[1], atol=1e-12)
    stresses = [eqx.filter_jit(stress)(potential(), build(s)) for s in (small, large)]
    np.testing.assert_allclose(stresses[0], stresses[1], atol=1e-12)


@pytest.mark.x64
def test_padding_and_company_change_nothing():
    graphs = [build(molecule()), build(crystal()), build(molecule(1, 3))]
    together = join(graphs, 13, 60)
    energies, forces = both(potential(layers=1), together)
    start = 0
    for index, graph in enumerate(graphs):
        energy, force = both(potential(layers=1), graph)
        np.testing.assert_allclose(energies[index], energy[0], rtol=1e-11)
        np.testing.assert_allclose(forces[start : start + len(force)], force, atol=1e-11)
        start += len(force)
    assert not np.any(forces[start:])
    # Pairs beyond the cutoff are as good as none.
    energy, force = both(potential(layers=1), all_pairs(molecule(), TABLE))
    np.testing.assert_allclose(energies[0], energy[0], rtol=1e-11)


def known(count, seed=0):
    """Molecules in springs between all pairs, whose energies and forces are known; in float64."""
    base, random = molecule(3, 4), np.random.default_rng(seed)
    found = []
    for _ in range(count):
        positions = base.positions + 0.1 * random.normal(size=(4, 3))
        apart = positions[:, None] - positions
        lengths = np.linalg.norm(apart + np.eye(4)[..., None], axis=-1)
        bent = (lengths - 1.8) * (1 - np.eye(4))
        forces = -2 * np.sum((bent / lengths)[..., None] * apart, axis=1)
        found.append(
            Structure(base.numbers, positions, energy=np.sum(bent**2) / 2 - 1e4, forces=forces)
        )
    return found


def samples(count, seed=0):
    # The bulk of the energy is taken off in float64.
    first = known(1)[0].numbers
    references = np.linalg.lstsq([[np.sum(first == n) for n in TABLE]], [-1e4], rcond=None)[0]
    return labelled(known(count, seed), build, TABLE, references)


def test_labels_and_batches():
    data = samples(6)
    assert data.forces.shape == (6, 4, 3) and data.energies.shape == (6, 1)
    np.testing.assert_allclose(data.energies[:, 0], [s.energy + 1e4 for s in known(6)], rtol=1e-5)
    batch = GraphSamples(data, 6)(jax.random.key(0))
    assert batch.graph.components == 6 and batch.forces.shape == (24, 3)
    np.testing.assert_allclose(np.sort(batch.energies), np.sort(data.energies[:, 0]))
    scale, shift = scale_and_shift(data, 3)
    np.testing.assert_allclose(scale, np.sqrt(np.mean(data.forces**2)), rtol=1e-5)
    counts = np.array([np.sum(known(1)[0].numbers == n) for n in TABLE])
    np.testing.assert_allclose(counts @ shift, np.mean(data.energies), rtol=1e-4)


def test_the_loss_is_what_it_says():
    batch, model = take(samples(3), np.arange(3)), potential(layers=1)
    energies, forces = both(model, batch.graph)
    expected = 2 * np.mean(((energies - batch.energies) / 4) ** 2)
    np.testing.assert_allclose(
        eqx.filter_jit(PotentialLoss(2.0, 0.0))(model, batch), expected, rtol=1e-5
    )
    expected += 3 * np.mean((forces - batch.forces) ** 2)
    loss = eqx.filter_jit(PotentialLoss(2.0, 3.0))
    np.testing.assert_allclose(loss(model, batch), expected, rtol=1e-5)
    # Padding has no part in it.
    graph = pad(batch.graph, 15, 5)
    padded = replace(batch, graph=graph, forces=jnp.pad(batch.forces, ((0, 3), (0, 0))))
    np.testing.assert_allclose(loss(model, padded), expected, rtol=1e-5)


def test_a_committee_learns_and_knows_where_it_has_not_been():
    data, test = samples(40), samples(20, 1)
    scale, shift = scale_and_shift(data, 3)
    committee, _ = fit_ensemble(
        [potential(key, layers=1, scale=scale, shift=shift) for key in (0, 1)],
        PotentialLoss(1.0, 1.0),
        GraphSamples(data, 8),
        optax.adam(1e-2),
        150,
        keys=jax.random.split(jax.random.key(0), 2),
        chunk=75,
        ema=0.95,
        progress=False,
    )
    _, forces = evaluate_in_batches(member(committee, 0), test, 10)
    error = np.sqrt(np.mean((forces - test.forces) ** 2))
    assert error < 0.5 * np.sqrt(np.mean(test.forces**2))

    @eqx.filter_jit
    def deviation(graph):
        return force_deviation(eqx.filter_vmap(lambda p: energy_and_forces(p, graph)[1])(committee))

    batch = take(test, np.arange(20)).graph
    noise = 0.4 * jax.random.normal(jax.random.key(5), batch.positions.shape)
    near, far = deviation(batch), deviation(batch.at(batch.positions + noise))
    assert near.shape == (80,)
    assert np.mean(far) > 1.3 * np.mean(near)


def test_energies_alone_are_enough():
    bare = [replace(s, forces=None) for s in known(10)]
    with pytest.raises(ValueError, match="must have forces to be fitted, 10 have none.*forces=Fal"):
        labelled(bare, build, TABLE, np.zeros(3))
    data = labelled(bare, build, TABLE, np.zeros(3), forces=False)
    _, shift = scale_and_shift(data, 3)
    model = potential(layers=1, shift=shift)
    fitted, history = fit(
        model, PotentialLoss(1.0, 0.0), GraphSamples(data, 4), optax.adam(1e-2), 80,
        key=jax.random.key(0), progress=False,
    )  # fmt: skip
    assert np.mean(history.loss[-5:]) < 0.5 * np.mean(history.loss[:5])
    np.testing.assert_array_equal(fitted.shift.value, model.shift.value)  # not fitted


def test_refused():
    with pytest.raises(ValueError, match="must have energy to be fitted, 1 have none, the first"):
        labelled([replace(known(1)[0], energy=None)], build, TABLE, np.zeros(3))
    with pytest.raises(ValueError, match="references must have shape"):
        labelled(known(1), build, TABLE, np.zeros(2))
    with pytest.raises(ValueError, match=r"known species \[1, 6\], got"):
        labelled(known(1), partial(build, table=(1, 6)), (1, 6), np.zeros(2))
    with pytest.raises(ValueError, match="batch must be at most 2, got 3"):
        GraphSamples(samples(2), 3)
    with pytest.raises(ValueError, match="weights of energy and forces must be > 0"):
        PotentialLoss(0.0, 0.0)
    with pytest.raises(ValueError, match="needs at least two members, got forces of 1"):
        force_deviation(jnp.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="positions must have shape"):
        build(molecule()).at(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="equally many components"):
        stack([build(molecule()), join([build(molecule())] * 2)])
